//! What a caller asks the supervisor for, and what can be wrong with it.

use std::sync::Arc;
use std::time::Duration;

use data_runner_core::event::Rejection;
use data_runner_core::execution::{Execution, Trigger};
use data_runner_core::group::Group;
use data_runner_core::id::{ExecutionId, GroupId, RepoName, Revision, Sha256, WorkerType};
use data_runner_core::port::{BlobError, ProvisionError, Retry, SourceError, StateError};
use data_runner_core::worker::Candidate;
use data_runner_core::workflow::Workflow;
use data_runner_core::workflow::config::Problem;

/// Run a workflow, by hand.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Parameters as they came: JSON of the declared type, or text that reads as such.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// Another branch, tag or commit than the newest synced one.
    pub reference: Option<String>,
    /// Another instance size than the configured one.
    pub instance_size: Option<String>,
    /// The caller's idempotency key.
    pub idempotency: Option<IdempotencyKey>,
}

/// Run a workflow for the dates of a time that has passed.
#[derive(Debug, Clone)]
pub struct BackfillOrder {
    /// The first date.
    pub from: jiff::civil::Date,
    /// The last date.
    pub to: jiff::civil::Date,
    /// How many executions may be active at one time; default: what the matrix says, else one.
    pub max_parallel: Option<u32>,
    /// Parameters by name, for all of them.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// The caller's idempotency key.
    pub idempotency: Option<IdempotencyKey>,
}

/// What an order started.
#[derive(Debug, Clone)]
pub enum Started {
    /// One execution.
    Execution(Arc<Execution>),
    /// Several: the workflow has a matrix.
    Group(Arc<Group>),
}

/// What makes a repeated request the same request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The caller's key, with the route that it was used on.
    pub key: String,
    /// The hash of the request's body.
    pub body: Sha256,
}

/// Watch a repository.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// Its URL, or the path of a folder.
    pub url: String,
    /// Its name; default: the last part of the URL.
    pub name: Option<String>,
    /// The ref to follow; default: what the repository's HEAD names.
    pub reference: Option<String>,
    /// Only this workflow's folder; default: all that the repository has.
    pub path: Option<String>,
}

/// What a registration made.
#[derive(Debug, Clone, Default)]
pub struct Registered {
    /// Every workflow of the repository that is there and valid.
    pub items: Vec<Workflow>,
    /// What is wrong with the others.
    pub errors: Vec<Problem>,
}

/// What became of a sync.
#[derive(Debug, Clone)]
pub struct SyncOutcome {
    /// The repository.
    pub repo: RepoName,
    /// The revision that it is at now, or why it could not be synced.
    pub result: Result<Revision, String>,
}

/// What a run would get, and what is known of its time.
#[derive(Debug, Clone)]
pub struct MachinePlan {
    /// The workflow.
    pub workflow: Arc<Workflow>,
    /// The revision that would run.
    pub revision: Revision,
    /// The instance size that it asks for.
    pub instance_size: String,
    /// Its worker type.
    pub worker_type: WorkerType,
    /// How long it may run.
    pub timeout: Duration,
    /// How long it took; `None`: it has never run to a good end.
    pub past: Option<PastRuns>,
    /// The machines, in the order in which they would be tried; empty where nobody starts machines.
    pub candidates: Vec<Candidate>,
}

/// How long past runs took, the newest that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastRuns {
    /// How many they are.
    pub count: usize,
    /// The middle one's time, from the start of its code to its end.
    pub median: Duration,
}

/// Why a request was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    /// Core refused it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// No workflow has that id or name.
    #[error("there is no workflow {given:?}{}", nearest.as_ref().map(|name| format!("; did you mean {name:?}?")).unwrap_or_default())]
    NoSuchWorkflow {
        /// What was asked for.
        given: String,
        /// The nearest name that there is.
        nearest: Option<String>,
    },
    /// More than one repository has a workflow of that name.
    #[error("{given:?} is ambiguous; say which: {}", candidates.join(", "))]
    AmbiguousWorkflow {
        /// What was asked for.
        given: String,
        /// The full names.
        candidates: Vec<String>,
    },
    /// No repository has that name.
    #[error("there is no repository {0:?}")]
    NoSuchRepo(String),
    /// No execution has that id.
    #[error("there is no execution {0}")]
    NoSuchExecution(ExecutionId),
    /// No group has that id.
    #[error("there is no group {0}")]
    NoSuchGroup(GroupId),
    /// The request itself, or the configuration that it needs, is wrong.
    #[error("{what}: {}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid {
        /// What is wrong.
        what: String,
        /// Everything that is wrong with it.
        problems: Vec<Problem>,
    },
    /// The repository could not answer.
    #[error("the repository could not answer")]
    Source(#[source] Arc<SourceError>),
    /// The store of bundles failed.
    #[error("the code could not be kept")]
    Blob(#[source] Arc<BlobError>),
    /// The state could not be read or written; nothing is known to have been done.
    #[error("the state store failed")]
    State(#[source] Arc<StateError>),
    /// No such machine may or can be had.
    #[error("{message}")]
    NoMachine {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The provisioner could not answer.
    #[error("the provisioner could not answer")]
    Provisioner(#[source] Arc<ProvisionError>),
    /// The supervisor is ending, or recovers; try again.
    #[error("the supervisor is not available just now")]
    Unavailable,
}

impl RequestError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Source(error) => error.retry(),
            Self::Blob(error) => error.retry(),
            Self::State(error) => error.retry(),
            Self::Provisioner(error) => error.retry(),
            Self::Unavailable => Retry::Later,
            Self::Rejected(Rejection::ShuttingDown) => Retry::Later,
            Self::Rejected(_)
            | Self::NoSuchWorkflow { .. }
            | Self::AmbiguousWorkflow { .. }
            | Self::NoSuchRepo(_)
            | Self::NoSuchExecution(_)
            | Self::NoSuchGroup(_)
            | Self::NoMachine { .. }
            | Self::Invalid { .. } => Retry::Never,
        }
    }
}

impl From<SourceError> for RequestError {
    fn from(error: SourceError) -> Self {
        Self::Source(Arc::new(error))
    }
}

impl From<ProvisionError> for RequestError {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::Rejected { message, hint } => Self::NoMachine { message, hint },
            ProvisionError::Unavailable(_) => Self::Provisioner(Arc::new(error)),
        }
    }
}

impl From<BlobError> for RequestError {
    fn from(error: BlobError) -> Self {
        Self::Blob(Arc::new(error))
    }
}

impl From<StateError> for RequestError {
    fn from(error: StateError) -> Self {
        Self::State(Arc::new(error))
    }
}

/// Repeats an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The same commit and parameters.
    Retry,
    /// The newest commit, the same parameters.
    Rerun,
}

impl From<Repeat> for Trigger {
    fn from(repeat: Repeat) -> Self {
        match repeat {
            Repeat::Retry => Self::Retry,
            Repeat::Rerun => Self::Rerun,
        }
    }
}
