//! What agents report of attempts, and what an attempt's end means for its execution.

use std::sync::Arc;

use super::budgets::stopped_by_budget;
use super::enlarging::{enlarge, wait_for_larger};
use super::{Orchestrator, Turn};
use crate::event::{Change, EventKind, EventRecord};
use crate::execution::{
    AttemptEnd, Ending, Execution, ExecutionState, Failure, FailureCause, FinishReport, LiveAttempt, Phase,
    RunState, Stop, StopReason, Waiting, WaitingReason,
};
use crate::id::{AttemptId, Claim, ExecutionId, Lease, SessionId, WorkerId};
use crate::log::{Gap, GapReason, LogOffset};
use crate::message::{AttemptStatus, SupervisorMessage, WorkerStatus};
use crate::workflow::{InstanceSize, PackageLock};

impl Orchestrator {
    /// A report of an attempt. One that does not bear the live attempt's lease changes nothing (invariant I5).
    pub(super) fn on_status(
        &mut self,
        worker: WorkerId,
        session: SessionId,
        report: WorkerStatus,
        turn: &mut Turn<'_>,
    ) {
        let WorkerStatus { claim, status, packages } = report;
        let Some(mut execution) = self.live_execution(worker, claim) else {
            self.answer_stale_report(worker, session, claim, &status, turn);
            return;
        };
        if let Some(packages) = packages {
            self.on_packages(&mut execution, packages, turn);
        }
        match status {
            AttemptStatus::Reached { phase, ago } => {
                let at = turn.now.wall.before(ago);
                self.on_phase(execution, phase, at, turn);
            }
            AttemptStatus::Finished(report) => {
                self.on_finished(execution, *report, turn);
                turn.send(session, SupervisorMessage::StatusAck { claim });
            }
        }
    }

    /// What the attempt's environment has; the first report counts.
    fn on_packages(
        &mut self,
        execution: &mut Arc<Execution>,
        packages: Arc<PackageLock>,
        turn: &mut Turn<'_>,
    ) {
        if execution.latest_attempt().is_none_or(|attempt| attempt.packages.is_some()) {
            return;
        }
        if let Some(attempt) = Arc::make_mut(execution).attempts.last_mut() {
            attempt.packages = Some(packages);
        }
        self.put_execution(Arc::clone(execution), turn);
    }

    /// The execution whose live attempt this is, on this worker and under this lease.
    pub(super) fn live_execution(&self, worker: WorkerId, claim: Claim) -> Option<Arc<Execution>> {
        let execution = self.executions.get(&claim.attempt.execution)?;
        let live = execution.state.live()?;
        (live.worker == worker && live.claim(execution.id) == claim).then(|| Arc::clone(execution))
    }

    /// The agent holds something that is over: it is told so, and the report is kept as a record, not as a state.
    fn answer_stale_report(
        &self,
        worker: WorkerId,
        session: SessionId,
        claim: Claim,
        status: &AttemptStatus,
        turn: &mut Turn<'_>,
    ) {
        match status {
            AttemptStatus::Finished(_) => {
                turn.send(session, SupervisorMessage::StatusAck { claim });
            }
            AttemptStatus::Reached { .. } => {
                let reason = StopReason::Disowned;
                turn.send(session, SupervisorMessage::Cancel { claim, epoch: self.epoch, reason });
            }
        }
        turn.change(Change::Record(EventRecord {
            at: turn.now.wall,
            kind: EventKind::ReportIgnored,
            execution: Some(claim.attempt.execution),
            workflow: None,
            worker: Some(worker),
            message: format!(
                "a report of attempt {} came too late and changes nothing",
                claim.attempt.number
            ),
        }));
    }

    fn on_phase(
        &mut self,
        mut execution: Arc<Execution>,
        phase: Phase,
        at: crate::time::Timestamp,
        turn: &mut Turn<'_>,
    ) {
        let latest = execution.latest_attempt();
        if latest.is_none_or(|attempt| attempt.phases.get(phase).is_some()) {
            return;
        }
        let changed = Arc::make_mut(&mut execution);
        if let Some(attempt) = changed.attempts.last_mut() {
            attempt.phases.record(phase, at);
        }
        if let (Phase::Started, ExecutionState::Starting { live, stop }) = (phase, &changed.state) {
            let run = stop.map_or(RunState::Working, RunState::Stopping);
            changed.state = ExecutionState::Running { live: *live, run };
            turn.record_execution(EventKind::ExecutionRunning, &execution, "its code runs");
        }
        self.put_execution(execution, turn);
    }

