//! Whether an execution whose attempt ran out of memory goes a size up.
//!
//! `compute.on_out_of_memory: larger` grants one more attempt, on the next size of the same family that the operator
//! allows. Where `retries` names `out_of_memory`, its count and its wait hold instead, and each attempt is a size up from
//! the one before, as far as sizes go.

use std::time::Duration;

use super::Orchestrator;
use super::attempts::Again;
use crate::execution::{Enlarged, Execution, Failure, FailureCause};
use crate::id::WorkerId;
use crate::worker::Purpose;
use crate::workflow::{InstanceSize, OnOutOfMemory};

impl Orchestrator {
    /// How the execution may go on after this failure of its newest attempt, which ran there; and the failure, with what
    /// it says where it would have gone a size up and cannot.
    pub(super) fn after_failure(
        &self,
        execution: &Execution,
        failure: Failure,
        worker: WorkerId,
    ) -> (Failure, Again) {
        let wants_more = execution.compute.on_out_of_memory == OnOutOfMemory::Larger;
        if failure.cause != FailureCause::OutOfMemory || !wants_more {
            return (failure, Again::ByPolicy);
        }
        match self.next_size(execution, worker) {
            Ok(size) => (failure, Again::Larger(size)),
            Err(why) => (failure.hinting(format!("it did not go a size up: {why}")), Again::ByPolicy),
        }
    }

    /// The next size, or why there is none.
    fn next_size(&self, execution: &Execution, worker: WorkerId) -> Result<InstanceSize, String> {
        let size = execution.size();
        if !execution.enlarged.is_empty() && !execution.retries.names(FailureCause::OutOfMemory) {
            return Err(format!(
                "it did once, to {size}; let `retries` name out_of_memory to go further, or choose a larger size"
            ));
        }
        let known: InstanceSize = size.parse().map_err(|error| format!("{error}"))?;
        self.has_more(&known, worker)?;
        let patterns = &self.policy.allowed_sizes;
        known.next_larger(|name| patterns.allow(name)).ok_or_else(|| {
            format!("{size} is the largest of its family that may be had here; choose one of another family")
        })
    }

    /// A worker for anybody has the memory that it has, whatever size is asked for.
    fn has_more(&self, size: &InstanceSize, worker: WorkerId) -> Result<(), String> {
        let Some(worker) = self.workers.get(&worker) else { return Ok(()) };
        match (&worker.purpose, &worker.facts) {
            (Purpose::Any, Some(facts)) if facts.memory_bytes <= size.resources().memory_bytes => {
                Err(format!("the worker's machine has no more memory than {size}"))
            }
            (Purpose::Any | Purpose::Workflow { .. }, Some(_) | None) => Ok(()),
        }
    }
}

/// How long an execution waits before it runs on a larger size; `None`: it does not.
pub(super) fn wait_for_larger(execution: &Execution) -> Option<Duration> {
    let cause = FailureCause::OutOfMemory;
    if execution.retries.names(cause) {
        return execution.retries.next_wait(cause, execution.failures_by(cause));
    }
    // More memory is there at once; there is nothing to wait for.
    execution.enlarged.is_empty().then_some(Duration::ZERO)
}

/// Goes a size up after the newest attempt.
pub(super) fn enlarge(execution: &mut Execution, to: InstanceSize) {
    if let Some(after) = execution.latest_attempt().map(|attempt| attempt.number) {
        execution.enlarged.push(Enlarged { after, to });
    }
}
