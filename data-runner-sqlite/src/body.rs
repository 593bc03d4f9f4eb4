//! Rows and the domain's values: what lies in columns, what in the JSON body.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::cost::{RunBudget, Spending};
use data_runner_core::execution::{
    Attempt, Enlarged, Execution, ExecutionState, Lateness, LaunchTry, Queueing, RetryPolicy, Trigger,
};
use data_runner_core::group::Membership;
use data_runner_core::id::{
    ArtifactId, AttemptId, AttemptNumber, ExecutionId, GroupId, Lease, TokenId, WorkerId, WorkflowId,
};
use data_runner_core::port::{Made, StateError};
use data_runner_core::time::Timestamp;
use data_runner_core::workflow::{Compute, JobSpec, Notification, ScheduleDates};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::corrupt;

/// What an idempotency key made, in its column.
pub(crate) const MADE_EXECUTION: &str = "execution";
pub(crate) const MADE_GROUP: &str = "group";

/// What never changes of an execution, but for its key and the columns of its row.
#[derive(Serialize, Deserialize)]
pub(crate) struct Spec {
    job: Arc<JobSpec>,
    labels: BTreeMap<String, String>,
    instance_size: String,
    retries: RetryPolicy,
    keep_warm: Duration,
    #[serde(default)]
    compute: Compute,
    #[serde(default)]
    notifications: Vec<Notification>,
    #[serde(default)]
    budget: Option<RunBudget>,
    #[serde(default)]
    queueing: Queueing,
    trigger: Trigger,
    #[serde(default)]
    dates: Option<ScheduleDates>,
    #[serde(default)]
    group: Option<Membership>,
    retry_of: Option<ExecutionId>,
}

/// What changes of it, but for its attempts.
#[derive(Serialize, Deserialize)]
pub(crate) struct Progress {
    state: ExecutionState,
    #[serde(default)]
    spending: Spending,
    #[serde(default)]
    start_by: Option<Timestamp>,
    #[serde(default)]
    late: Lateness,
    launch_failures: u32,
    #[serde(default)]
    launch_tries: Vec<LaunchTry>,
    #[serde(default)]
    enlarged: Vec<Enlarged>,
}

/// The parts of an execution that become bodies. Every field is named here, so that a new one cannot be forgotten.
pub(crate) fn split(execution: &Execution) -> (Spec, Progress) {
    let Execution {
        id: _,
        workflow_id: _,
        job,
        labels,
        instance_size,
        retries,
        keep_warm,
        compute,
        notifications,
        budget,
        queueing,
        trigger,
        dates,
        group,
        retry_of,
        late,
        created_at: _,
        state,
        spending,
        start_by,
        launch_failures,
        launch_tries,
        enlarged,
        attempts: _,
    } = execution;
    let spec = Spec {
        job: Arc::clone(job),
        labels: labels.clone(),
        instance_size: instance_size.clone(),
        retries: retries.clone(),
        keep_warm: *keep_warm,
        compute: compute.clone(),
        notifications: notifications.clone(),
        budget: *budget,
        queueing: queueing.clone(),
        trigger: trigger.clone(),
        dates: *dates,
        group: *group,
        retry_of: *retry_of,
    };
    let progress = Progress {
        state: state.clone(),
        spending: *spending,
        start_by: *start_by,
        late: *late,
        launch_failures: *launch_failures,
        launch_tries: launch_tries.clone(),
        enlarged: enlarged.clone(),
    };
    (spec, progress)
}

/// An execution as the three tables have it.
pub(crate) struct ExecutionRow {
    pub(crate) id: Vec<u8>,
    pub(crate) workflow: Vec<u8>,
    pub(crate) created_at: i64,
    pub(crate) body: String,
    pub(crate) spec: String,
    /// The bodies of its attempts, in order, as one JSON list.
    pub(crate) attempts: String,
}

