//! What workflows were, and what changed, as REST shows it.

use data_runner_core::execution::Difference;
use data_runner_core::id::ExecutionId;
use data_runner_core::port;
use data_runner_engine::CodeDiff;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment;

/// A revision that changed a workflow.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkflowVersion {
    /// The commit.
    pub revision: String,
    /// When it was committed; null where no history is kept, as all that follows.
    pub at: Option<Timestamp>,
    /// The name of its author.
    pub author: Option<String>,
    /// The first line of its message.
    pub subject: Option<String>,
}

/// The versions of a workflow.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkflowHistory {
    /// The newest first.
    pub items: Vec<WorkflowVersion>,
}

/// What is different in a workflow's code.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkflowDiff {
    /// The earlier revision.
    pub from: String,
    /// The later one.
    pub to: String,
    /// A unified diff of its folder and what it includes, up to 1 MiB; empty if nothing is different.
    pub diff: String,
}

/// The definition that an execution runs by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionDefinition {
    /// The revision.
    pub revision: String,
    /// The file, relative to the repository.
    pub file: String,
    /// The `config.yaml` as it is at that revision; null if it was never pushed, or is not kept any more.
    pub text: Option<String>,
}

/// What is different between two executions.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExecutionDiff {
    /// The first one.
    #[schema(value_type = uuid::Uuid)]
    pub from: ExecutionId,
    /// The second one.
    #[schema(value_type = uuid::Uuid)]
    pub to: ExecutionId,
    /// In what they were asked for differently.
    pub changes: Vec<Changed>,
    /// A unified diff of their code, up to 1 MiB; null if it is not kept any more, or they are of different workflows.
    pub diff: Option<String>,
}

/// One thing that is different.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// What, as a JSON pointer: `/params/day`, `/revision`.
    pub pointer: String,
    /// What it was in the first one; null if it had none.
    pub from: Option<serde_json::Value>,
    /// What it was in the second one.
    pub to: Option<serde_json::Value>,
}

impl From<port::Version> for WorkflowVersion {
    fn from(version: port::Version) -> Self {
        let port::Version { revision, at, author, subject } = version;
        Self { revision: revision.to_string(), at: at.map(moment), author, subject }
    }
}

impl From<CodeDiff> for WorkflowDiff {
    fn from(diff: CodeDiff) -> Self {
        Self { from: diff.from.to_string(), to: diff.to.to_string(), diff: diff.text }
    }
}

impl From<Difference> for Changed {
    fn from(difference: Difference) -> Self {
        let Difference { pointer, from, to } = difference;
        Self { pointer, from, to }
    }
}
