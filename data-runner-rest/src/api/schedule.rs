//! Schedules as REST shows them.

use data_runner_core::id::{ExecutionId, GroupId, WorkflowId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A schedule of a workflow.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// The workflow's full name, `repo/name`.
    pub workflow: String,
    /// The workflow's id.
    #[schema(value_type = uuid::Uuid)]
    pub workflow_id: WorkflowId,
    /// The cron line.
    pub cron: String,
    /// Its time zone.
    pub timezone: String,
    /// What happens to times that passed while the supervisor was away: `none`, `latest` or `all`.
    #[serde(default)]
    pub catch_up: String,
    /// By how much, at the most, it begins later, in seconds.
    #[serde(default)]
    pub jitter_seconds: f64,
    /// Whether a person paused the workflow.
    pub paused: bool,
    /// When it is due next; null while it does not run, because the workflow is paused, broken or gone.
    pub next: Option<Timestamp>,
    /// The time that was dealt with last.
    pub last: Option<LastTick>,
}

/// What came of a time at which a schedule was due.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LastTick {
    /// When it was due.
    pub due: Timestamp,
    /// `submitted`, `missed`, `skipped` or `given_up`.
    pub outcome: String,
    /// Its execution, if it has one.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub execution: Option<ExecutionId>,
    /// Its group, if the workflow has a matrix.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub group: Option<GroupId>,
    /// Why it has none.
    pub message: Option<String>,
}
