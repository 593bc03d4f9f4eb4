//! What a workflow needs: others that must have succeeded before it starts by itself.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ScheduleDates, StartOutcome};
use crate::id::{ExecutionId, InvalidId, QualifiedName, RepoName, WorkflowId, WorkflowName};
use crate::time::Timestamp;

/// A workflow that must have succeeded before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Which.
    pub workflow: WorkflowRef,
    /// How long its success counts.
    pub within: Duration,
}

/// How a configuration names another workflow: by its name if it is of the same repository, else by `repo/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkflowRef {
    /// The repository; `None`: the one of the workflow that names it.
    pub repo: Option<RepoName>,
    /// The name within it.
    pub name: WorkflowName,
}

impl WorkflowRef {
    /// The full name, as a workflow of `repo` means it.
    pub fn seen_from(&self, repo: &RepoName) -> QualifiedName {
        QualifiedName { repo: self.repo.as_ref().unwrap_or(repo).clone(), name: self.name.clone() }
    }
}

impl fmt::Display for WorkflowRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repo {
            Some(repo) => write!(f, "{repo}/{}", self.name),
            None => self.name.fmt(f),
        }
    }
}

impl FromStr for WorkflowRef {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Ok(match text.split_once('/') {
            Some((repo, name)) => Self { repo: Some(repo.parse()?), name: name.parse()? },
            None => Self { repo: None, name: text.parse()? },
        })
    }
}

impl TryFrom<String> for WorkflowRef {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<WorkflowRef> for String {
    fn from(name: WorkflowRef) -> Self {
        name.to_string()
    }
}

/// What has succeeded for a workflow that needs others, and what it has not started by that yet. A success is used once:
/// it takes part in one start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedsProgress {
    /// The workflow that needs others.
    pub workflow: WorkflowId,
    /// Successes that no start has used, the oldest first.
    pub unused: Vec<NeedSuccess>,
    /// Starts whose execution is being prepared. They are prepared again until they have it or are given up.
    pub claimed: BTreeSet<NeedsStart>,
    /// The start that was settled last.
    pub last: Option<SettledNeeds>,
}

/// A workflow that is needed has succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedSuccess {
    /// What succeeded.
    pub by: NeededBy,
    /// The dates that it ran for; only successes for the same date go together.
    pub dates: Option<ScheduleDates>,
    /// When it ended.
    pub at: Timestamp,
}

/// The execution by which a needed workflow has succeeded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NeededBy {
    /// The workflow.
    pub workflow: QualifiedName,
    /// Its execution.
    pub execution: ExecutionId,
}

/// All that a workflow needs has succeeded. Each set of successes makes at most one execution (invariant I10).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NeedsStart {
    /// The workflow that starts.
    pub workflow: WorkflowId,
    /// The dates that it runs for: those of what it needs.
    pub dates: Option<ScheduleDates>,
    /// What succeeded, in the order of the names.
    pub by: Vec<NeededBy>,
}

impl NeedsStart {
    /// The key under which its execution is remembered.
    pub fn key(&self) -> String {
        let mut key = format!("needs {}", self.workflow);
        for by in &self.by {
            key.push(' ');
            key.push_str(&by.execution.to_string());
        }
        key
    }
}

/// A start that nothing more comes of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledNeeds {
    /// When it was settled.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: StartOutcome,
}