    fn on_finished(&mut self, mut execution: Arc<Execution>, mut report: FinishReport, turn: &mut Turn<'_>) {
        let (live, stop) = match &execution.state {
            ExecutionState::Starting { live, stop } => (*live, *stop),
            ExecutionState::Running { live, run: RunState::Working } => (*live, None),
            ExecutionState::Running { live, run: RunState::Stopping(stop) } => (*live, Some(*stop)),
            // Repeated: the first report counts.
            ExecutionState::Running { run: RunState::Finishing { .. }, .. }
            | ExecutionState::Queued { .. }
            | ExecutionState::Provisioning { .. }
            | ExecutionState::Success { .. }
            | ExecutionState::Failed { .. }
            | ExecutionState::Cancelled { .. } => return,
        };
        if let Some(attempt) = Arc::make_mut(&mut execution).attempts.last_mut() {
            attempt.phases.record(Phase::Finished, turn.now.wall);
        }
        report.bound_warnings();
        for warning in &report.warnings {
            turn.record_execution(EventKind::ExecutionWarning, &execution, warning.clone());
        }
        let stored = self.logs.get(&live.claim(execution.id).attempt).copied().unwrap_or_default();
        if stored >= report.log_end {
            self.conclude(execution, live, AttemptEnd::Reported(report), stop, None, turn);
            return;
        }
        let until = turn.now.wall.after(self.policy.log_wait);
        let run = RunState::Finishing { report: Box::new(report), stop, until };
        Arc::make_mut(&mut execution).state = ExecutionState::Running { live, run };
        self.put_execution(execution, turn);
    }

    pub(super) fn on_log_stored(&mut self, claim: Claim, upto: LogOffset, turn: &mut Turn<'_>) {
        let Some(execution) = self.executions.get(&claim.attempt.execution).cloned() else {
            return;
        };
        if execution.state.live().map(|live| live.claim(execution.id)) != Some(claim) {
            return;
        }
        let stored = self.logs.entry(claim.attempt).or_default();
        *stored = upto.max(*stored);
        let stored = *stored;
        if let ExecutionState::Running { live, run: RunState::Finishing { report, stop, .. } } =
            &execution.state
            && stored >= report.log_end
        {
            let (live, stop) = (*live, *stop);
            let end = AttemptEnd::Reported(FinishReport::clone(report));
            self.conclude(execution, live, end, stop, None, turn);
        }
    }

    /// The rest of the log did not come in time: the log is closed with a gap that says how much is missing.
    pub(super) fn give_up_log(&mut self, id: ExecutionId, turn: &mut Turn<'_>) {
        let Some(execution) = self.executions.get(&id).cloned() else {
            return;
        };
        if let ExecutionState::Running { live, run: RunState::Finishing { report, stop, .. } } =
            &execution.state
        {
            let (live, stop) = (*live, *stop);
            let stored = self.logs.get(&live.claim(id).attempt).copied().unwrap_or_default();
            let missing = report.log_end.0.saturating_sub(stored.0);
            let gap = Gap { bytes: Some(missing), reason: GapReason::NotDelivered };
            let end = AttemptEnd::Reported(FinishReport::clone(report));
            self.conclude(execution, live, end, stop, Some(gap), turn);
        }
    }

    /// A worker is proved gone: what it had ends with it.
    pub(super) fn lose_attempt(
        &mut self,
        attempt: AttemptId,
        lease: Lease,
        failure: &Failure,
        turn: &mut Turn<'_>,
    ) {
        let Some(execution) = self.executions.get(&attempt.execution).cloned() else {
            return;
        };
        let Some(live) =
            execution.state.live().filter(|live| live.number == attempt.number && live.lease == lease)
        else {
            return;
        };
        if let ExecutionState::Running { run: RunState::Finishing { .. }, .. } = &execution.state {
            // Its end was reported before the worker went; only the rest of the log is lost.
            self.give_up_log(attempt.execution, turn);
            return;
        }
        let stop = match &execution.state {
            ExecutionState::Starting { stop, .. } => *stop,
            ExecutionState::Running { run: RunState::Stopping(stop), .. } => Some(*stop),
            ExecutionState::Running { run: RunState::Working | RunState::Finishing { .. }, .. }
            | ExecutionState::Queued { .. }
            | ExecutionState::Provisioning { .. }
            | ExecutionState::Success { .. }
            | ExecutionState::Failed { .. }
            | ExecutionState::Cancelled { .. } => None,
        };
        let started =
            execution.latest_attempt().is_some_and(|attempt| attempt.phases.get(Phase::Started).is_some());
        let gap = started.then_some(Gap { bytes: None, reason: GapReason::WorkerLost });
        self.conclude(execution, live, AttemptEnd::Lost(failure.clone()), stop, gap, turn);
    }