impl ExecutionRow {
    pub(crate) fn decode(self) -> Result<Execution, StateError> {
        let id = ExecutionId::from_uuid(uuid(&self.id, "execution id")?);
        let spec: Spec = json(&self.spec, || format!("job of execution {id}"))?;
        let progress: Progress = json(&self.body, || format!("state of execution {id}"))?;
        let attempts: Vec<Attempt> = json(&self.attempts, || format!("attempts of execution {id}"))?;
        Ok(Execution {
            id,
            workflow_id: WorkflowId::from_uuid(uuid(&self.workflow, "workflow id")?),
            job: spec.job,
            labels: spec.labels,
            instance_size: spec.instance_size,
            retries: spec.retries,
            keep_warm: spec.keep_warm,
            compute: spec.compute,
            notifications: spec.notifications,
            budget: spec.budget,
            queueing: spec.queueing,
            trigger: spec.trigger,
            dates: spec.dates,
            group: spec.group,
            retry_of: spec.retry_of,
            late: progress.late,
            created_at: Timestamp::from_micros(self.created_at),
            state: progress.state,
            spending: progress.spending,
            start_by: progress.start_by,
            launch_failures: progress.launch_failures,
            launch_tries: progress.launch_tries,
            enlarged: progress.enlarged,
            attempts,
        })
    }
}

/// Reads a JSON body; `what` names it for the one who has to repair it.
pub(crate) fn json<T: DeserializeOwned>(body: &str, what: impl FnOnce() -> String) -> Result<T, StateError> {
    serde_json::from_str(body).map_err(|error| corrupt(what(), error))
}

/// Writes a JSON body. It fails only for a value that the domain does not have, such as a map whose keys are not text.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, StateError> {
    serde_json::to_string(value).map_err(|error| corrupt("value to be stored", error))
}

/// Reads what an idempotency key made.
pub(crate) fn made(what: &str, id: &[u8]) -> Result<Made, StateError> {
    match what {
        MADE_EXECUTION => Ok(Made::Execution(execution_id(id)?)),
        MADE_GROUP => Ok(Made::Group(GroupId::from_uuid(uuid(id, "group id")?))),
        other => Err(corrupt("idempotency key", UnknownKind(other.to_owned()))),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a key cannot have made a {0:?}")]
struct UnknownKind(String);

/// Reads the 16 bytes of an id.
pub(crate) fn uuid(bytes: &[u8], what: &str) -> Result<Uuid, StateError> {
    Uuid::from_slice(bytes).map_err(|error| corrupt(what, error))
}

pub(crate) fn execution_id(bytes: &[u8]) -> Result<ExecutionId, StateError> {
    uuid(bytes, "execution id").map(ExecutionId::from_uuid)
}

pub(crate) fn lease(bytes: &[u8]) -> Result<Lease, StateError> {
    uuid(bytes, "lease").map(Lease::from_uuid)
}

pub(crate) fn attempt_id(execution: &[u8], number: i64) -> Result<AttemptId, StateError> {
    let number = u32::try_from(number).map_err(|error| corrupt("attempt number", error))?;
    Ok(AttemptId { execution: execution_id(execution)?, number: AttemptNumber(number) })
}

/// The bytes of an id, as they are bound.
pub(crate) trait Key {
    fn key(&self) -> Vec<u8>;
}

macro_rules! keys {
    ($($id:ty)*) => {$(
        impl Key for $id {
            fn key(&self) -> Vec<u8> {
                self.uuid().as_bytes().to_vec()
            }
        }
    )*};
}

keys!(ArtifactId ExecutionId WorkflowId WorkerId TokenId Lease);

/// A count as SQLite has it. What lies beyond 63 bits cannot have been counted, only claimed; it becomes the most
/// that there is.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count as the domain has it.
pub(crate) fn unsigned(number: i64) -> Result<u64, StateError> {
    u64::try_from(number).map_err(|error| corrupt("count", error))
}
