//! What a worker gets: everything resolved, nothing left to decide.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::WorkflowConfig;
use super::{ArtifactRule, PackageChoice, Resources, SecretRef, Workflow};
use crate::id::{QualifiedName, Revision, Sha256, WorkerType};

/// How long a job may take to end after TERM, before KILL.
const GRACE: Duration = Duration::from_secs(10);

/// Makes the job of one execution: everything resolved, nothing left to decide.
///
/// `config` is the workflow's at `revision`, with whatever the request changes in it; `bundle` is the code of that
/// revision; `params` come from [`params::resolve`](super::params::resolve).
pub fn prepare_job(
    workflow: &Workflow,
    revision: &Revision,
    config: &WorkflowConfig,
    bundle: BundleRef,
    params: BTreeMap<String, ParamValue>,
) -> JobSpec {
    JobSpec {
        workflow: workflow.qualified_name(),
        revision: revision.clone(),
        worker_type: config.worker_type.clone(),
        bundle,
        folder: workflow.path.clone(),
        entrypoint: config.entrypoint.clone(),
        python_path: python_path(&config.include),
        params,
        env: config.env.clone(),
        secrets: config.secrets.clone(),
        dependencies: config.dependencies.clone(),
        packages: PackageChoice::Worker,
        resources: config.instance_size.resources(),
        timeout: config.timeout,
        grace: GRACE,
        artifacts: config.artifacts.clone(),
    }
}

/// The folders that Python imports from. What is included may be a file, and only its name tells: one with an extension
/// is taken for a file, and its folder is imported from.
fn python_path(include: &[String]) -> Vec<String> {
    let mut folders: Vec<String> = Vec::new();
    for path in include {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        let is_file = name.trim_start_matches('.').contains('.');
        let folder = if is_file { parent } else { path };
        if !folders.iter().any(|known| known == folder) {
            folders.push(folder.to_owned());
        }
    }
    folders
}

/// One job, complete. It is kept with the execution, so that a retry runs the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The workflow's full name.
    pub workflow: QualifiedName,
    /// The revision whose code runs.
    pub revision: Revision,
    /// What runs it.
    pub worker_type: WorkerType,
    /// The archive that holds its code.
    pub bundle: BundleRef,
    /// The workflow's folder within the bundle; the job's working directory.
    pub folder: String,
    /// The script, relative to `folder`.
    pub entrypoint: String,
    /// Folders of the bundle (relative to its root) that Python may import from.
    pub python_path: Vec<String>,
    /// Parameters by name, all of them, defaults filled in.
    pub params: BTreeMap<String, ParamValue>,
    /// Environment variables of the job, beside those that Data Runner sets.
    pub env: BTreeMap<String, String>,
    /// Environment variables whose values the agent resolves before the job starts.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretRef>,
    /// What the job's environment must hold.
    pub dependencies: Dependencies,
    /// What exactly that comes to.
    #[serde(default)]
    pub packages: PackageChoice,
    /// Memory and processors that it may use.
    pub resources: Resources,
    /// How long it may run, counted from the start of the user's code.
    pub timeout: Duration,
    /// How long it may take to end after TERM, before KILL.
    pub grace: Duration,
    /// Which of the files that it leaves are kept.
    #[serde(default)]
    pub artifacts: Vec<ArtifactRule>,
}

/// An archive in a BlobStore.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BundleRef {
    /// The archive's SHA-256; its name in the BlobStore, and what the agent checks.
    pub hash: Sha256,
    /// The archive's length in bytes.
    pub bytes: u64,
}

/// The value of a parameter, typed as declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum ParamValue {
    /// Text.
    String(String),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A calendar date, `YYYY-MM-DD`.
    Date(jiff::civil::Date),
    /// A moment, RFC 3339.
    Datetime(jiff::Timestamp),
    /// One of the declared values.
    Enum(String),
}

