//! Rows on their way to SQLite: one JSON list a statement, read there by `json_each`. That is many times faster than a
//! statement a row. Ids travel as hexadecimal digits; each row is a list, in the order of the statement's columns.

use data_runner_core::delivery::{Delivery, DeliveryState};
use data_runner_core::event::EventRecord;
use data_runner_core::execution::{Attempt, Execution};
use data_runner_core::group::Group;
use data_runner_core::id::{CommitSequence, ExecutionId};
use data_runner_core::port::{IdempotencyRecord, Made, StateError};
use data_runner_core::worker::{Worker, WorkerState};
use data_runner_core::workflow::{NeedsProgress, Repo, ScheduleId, ScheduleProgress, Workflow};
use serde::Serialize;
use uuid::Uuid;

use crate::body::{MADE_EXECUTION, MADE_GROUP, signed, split, to_json};

fn hex(uuid: Uuid) -> String {
    uuid.simple().to_string()
}

pub(super) fn id(execution: ExecutionId) -> String {
    hex(execution.uuid())
}

/// id, workflow, created_at, finished_at, state, body.
pub(super) fn execution(execution: &Execution) -> Result<impl Serialize + use<>, StateError> {
    Ok((
        id(execution.id),
        hex(execution.workflow_id.uuid()),
        execution.created_at.micros(),
        execution.state.finished_at().map(|at| at.micros()),
        execution.state.name().as_str(),
        to_json(&split(execution).1)?,
    ))
}

/// execution, body.
pub(super) fn spec(execution: &Execution) -> Result<impl Serialize + use<>, StateError> {
    Ok((id(execution.id), to_json(&split(execution).0)?))
}

/// key, value, execution.
pub(super) fn label<'a>(
    execution: &Execution,
    (key, value): (&'a String, &'a String),
) -> impl Serialize + use<'a> {
    (key, value, id(execution.id))
}

/// execution, number, body.
pub(super) fn attempt(
    execution: &Execution,
    attempt: &Attempt,
) -> Result<impl Serialize + use<>, StateError> {
    Ok((id(execution.id), attempt.number.0, to_json(attempt)?))
}

/// id, terminated_at, body.
pub(super) fn worker(worker: &Worker) -> Result<impl Serialize + use<>, StateError> {
    let terminated_at = match &worker.state {
        WorkerState::Terminated { at, .. } => Some(at.micros()),
        WorkerState::Planning { .. }
        | WorkerState::Launching { .. }
        | WorkerState::Booting { .. }
        | WorkerState::Idle { .. }
        | WorkerState::Busy { .. }
        | WorkerState::Draining { .. }
        | WorkerState::Terminating { .. } => None,
    };
    Ok((hex(worker.id.uuid()), terminated_at, to_json(worker)?))
}

/// id, repo, name, body.
pub(super) fn workflow(workflow: &Workflow) -> Result<impl Serialize + use<'_>, StateError> {
    Ok((hex(workflow.id.uuid()), &workflow.repo, &workflow.name, to_json(workflow)?))
}

/// name, body.
pub(super) fn repo(repo: &Repo) -> Result<impl Serialize + use<'_>, StateError> {
    Ok((&repo.name, to_json(repo)?))
}

/// workflow, cron, timezone, body.
pub(super) fn schedule(progress: &ScheduleProgress) -> Result<impl Serialize + use<'_>, StateError> {
    let ScheduleId { workflow, schedule } = &progress.id;
    Ok((hex(workflow.uuid()), schedule.cron(), schedule.timezone(), to_json(progress)?))
}

/// workflow, body.
pub(super) fn needs(progress: &NeedsProgress) -> Result<impl Serialize + use<>, StateError> {
    Ok((hex(progress.workflow.uuid()), to_json(progress)?))
}

/// id, execution, settled_at, body.
pub(super) fn delivery(delivery: &Delivery) -> Result<impl Serialize + use<>, StateError> {
    let settled_at = match &delivery.state {
        DeliveryState::Pending { .. } => None,
        DeliveryState::Delivered { at, .. } | DeliveryState::GivenUp { at, .. } => Some(at.micros()),
    };
    Ok((hex(delivery.id.uuid()), id(delivery.execution), settled_at, to_json(delivery)?))
}

/// id, ended_at, body.
pub(super) fn group(group: &Group) -> Result<impl Serialize + use<>, StateError> {
    let ended_at = group.state.ended_at().map(data_runner_core::time::Timestamp::micros);
    Ok((hex(group.id.uuid()), ended_at, to_json(group)?))
}

/// key, body_hash, execution, made, at.
pub(super) fn idempotency(record: &IdempotencyRecord) -> impl Serialize + use<'_> {
    let (made, uuid) = match record.made {
        Made::Execution(id) => (MADE_EXECUTION, id.uuid()),
        Made::Group(id) => (MADE_GROUP, id.uuid()),
    };
    (&record.key, &record.body, hex(uuid), made, record.at.micros())
}

/// sequence, place, execution, body.
pub(super) fn event(
    sequence: CommitSequence,
    place: u32,
    record: &EventRecord,
) -> Result<impl Serialize + use<>, StateError> {
    Ok((signed(sequence.0), place, record.execution.map(id), to_json(record)?))
}
