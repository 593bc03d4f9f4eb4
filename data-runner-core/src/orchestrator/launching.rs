//! How machines are launched: one candidate at a time, committed before the call and repeated as the same until there
//! is a definite answer; then the next one, or a pause, or the end of it.

use std::sync::Arc;
use std::time::Duration;

use super::attempts::Again;
use super::{Orchestrator, Pause, Turn};
use crate::event::{Effect, EventKind, PlanFailure};
use crate::execution::{ExecutionState, Failure, FailureCause, LaunchTry, Waiting, WaitingReason};
use crate::id::{ExecutionId, MachineId, WorkerId};
use crate::port::LaunchAnswer;
use crate::time::Timestamp;
use crate::worker::{Candidate, Launched, MachineRequest, Purpose, TerminationCause, Worker, WorkerState};

impl Orchestrator {
    pub(super) fn on_planned(
        &mut self,
        id: WorkerId,
        result: Result<Vec<Candidate>, PlanFailure>,
        turn: &mut Turn<'_>,
    ) {
        let Some(worker) = self.workers.get(&id).cloned() else {
            return;
        };
        let WorkerState::Planning { .. } = worker.state else {
            return;
        };
        match result {
            Ok(candidates) => match split_first(candidates) {
                Some((first, rest)) => self.begin_launch(worker, first, rest, turn),
                None => {
                    let failure = Failure::new(FailureCause::NoCapacity, "the provisioner offers nothing");
                    self.abandon_launch(worker, failure, Again::ByPolicy, turn);
                }
            },
            Err(PlanFailure::Unavailable { message }) => self.hold_launch(worker, message, turn),
            Err(PlanFailure::Rejected { message, hint }) => {
                let failure = Failure { cause: FailureCause::Rejected, message, hint };
                self.abandon_launch(worker, failure, Again::Never, turn);
            }
        }
    }

    pub(super) fn ask_plan(&mut self, worker: WorkerId, request: MachineRequest, turn: &mut Turn<'_>) {
        self.ask_after(worker, turn.now.mono.after(self.policy.ask_again));
        turn.effect(Effect::Plan { worker, request: Box::new(request) });
    }

    fn begin_launch(
        &mut self,
        mut worker: Arc<Worker>,
        candidate: Candidate,
        fallbacks: Vec<Candidate>,
        turn: &mut Turn<'_>,
    ) {
        if !self.may_launch(&worker, candidate.price, turn) {
            return;
        }
        let (id, since) = (worker.id, turn.now.wall);
        turn.record_worker(id, format!("launching {}", candidate.label));
        Arc::make_mut(&mut worker).state =
            WorkerState::Launching { candidate: candidate.clone(), fallbacks, since };
        self.put_worker(worker, turn);
        self.ask_launch(id, candidate, turn);
    }

    /// Launches, or revives. Not repeated while the call may be under way: of two at a time one could be told no and the
    /// other make a machine.
    pub(super) fn ask_launch(&mut self, worker: WorkerId, candidate: Candidate, turn: &mut Turn<'_>) {
        self.ask_after(worker, turn.now.mono.after(self.policy.answer_within));
        turn.effect(Effect::Launch { worker, candidate: Box::new(candidate) });
    }

