//! Read-only queries for the API.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StateError;
use crate::artifact::Artifact;
use crate::event::EventRecord;
use crate::execution::{Attempt, Execution, StateName};
use crate::group::Group;
use crate::id::{ArtifactId, AttemptId, CommitSequence, ExecutionId, GroupId, Sha256, WorkerId, WorkflowId};

use crate::time::Timestamp;
use crate::worker::Worker;
use crate::workflow::{Repo, Workflow};

/// Answers questions about what is committed. A caller that was answered by a commit reads what it wrote.
///
/// Contract:
/// - pages go from the newest to the oldest by id; a page is found by index, whatever the number of executions;
/// - `execution` and the others give the state as the last commit left it, terminal ones included;
/// - `worker` and `workers_that_cost` find workers for good, also when they were terminated long ago;
/// - a prefix finds every execution whose id starts with it, the newest first.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// One execution.
    async fn execution(&self, id: ExecutionId) -> Result<Option<Execution>, StateError>;

    /// A page of executions, newest first.
    async fn executions(&self, query: ExecutionQuery) -> Result<Vec<Execution>, StateError>;

    /// At most `limit` executions whose id, written as text, starts with `prefix`.
    async fn executions_by_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<ExecutionId>, StateError>;

    /// One group.
    async fn group(&self, id: GroupId) -> Result<Option<Group>, StateError>;

    /// At most `limit` groups, newest first, older than `before`.
    async fn groups(&self, before: Option<GroupId>, limit: u32) -> Result<Vec<Group>, StateError>;

    /// All repositories, in order of their names.
    async fn repos(&self) -> Result<Vec<Repo>, StateError>;

    /// All workflows, in order of repository and name; deleted ones too.
    async fn workflows(&self) -> Result<Vec<Workflow>, StateError>;

    /// Workers that are not terminated, and the `terminated` newest of those that are.
    async fn workers(&self, terminated: u32) -> Result<Vec<Worker>, StateError>;

    /// One worker.
    async fn worker(&self, id: WorkerId) -> Result<Option<Worker>, StateError>;

    /// Those of `workers` whose machine has a price, in order of their ids, each with all attempts that were ever
    /// assigned to it: what [`cost::of_worker`](crate::cost::of_worker) is made from.
    async fn workers_that_cost(&self, workers: Vec<WorkerId>) -> Result<Vec<WorkerWithAttempts>, StateError>;

    /// At most `limit` events that match, in the order of their commits.
    async fn events(&self, query: EventQuery) -> Result<Vec<StoredEvent>, StateError>;

    /// What was answered to this idempotency key.
    async fn idempotent(&self, key: &str) -> Result<Option<IdempotencyRecord>, StateError>;

    /// Whether any of these keys is one of a webhook's delivery that was acted upon.
    async fn hook_known(&self, keys: Vec<String>) -> Result<bool, StateError>;

    /// All that is known of an execution's files, in order of attempt, name and path: also those that come, and those
    /// whose time is over.
    async fn artifacts(&self, execution: ExecutionId) -> Result<Vec<Artifact>, StateError>;

    /// One of them.
    async fn artifact(&self, id: ArtifactId) -> Result<Option<Artifact>, StateError>;

    /// At most `limit` of those that are kept until `at` or less, the ones that are over longest first.
    async fn artifacts_over(&self, at: Timestamp, limit: u32) -> Result<Vec<Artifact>, StateError>;

    /// Whether any that is kept longer than `at`, or comes, has these bytes.
    async fn artifact_bytes_needed(&self, hash: &Sha256, at: Timestamp) -> Result<bool, StateError>;

    /// How many executions are in each state.
    async fn counts(&self) -> Result<BTreeMap<StateName, u64>, StateError>;
}

/// Which executions are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecutionQuery {
    /// In one of these states; empty: in any.
    pub states: Vec<StateName>,
    /// Of this workflow.
    pub workflow: Option<WorkflowId>,
    /// Having this label with this value.
    pub label: Option<(String, String)>,
    /// Of this group: its members, and what repeats them.
    pub group: Option<GroupId>,
    /// Created at or after.
    pub since: Option<Timestamp>,
    /// Created before.
    pub until: Option<Timestamp>,
    /// Older than this one (keyset).
    pub before: Option<ExecutionId>,
    /// At most so many.
    pub limit: u32,
}

/// Which events are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventQuery {
    /// After this place.
    pub after: EventPosition,
    /// About this execution.
    pub execution: Option<ExecutionId>,
    /// At most so many.
    pub limit: u32,
}

/// The place of an event: the commit, and its place within that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct EventPosition {
    /// The commit.
    pub sequence: CommitSequence,
    /// From 0.
    pub index: u32,
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place.
    pub position: EventPosition,
    /// What happened.
    pub record: EventRecord,
}

/// What was answered to an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// The key as the caller gave it, with the route that it was used on.
    pub key: String,
    /// The hash of the request's body.
    pub body: crate::id::Sha256,
    /// What it made.
    pub made: Made,
    /// When.
    pub at: Timestamp,
}

/// What a request made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "id", rename_all = "snake_case")]
pub enum Made {
    /// An execution.
    Execution(ExecutionId),
    /// A group.
    Group(GroupId),
}

/// A worker with all attempts that were ever assigned to it.
pub type WorkerWithAttempts = (Worker, Vec<(AttemptId, Attempt)>);
