//! Events as REST shows them.

use data_runner_core::event::EventKind;
use data_runner_core::id::{ExecutionId, WorkerId, WorkflowId};
use data_runner_core::port::StoredEvent;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its place, `sequence-index`: the commit's number and the event's within it, from 0. Places rise.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// What kind of thing, such as `execution_running`.
    #[schema(value_type = String)]
    pub kind: EventKind,
    /// The execution that it is about.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub execution_id: Option<ExecutionId>,
    /// The workflow.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub workflow_id: Option<WorkflowId>,
    /// The worker.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub worker_id: Option<WorkerId>,
    /// A sentence for people.
    pub message: String,
}

impl From<StoredEvent> for Event {
    fn from(event: StoredEvent) -> Self {
        Self {
            id: format!("{}-{}", event.position.sequence, event.position.index),
            at: moment(event.record.at),
            kind: event.record.kind,
            execution_id: event.record.execution,
            workflow_id: event.record.workflow,
            worker_id: event.record.worker,
            message: event.record.message,
        }
    }
}