    pub(super) fn on_launch_answered(
        &mut self,
        id: WorkerId,
        launched: Candidate,
        answer: LaunchAnswer,
        turn: &mut Turn<'_>,
    ) {
        let Some(worker) = self.workers.get(&id).cloned() else {
            return;
        };
        let current = worker.state.candidate() == Some(&launched);
        match answer {
            LaunchAnswer::Launched(machine) if current => {
                self.on_launched(worker, machine, turn.now.wall, turn);
                return;
            }
            // A machine of a candidate that was left, on the word of another answer: its agent may not join.
            LaunchAnswer::Launched(machine) => {
                if worker.machine() != Some(&machine) {
                    turn.record_worker(id, format!("machine {machine} came too late and goes"));
                    turn.effect(Effect::Terminate { worker: id, machine: Some(machine) });
                }
                return;
            }
            LaunchAnswer::FallBack { .. }
            | LaunchAnswer::Hold { .. }
            | LaunchAnswer::Fatal { .. }
            | LaunchAnswer::Adopt
            | LaunchAnswer::Unknown { .. } => {}
        }
        let WorkerState::Launching { candidate, fallbacks, .. } = worker.state.clone() else {
            return;
        };
        if !current {
            return;
        }
        match answer {
            LaunchAnswer::FallBack { message } => match split_first(fallbacks) {
                Some((next, rest)) => {
                    turn.record_worker(id, format!("{} cannot be had: {message}", candidate.label));
                    self.note_tries(&worker, &message, turn);
                    self.begin_launch(worker, next, rest, turn);
                }
                None => {
                    let failure = Failure::new(FailureCause::NoCapacity, message);
                    self.abandon_launch(worker, failure, Again::ByPolicy, turn);
                }
            },
            LaunchAnswer::Fatal { message, hint } => {
                let failure = Failure { cause: FailureCause::Rejected, message, hint };
                self.abandon_launch(worker, failure, Again::Never, turn);
            }
            LaunchAnswer::Hold { message } => self.hold_launch(worker, message, turn),
            // Asked again in time, with the same candidate; or found by a listing.
            LaunchAnswer::Unknown { message } => {
                self.ask_after(id, turn.now.mono.after(self.policy.ask_again));
                turn.record_worker(id, format!("no definite answer: {message}"));
            }
            LaunchAnswer::Adopt => {
                self.ask_after(id, turn.now.mono.after(self.policy.ask_again));
                self.ask_list(turn);
            }
            LaunchAnswer::Launched(_) => {}
        }
    }