    /// Ends the live attempt, closes its log, frees its slot, and decides what becomes of the execution.
    fn conclude(
        &mut self,
        mut execution: Arc<Execution>,
        live: LiveAttempt,
        end: AttemptEnd,
        stop: Option<Stop>,
        gap: Option<Gap>,
        turn: &mut Turn<'_>,
    ) {
        let now = turn.now.wall;
        let claim = live.claim(execution.id);
        let changed = Arc::make_mut(&mut execution);
        if let Some(attempt) = changed.attempts.last_mut() {
            attempt.phases.record(Phase::Drained, now);
            attempt.end = Some(end.clone());
        }
        changed.spending.end(now);
        let cancelled = stop.is_some_and(|stop| stop.reason == StopReason::Cancelled);
        match end.failure() {
            None if is_cancelled_end(&end) => end_stopped(changed, turn),
            None => {
                changed.state = ExecutionState::Success { at: now };
                turn.record_execution(EventKind::ExecutionSuccess, &execution, "succeeded");
            }
            // The worker went while the job was being cancelled: what was asked for has happened.
            Some(failure) if cancelled && failure.cause != FailureCause::UserError => {
                end_stopped(changed, turn);
            }
            Some(failure) => {
                let last = cancelled || changed.has_used_its_budget(now);
                let (failure, again) = if last {
                    (failure, Again::Never)
                } else {
                    self.after_failure(changed, failure, live.worker)
                };
                fail(changed, failure, again, turn);
                if let Some(until) = changed.state.backoff_until() {
                    changed.wait_from(until);
                }
            }
        }
        self.logs.remove(&claim.attempt);
        turn.change(Change::CloseLog { attempt: claim.attempt, gap });
        self.put_execution(execution, turn);
        self.release_slot(live.worker, claim.attempt, turn);
    }

    /// A machine could not be had for an execution that waited for one.
    pub(super) fn fail_launch(
        &mut self,
        id: ExecutionId,
        failure: Failure,
        again: Again,
        turn: &mut Turn<'_>,
    ) {
        let Some(mut execution) = self.executions.get(&id).cloned() else {
            return;
        };
        let changed = Arc::make_mut(&mut execution);
        changed.spending.end(turn.now.wall);
        changed.launch_failures = changed.launch_failures.saturating_add(1);
        fail(changed, failure, again, turn);
        self.put_execution(execution, turn);
    }
}

/// Whether a failure may be followed by another attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Again {
    ByPolicy,
    /// On this larger size.
    Larger(InstanceSize),
    Never,
}

/// It was stopped as was wished: for what it cost, or by somebody.
fn end_stopped(execution: &mut Execution, turn: &mut Turn<'_>) {
    if let Some(failure) = stopped_by_budget(execution) {
        fail(execution, failure, Again::Never, turn);
        return;
    }
    execution.state = ExecutionState::Cancelled { at: turn.now.wall };
    turn.record_execution(EventKind::ExecutionCancelled, execution, "cancelled");
}

fn is_cancelled_end(end: &AttemptEnd) -> bool {
    match end {
        AttemptEnd::Reported(report) => report.ending == Ending::Stopped { reason: StopReason::Cancelled },
        AttemptEnd::Lost(_) => false,
    }
}

/// Fails an execution for good, or puts it back into the queue, as its policy says.
pub(super) fn fail(execution: &mut Execution, failure: Failure, again: Again, turn: &mut Turn<'_>) {
    let now = turn.now.wall;
    let wait = match &again {
        Again::ByPolicy => execution.retries.next_wait(failure.cause, execution.failures_by(failure.cause)),
        Again::Larger(_) => wait_for_larger(execution),
        Again::Never => None,
    };
    match wait {
        Some(wait) => {
            let mut message = format!(
                "{}: {}; tried again in {} s",
                failure.cause.as_str(),
                failure.message,
                wait.as_secs()
            );
            if let Again::Larger(size) = again {
                message.push_str(&format!(" on {size} instead of {}", execution.size()));
                enlarge(execution, size);
            }
            let until = now.after(wait);
            let reason = WaitingReason::Backoff { until, failure };
            execution.state = ExecutionState::Queued { waiting: Waiting { reason, since: now } };
            turn.record_execution(EventKind::ExecutionRetrying, execution, message);
        }
        None => {
            let message = format!("{}: {}", failure.cause.as_str(), failure.message);
            execution.state = ExecutionState::Failed { at: now, failure };
            turn.record_execution(EventKind::ExecutionFailed, execution, message);
        }
    }
}
