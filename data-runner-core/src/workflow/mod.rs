//! What a workflow is: a folder of a repository, its configuration at a revision, and what a worker needs to run it.

mod artifact;
mod compute;
pub mod config;
mod job;
mod matrix;
mod needs;
mod notification;
mod packages;
pub mod params;
mod polling;
mod queueing;
mod registry;
mod repo_url;
mod resources;
mod schedule;
mod schedule_line;
mod secret;
mod start;
mod ticks;
mod worker_type;

use serde::{Deserialize, Serialize};

pub use artifact::{ArtifactRule, NotAPattern, PathPattern, wrong_in_folder};
pub use compute::{Compute, OnOutOfMemory, Spot};
pub use job::{
    BundleRef, Dependencies, DuckdbDependency, JobSpec, ParamValue, PythonDependency, prepare_job,
};
pub use matrix::Matrix;
pub use needs::{Need, NeedSuccess, NeededBy, NeedsProgress, NeedsStart, SettledNeeds, WorkflowRef};
pub use notification::{MessageFormat, NotAWebhook, Notification, NotifyOn, Webhook};
pub use packages::{LockRefused, PackageChoice, PackageLock, PackageOrigin};
pub use polling::{MAX_BACK_OFF, Polling};
pub use queueing::{ConcurrencyRule, KeyTemplate, QueueingRules, UnknownReference};
pub use registry::{FolderFound, SyncReport, sync};
pub use repo_url::{UrlRefused, check_repo_url, same_remote};
pub use resources::{Architecture, InstanceSize, Resources, UnknownSize};
pub use schedule::{Schedule, ScheduleRefused, dates_between};
pub use schedule_line::{CatchUp, ScheduleLine};
pub use secret::{NotASecretRef, SecretRef};
pub use start::{Start, StartOutcome};
pub use ticks::{ScheduleDates, ScheduleId, ScheduleProgress, ScheduleTick, SettledTick};
pub use worker_type::{ScriptLanguage, WorkerTypeSpec, WorkerTypes};

use crate::cost::MonthSpent;
use crate::id::{QualifiedName, RepoName, Revision, WorkflowId, WorkflowName};
use crate::time::Timestamp;
use config::{Problem, Severity, WorkflowConfig};

/// A workflow as the registry knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workflow {
    /// Its id, for as long as its repository and name last.
    pub id: WorkflowId,
    /// The repository that it came from.
    pub repo: RepoName,
    /// Its name: the folder's.
    pub name: WorkflowName,
    /// Its folder, relative to the repository, with `/` and without a trailing one.
    pub path: String,
    /// Whether it is there.
    pub presence: Presence,
    /// What is known of its definition at the newest synced revision.
    pub definition: DefinitionState,
    /// Since when its executions fail: when the first one failed after which none succeeded.
    #[serde(default)]
    pub failing_since: Option<Timestamp>,
    /// What its machines that are gone have cost this month.
    #[serde(default)]
    pub spent: MonthSpent,
    /// When a person paused it (this stops schedules only), if so.
    pub paused_at: Option<Timestamp>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When anything of it changed last.
    pub updated_at: Timestamp,
}

impl Workflow {
    /// Whether it is in no repository: somebody sent it here to run it.
    pub fn is_unpushed(&self) -> bool {
        self.repo.as_str() == Repo::UNPUSHED
    }

    /// `repo/name`.
    pub fn qualified_name(&self) -> QualifiedName {
        QualifiedName { repo: self.repo.clone(), name: self.name.clone() }
    }
}

/// Whether a workflow can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Presence {
    /// Its folder is in the repository.
    Present,
    /// Its folder went away; it comes back with the folder. Its history stays.
    Removed {
        /// When a sync missed it first.
        at: Timestamp,
    },
    /// A person deleted it; syncs do not bring it back, registering it again does.
    Deleted {
        /// When.
        at: Timestamp,
    },
}

/// A workflow's definition at the newest synced revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly all are valid")]
pub enum DefinitionState {
    /// It can be run.
    Valid(Definition),
    /// It cannot be run; the problems say why.
    Broken {
        /// The revision that was read.
        revision: Revision,
        /// All that is wrong, in the order of the text.
        problems: Vec<Problem>,
    },
}

impl DefinitionState {
    /// The revision that was read.
    pub fn revision(&self) -> &Revision {
        match self {
            Self::Valid(definition) => &definition.revision,
            Self::Broken { revision, .. } => revision,
        }
    }

    /// What it needs; nothing if it is broken.
    pub fn needs(&self) -> &[Need] {
        match self {
            Self::Valid(definition) => &definition.config.needs,
            Self::Broken { .. } => &[],
        }
    }

    /// The same with more problems; an error among them makes it broken.
    #[must_use]
    pub fn with_problems(self, more: Vec<Problem>) -> Self {
        let errors = more.iter().any(|problem| problem.severity == Severity::Error);
        match self {
            Self::Valid(mut definition) => {
                definition.warnings.extend(more);
                if errors {
                    Self::Broken { revision: definition.revision, problems: definition.warnings }
                } else {
                    Self::Valid(definition)
                }
            }
            Self::Broken { revision, mut problems } => {
                problems.extend(more);
                Self::Broken { revision, problems }
            }
        }
    }
}

/// A valid definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The revision that it was read at.
    pub revision: Revision,
    /// What its `config.yaml` says.
    pub config: WorkflowConfig,
    /// What is valid but probably not meant.
    pub warnings: Vec<Problem>,
}

/// A repository that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repo {
    /// Its name, unique in the installation.
    pub name: RepoName,
    /// Where it is: an https, ssh or git URL without a password, or the path of a folder.
    pub url: String,
    /// The branch, tag or other ref that is followed.
    pub reference: String,
    /// Restricts the registration to these folders; empty means all workflows.
    pub only: Vec<String>,
    /// The newest revision that was synced.
    pub head: Option<Revision>,
    /// When the last sync ended well.
    pub synced_at: Option<Timestamp>,
    /// Why the last try failed, if it did.
    pub error: Option<String>,
}

impl Repo {
    /// The name of the repository that holds what people run without pushing it. No other one may have it.
    pub const UNPUSHED: &'static str = "unpushed";

    /// What stands in the place of its URL.
    const UNPUSHED_URL: &'static str = "unpushed:";

    /// The repository of the name [`UNPUSHED`](Self::UNPUSHED).
    pub(crate) fn unpushed(name: RepoName) -> Self {
        Self {
            name,
            url: Self::UNPUSHED_URL.to_owned(),
            reference: String::new(),
            only: Vec::new(),
            head: None,
            synced_at: None,
            error: None,
        }
    }

    /// Whether it is a git repository or a plain folder of this machine.
    pub fn kind(&self) -> RepoKind {
        if self.url == Self::UNPUSHED_URL {
            return RepoKind::Unpushed;
        }
        // A folder is registered by its absolute path; everything else is a URL of git's, file:// included.
        if self.url.starts_with('/') { RepoKind::Folder } else { RepoKind::Git }
    }
}

/// What a repository is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    /// A git repository, watched by its commits.
    Git,
    /// A plain folder, whose files run as they are.
    Folder,
    /// None: folders that were sent here by people, each of which is its own revision. There is nothing to look at, and
    /// nothing in it runs by itself.
    Unpushed,
}