    /// A launch is confirmed: by its answer, or by a listing that shows the machine.
    pub(super) fn on_launched(
        &mut self,
        mut worker: Arc<Worker>,
        machine: MachineId,
        at: Timestamp,
        turn: &mut Turn<'_>,
    ) {
        let since = turn.now.wall;
        let candidate = worker.state.candidate().cloned();
        let changed = Arc::make_mut(&mut worker);
        match &mut changed.state {
            WorkerState::Launching { candidate, fallbacks, .. } => {
                let (candidate, fallbacks) = (candidate.clone(), std::mem::take(fallbacks));
                changed.state =
                    WorkerState::Booting { machine: machine.clone(), candidate, fallbacks, since };
            }
            // Its agent was quicker than the answer, or its termination was.
            WorkerState::Idle { machine: known, .. }
            | WorkerState::Busy { machine: known, .. }
            | WorkerState::Draining { machine: known, .. }
            | WorkerState::Terminating { machine: known, .. }
                if known.is_none() =>
            {
                *known = Some(machine.clone());
            }
            WorkerState::Idle { .. }
            | WorkerState::Busy { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Terminating { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Planning { .. }
            | WorkerState::Terminated { .. } => return,
        }
        if let (None, Some(candidate)) = (&changed.launched, candidate) {
            let at = at.max(changed.created_at).min(since);
            changed.launched = Some(Launched {
                machine,
                instance_type: candidate.instance_type,
                zone: candidate.zone,
                market: candidate.market,
                price: candidate.price,
                at,
            });
        }
        if let Some(liveness) = self.liveness.get_mut(&worker.id) {
            liveness.heard = turn.now.mono;
        }
        self.put_worker(Arc::clone(&worker), turn);
        self.meter(&worker, turn);
        if self.pause.take().is_some() {
            self.retell_waiting(turn);
        }
    }

    /// There was no capacity for a machine after all. Its token is dead, so the next candidate has a worker of its own;
    /// the machine is proved gone, so there is never a second one.
    pub(super) fn fall_back(
        &mut self,
        mut worker: Arc<Worker>,
        reason: String,
        cause: TerminationCause,
        turn: &mut Turn<'_>,
    ) {
        let fallbacks = match &mut Arc::make_mut(&mut worker).state {
            WorkerState::Booting { fallbacks, .. } => std::mem::take(fallbacks),
            WorkerState::Planning { .. }
            | WorkerState::Launching { .. }
            | WorkerState::Idle { .. }
            | WorkerState::Busy { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Terminating { .. }
            | WorkerState::Terminated { .. } => Vec::new(),
        };
        let wanting = self.provisioning_for(worker.id);
        let Some((next, rest)) = split_first(fallbacks).filter(|_| !wanting.is_empty()) else {
            self.prove_gone(worker, cause, turn);
            return;
        };
        self.note_tries(&worker, &reason, turn);
        let heir = self.want_worker(worker.purpose.clone(), worker.slots, turn);
        for id in wanting {
            if let Some(mut execution) = self.executions.get(&id).cloned() {
                let since = turn.now.wall;
                let changed = Arc::make_mut(&mut execution);
                changed.spending.end(since);
                changed.state = ExecutionState::Provisioning { worker: heir.id, since };
                self.put_execution(execution, turn);
            }
        }
        self.prove_gone(worker, cause, turn);
        self.begin_launch(heir, next, rest, turn);
    }

    /// No machine can be had now, and none of this worker exists: the answer was a definite no. What it was for waits
    /// again and says why; in time it gets another worker, with a deadline of its own.
    pub(super) fn hold_launch(&mut self, mut worker: Arc<Worker>, message: String, turn: &mut Turn<'_>) {
        let id = worker.id;
        let waiting = self.provisioning_for(id);
        let tried = tried(&worker, &message, turn.now.wall);
        let cause = TerminationCause::LaunchFailed { message: message.clone() };
        turn.record_worker(id, format!("has to wait: {message}"));
        Arc::make_mut(&mut worker).state = WorkerState::Terminated { cause, at: turn.now.wall };
        self.put_worker(worker, turn);
        self.pause_launches(message.clone(), turn);
        for id in waiting {
            let Some(mut execution) = self.executions.get(&id).cloned() else { continue };
            let reason = WaitingReason::Hold { message: message.clone() };
            let changed = Arc::make_mut(&mut execution);
            // The same again is no news.
            let again = changed
                .launch_tries
                .pop_if(|last| (&last.label, &last.message) == (&tried.label, &tried.message))
                .is_some();
            changed.note_try(tried.clone());
            changed.state = ExecutionState::Queued { waiting: Waiting { reason, since: turn.now.wall } };
            if !again {
                let message = format!("it waits: {message}");
                turn.record_execution(EventKind::ExecutionQueued, &execution, message);
            }
            self.put_execution(execution, turn);
        }
        self.retell_waiting(turn);
    }

    /// Nothing is launched for a while, for longer each time until something can be launched again.
    fn pause_launches(&mut self, message: String, turn: &Turn<'_>) {
        let times = self.pause.as_ref().map_or(0, |pause| pause.times);
        let wait = self.policy.ask_again.saturating_mul(2_u32.saturating_pow(times.min(16)));
        let until = turn.now.mono.after(wait.min(self.policy.hold_at_most));
        self.pause = Some(Pause { until, message, times: times + 1 });
    }

    /// Terminating or listing failed; it is asked again in time. Nothing is launched meanwhile.
    pub(super) fn on_provisioner_failed(&mut self, message: String, turn: &Turn<'_>) {
        if self.pause.as_ref().is_none_or(|pause| pause.until <= turn.now.mono) {
            let until = turn.now.mono.after(self.policy.ask_again);
            let times = self.pause.as_ref().map_or(0, |pause| pause.times);
            self.pause = Some(Pause { until, message, times });
        }
    }

    /// This worker will not be had. No machine of it can exist: every answer so far was a definite no.
    pub(super) fn abandon_launch(
        &mut self,
        mut worker: Arc<Worker>,
        failure: Failure,
        again: Again,
        turn: &mut Turn<'_>,
    ) {
        let id = worker.id;
        let before = Arc::clone(&worker);
        let cause = TerminationCause::LaunchFailed { message: failure.message.clone() };
        turn.record_worker(id, format!("could not be launched: {}", failure.message));
        Arc::make_mut(&mut worker).state = WorkerState::Terminated { cause, at: turn.now.wall };
        let shared = worker.purpose == Purpose::Any;
        self.put_worker(worker, turn);
        if shared {
            // Nobody's own backoff keeps the pool from asking at once.
            self.pause_launches(failure.message.clone(), turn);
        }
        for execution in self.provisioning_for(id) {
            self.note_try(execution, &before, &failure.message, turn);
            self.fail_launch(execution, failure.clone(), again.clone(), turn);
        }
    }

    /// Whoever a worker was being launched for does not want it any more.
    pub(super) fn unwant(&mut self, id: WorkerId, turn: &mut Turn<'_>) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        match &worker.state {
            WorkerState::Planning { .. } | WorkerState::Launching { .. } | WorkerState::Booting { .. }
                if self.provisioning_for(id).is_empty() =>
            {
                self.begin_termination(id, TerminationCause::Unwanted, turn);
            }
            // It is there now: the next one may want it, for as long as it is kept warm.
            WorkerState::Planning { .. }
            | WorkerState::Launching { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Idle { .. }
            | WorkerState::Busy { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Terminating { .. }
            | WorkerState::Terminated { .. } => {}
        }
    }

    /// The executions for which this worker is being launched.
    pub(super) fn provisioning_for(&self, worker: WorkerId) -> Vec<ExecutionId> {
        let waits = |state: &ExecutionState| matches!(state, ExecutionState::Provisioning { worker: wanted, .. } if *wanted == worker);
        self.executions
            .values()
            .filter(|execution| waits(&execution.state))
            .map(|execution| execution.id)
            .collect()
    }

    fn note_tries(&mut self, worker: &Worker, message: &str, turn: &mut Turn<'_>) {
        for execution in self.provisioning_for(worker.id) {
            self.note_try(execution, worker, message, turn);
        }
    }

    /// Keeps with the execution what was tried for it in vain.
    pub(super) fn note_try(
        &mut self,
        execution: ExecutionId,
        worker: &Worker,
        message: &str,
        turn: &mut Turn<'_>,
    ) {
        if let Some(mut execution) = self.executions.get(&execution).cloned() {
            Arc::make_mut(&mut execution).note_try(tried(worker, message, turn.now.wall));
            self.put_execution(execution, turn);
        }
    }

    /// A machine did not connect in time. Before it goes, it is asked why; but not for long.
    pub(super) fn join_time_over(&mut self, id: WorkerId, machine: MachineId, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        let within = self.policy.console_within;
        let Some(liveness) = self.liveness.get_mut(&id) else {
            return;
        };
        match liveness.console {
            Some(asked) if now.since(asked) < within && within > Duration::ZERO => {}
            Some(_) => self.never_joined(id, None, turn),
            None => {
                liveness.console = Some(now);
                turn.effect(Effect::ReadConsole { worker: id, machine });
            }
        }
    }

    pub(super) fn on_console_read(&mut self, id: WorkerId, text: Option<String>, turn: &mut Turn<'_>) {
        let booting = |worker: &Arc<Worker>| matches!(worker.state, WorkerState::Booting { .. });
        let asked = self.liveness.get(&id).is_some_and(|liveness| liveness.console.is_some());
        if asked && self.workers.get(&id).is_some_and(booting) {
            self.never_joined(id, text, turn);
        }
    }

    fn never_joined(&mut self, id: WorkerId, console: Option<String>, turn: &mut Turn<'_>) {
        let console = console.map(|text| ending(&text).to_owned());
        self.begin_termination(id, TerminationCause::NeverJoined { console }, turn);
    }
}

fn tried(worker: &Worker, message: &str, at: Timestamp) -> LaunchTry {
    let label = match (worker.state.candidate(), &worker.launched) {
        (Some(candidate), _) => candidate.label.clone(),
        (None, Some(launched)) => launched.instance_type.clone(),
        (None, None) => "planning".to_owned(),
    };
    LaunchTry { at, worker: worker.id, label, message: message.to_owned() }
}

/// The last lines of a text, at most this much of it.
fn ending(text: &str) -> &str {
    const BYTES: usize = 4096;
    let from = text.ceil_char_boundary(text.len().saturating_sub(BYTES));
    text.get(from..).unwrap_or(text)
}

fn split_first(candidates: Vec<Candidate>) -> Option<(Candidate, Vec<Candidate>)> {
    let mut candidates = candidates.into_iter();
    candidates.next().map(|first| (first, candidates.collect()))
}