impl ParamValue {
    /// The value as a job sees it in `DATA_RUNNER_PARAM_<NAME>`.
    pub fn to_text(&self) -> String {
        match self {
            Self::String(text) | Self::Enum(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Date(date) => date.to_string(),
            Self::Datetime(at) => at.to_string(),
        }
    }

    /// The value as JSON: numbers and booleans as such, the rest as text. What REST shows and `DATA_RUNNER_PARAMS` holds.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Bool(value) => (*value).into(),
            Self::String(_) | Self::Enum(_) | Self::Date(_) | Self::Datetime(_) => self.to_text().into(),
        }
    }
}

/// What the job's environment must hold, as the workflow states it; the executor resolves it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dependencies {
    /// The wanted Python, as `major.minor`; `None`: the machine's.
    pub python: Option<String>,
    /// Python packages.
    pub requirements: PythonDependency,
    /// The wanted DuckDB.
    pub duckdb: DuckdbDependency,
}

/// Where a workflow's Python packages are stated. A `uv.lock` or a PEP 723 block beside the script wins over this;
/// the executor sees those in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "from", content = "value", rename_all = "snake_case")]
pub enum PythonDependency {
    /// Nothing beyond what the worker type brings.
    #[default]
    Default,
    /// A requirements file, relative to the workflow's folder.
    File(String),
    /// Requirement lines (PEP 508).
    List(Vec<String>),
}

/// Which DuckDB, with which extensions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DuckdbDependency {
    /// `1.4` means the newest 1.4.x, `1.4.4` exactly that; `None`: the version that Data Runner pins.
    pub version: Option<String>,
    /// Extensions to make ready and load.
    pub extensions: Vec<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::id::{RepoName, WorkflowId};
    use crate::time::{Entropy, Timestamp};
    use crate::workflow::config::{ParseContext, parse};
    use crate::workflow::{Definition, DefinitionState, Presence, WorkerTypes};

    fn workflow(config: &str) -> (Workflow, Definition) {
        let types = WorkerTypes::default();
        let context = ParseContext { worker_types: &types, files: None };
        let revision: Revision = "a".repeat(40).parse().unwrap();
        let state =
            parse("workflows/orders/config.yaml", config.as_bytes(), &context).into_definition(revision);
        let DefinitionState::Valid(definition) = &state else { panic!("{state:?}") };
        let definition = definition.clone();
        let at = Timestamp::from_micros(0);
        let workflow = Workflow {
            id: WorkflowId::generate(at, &mut Entropy::from_number(1)),
            repo: "etl".parse::<RepoName>().unwrap(),
            name: "orders".parse().unwrap(),
            path: "workflows/orders".to_owned(),
            presence: Presence::Present,
            definition: state,
            failing_since: None,
            spent: Default::default(),
            paused_at: None,
            created_at: at,
            updated_at: at,
        };
        (workflow, definition)
    }

    fn bundle() -> BundleRef {
        BundleRef { hash: Sha256::of(b"x"), bytes: 1 }
    }

    #[test]
    fn a_job_has_everything_that_a_worker_needs() {
        let (workflow, definition) = workflow(
            "worker_type: polars\ninstance_size: t3.medium\ninclude: [lib/, shared/a.py, shared/b.py, x.py]\n",
        );
        let params = BTreeMap::from([("n".to_owned(), ParamValue::Int(3))]);
        let job = prepare_job(&workflow, &definition.revision, &definition.config, bundle(), params.clone());
        assert_eq!(job.workflow.to_string(), "etl/orders");
        assert_eq!((job.folder.as_str(), job.entrypoint.as_str()), ("workflows/orders", "workflow.py"));
        assert_eq!(job.python_path, ["lib", "shared", "."]);
        assert_eq!(job.resources, Resources { memory_bytes: 4 << 30, cpus: 2 });
        assert_eq!((job.timeout, job.grace), (Duration::from_secs(21_600), Duration::from_secs(10)));
        assert_eq!(job.params, params);
    }
}
