//! Machines: how they are launched, and how workers come to their end.
//!
//! A worker that goes holds its attempts until there is proof that no process of theirs is left; only then may they be
//! tried elsewhere (invariants I2 and I7).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attempts::Again;
use super::{Link, Liveness, Orchestrator, Pool, Turn};
use crate::event::{Change, Effect, PlanFailure};
use crate::execution::{ExecutionState, Failure, FailureCause, StopReason};
use crate::id::{Claim, ExecutionId, MachineId, WorkerId};
use crate::message::SupervisorMessage;
use crate::port::LaunchAnswer;
use crate::worker::{Candidate, Origin, TerminationCause, Worker, WorkerState};

impl Orchestrator {
    /// Takes over a worker's new state: in memory, and to be committed.
    pub(super) fn put_worker(&mut self, worker: Arc<Worker>, turn: &mut Turn<'_>) {
        turn.put_worker(&worker);
        let id = worker.id;
        if let WorkerState::Terminated { .. } = worker.state {
            self.workers.remove(&id);
            if self.liveness.get(&id).is_some_and(|liveness| liveness.link == Link::Down) {
                self.liveness.remove(&id);
            }
            return;
        }
        let heard = turn.now.mono;
        self.liveness.entry(id).or_insert(Liveness { link: Link::Down, heard, asked: None, missing: None });
        self.workers.insert(id, worker);
    }

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
                None => self.abandon_launch(
                    worker,
                    "the provisioner offers nothing".to_owned(),
                    None,
                    Again::ByPolicy,
                    turn,
                ),
            },
            Err(PlanFailure::Unavailable { message }) => self.hold_launches(message, turn),
            Err(PlanFailure::Rejected { message, hint }) => {
                self.abandon_launch(worker, message, hint, Again::Never, turn);
            }
        }
    }

    fn begin_launch(
        &mut self,
        mut worker: Arc<Worker>,
        candidate: Candidate,
        fallbacks: Vec<Candidate>,
        turn: &mut Turn<'_>,
    ) {
        let (id, since) = (worker.id, turn.now.wall);
        turn.record_worker(id, format!("launching {}", candidate.label));
        Arc::make_mut(&mut worker).state =
            WorkerState::Launching { candidate: candidate.clone(), fallbacks, since };
        self.put_worker(worker, turn);
        self.ask_launch(id, candidate, turn);
    }

    pub(super) fn ask_launch(&mut self, worker: WorkerId, candidate: Candidate, turn: &mut Turn<'_>) {
        if let Some(liveness) = self.liveness.get_mut(&worker) {
            liveness.asked = Some(turn.now.mono);
        }
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
        if let LaunchAnswer::Launched(machine) = answer {
            self.on_launched(worker, machine, turn);
            return;
        }
        let WorkerState::Launching { candidate, fallbacks, .. } = worker.state.clone() else {
            return;
        };
        if candidate != launched {
            // The answer to a candidate that was left already.
            return;
        }
        match answer {
            LaunchAnswer::FallBack { message } => match split_first(fallbacks) {
                Some((next, rest)) => {
                    turn.record_worker(id, format!("{} cannot be had: {message}", candidate.label));
                    self.begin_launch(worker, next, rest, turn);
                }
                None => self.abandon_launch(worker, message, None, Again::ByPolicy, turn),
            },
            LaunchAnswer::Fatal { message, hint } => {
                self.abandon_launch(worker, message, hint, Again::Never, turn);
            }
            LaunchAnswer::Hold { message } => self.hold_launches(message, turn),
            // Asked again in time, with the same candidate; or found by the listing.
            LaunchAnswer::Unknown { message } => {
                turn.record_worker(id, format!("no definite answer: {message}"))
            }
            LaunchAnswer::Adopt => self.ask_list(turn),
            LaunchAnswer::Launched(_) => {}
        }
    }

    pub(super) fn on_launched(&mut self, mut worker: Arc<Worker>, machine: MachineId, turn: &mut Turn<'_>) {
        let since = turn.now.wall;
        let changed = Arc::make_mut(&mut worker);
        match &mut changed.state {
            WorkerState::Launching { candidate, .. } => {
                let candidate = candidate.clone();
                changed.state = WorkerState::Booting { machine, candidate, since };
            }
            // Its agent was quicker than the answer, or its termination was.
            WorkerState::Idle { machine: known, .. }
            | WorkerState::Busy { machine: known, .. }
            | WorkerState::Draining { machine: known, .. }
            | WorkerState::Terminating { machine: known, .. }
                if known.is_none() =>
            {
                *known = Some(machine);
            }
            WorkerState::Idle { .. }
            | WorkerState::Busy { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Terminating { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Planning { .. }
            | WorkerState::Terminated { .. } => return,
        }
        if let Some(liveness) = self.liveness.get_mut(&worker.id) {
            liveness.heard = turn.now.mono;
        }
        self.put_worker(worker, turn);
    }

    /// No candidate can be had now: what waits says why, and the launch is asked for again in time.
    fn hold_launches(&mut self, message: String, turn: &mut Turn<'_>) {
        let until = turn.now.mono.after(self.policy.ask_again);
        self.launch_after = Some((until, message));
    }

    /// This worker will not be had. No machine of it can exist: every answer so far was a definite no.
    fn abandon_launch(
        &mut self,
        mut worker: Arc<Worker>,
        message: String,
        hint: Option<String>,
        again: Again,
        turn: &mut Turn<'_>,
    ) {
        let id = worker.id;
        let cause = TerminationCause::LaunchFailed { message: message.clone() };
        turn.record_worker(id, format!("could not be launched: {message}"));
        Arc::make_mut(&mut worker).state = WorkerState::Terminated { cause, at: turn.now.wall };
        self.put_worker(worker, turn);
        self.hold_launches(message.clone(), turn);
        let cause = match again {
            Again::Never => FailureCause::Rejected,
            Again::ByPolicy => FailureCause::NoCapacity,
        };
        let failure = Failure { cause, message, hint };
        for execution in self.provisioning_for(id) {
            self.fail_launch(execution, failure.clone(), again, turn);
        }
    }

    /// The executions for which this worker is being launched.
    fn provisioning_for(&self, worker: WorkerId) -> Vec<ExecutionId> {
        let waits = |state: &ExecutionState| matches!(state, ExecutionState::Provisioning { worker: wanted, .. } if *wanted == worker);
        self.executions
            .values()
            .filter(|execution| waits(&execution.state))
            .map(|execution| execution.id)
            .collect()
    }

    /// The worker takes no more work and goes when it has nothing left.
    pub(super) fn begin_drain(&mut self, id: WorkerId, cause: TerminationCause, turn: &mut Turn<'_>) {
        let Some(mut worker) = self.workers.get(&id).cloned() else {
            return;
        };
        let (machine, attempts) = match &worker.state {
            WorkerState::Idle { machine, .. } => (machine.clone(), BTreeMap::new()),
            WorkerState::Busy { machine, attempts, .. } => (machine.clone(), attempts.clone()),
            WorkerState::Planning { .. } | WorkerState::Launching { .. } | WorkerState::Booting { .. } => {
                self.begin_termination(id, cause, turn);
                return;
            }
            WorkerState::Draining { .. }
            | WorkerState::Terminating { .. }
            | WorkerState::Terminated { .. } => return,
        };
        turn.record_worker(id, "drains: it takes no more work");
        Arc::make_mut(&mut worker).state = WorkerState::Draining { machine, attempts, cause };
        self.put_worker(worker, turn);
        if let Some(session) = self.session_of(id) {
            turn.send(session, SupervisorMessage::Drain { epoch: self.epoch });
        }
    }

    /// The agent has nothing left.
    pub(super) fn on_drained(&mut self, id: WorkerId, turn: &mut Turn<'_>) {
        let Some(worker) = self.workers.get(&id).cloned() else {
            return;
        };
        match (&worker.state, worker.origin) {
            (WorkerState::Draining { cause, attempts, .. }, Origin::Joined) if attempts.is_empty() => {
                let cause = cause.clone();
                self.prove_gone(worker, cause, turn);
            }
            (WorkerState::Draining { cause, .. }, Origin::Provisioned | Origin::Joined) => {
                let cause = cause.clone();
                self.begin_termination(id, cause, turn);
            }
            // It left without a word before: the same as draining.
            (
                WorkerState::Planning { .. }
                | WorkerState::Launching { .. }
                | WorkerState::Booting { .. }
                | WorkerState::Idle { .. }
                | WorkerState::Busy { .. },
                Origin::Provisioned | Origin::Joined,
            ) => self.begin_termination(id, TerminationCause::Left, turn),
            (WorkerState::Terminating { cause, .. }, Origin::Joined) => {
                let cause = cause.clone();
                self.prove_gone(worker, cause, turn);
            }
            (WorkerState::Terminating { .. }, Origin::Provisioned)
            | (WorkerState::Terminated { .. }, Origin::Provisioned | Origin::Joined) => {}
        }
    }

    /// Ends a worker at once. Its attempts stay with it until there is proof.
    pub(super) fn begin_termination(&mut self, id: WorkerId, cause: TerminationCause, turn: &mut Turn<'_>) {
        let Some(mut worker) = self.workers.get(&id).cloned() else {
            return;
        };
        let since = turn.now.wall;
        let machine = worker.state.machine().cloned();
        let attempts: BTreeMap<_, _> = worker.state.attempts().collect();
        match &worker.state {
            WorkerState::Planning { .. } => {
                // Nothing was launched yet, so nothing can be left.
                self.prove_gone(worker, cause, turn);
                return;
            }
            WorkerState::Terminating { .. } | WorkerState::Terminated { .. } => return,
            WorkerState::Launching { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Idle { .. }
            | WorkerState::Busy { .. }
            | WorkerState::Draining { .. } => {}
        }
        turn.record_worker(id, format!("is being terminated: {}", why(&cause)));
        let state = WorkerState::Terminating { machine: machine.clone(), attempts, cause, since };
        Arc::make_mut(&mut worker).state = state;
        let origin = worker.origin;
        self.put_worker(worker, turn);
        match origin {
            Origin::Provisioned => self.ask_terminate(id, machine, turn),
            Origin::Joined => self.send_home(id, turn),
        }
    }

    /// Nobody but its agent can end a worker that we did not start.
    fn send_home(&self, id: WorkerId, turn: &mut Turn<'_>) {
        let (Some(session), Some(worker)) = (self.session_of(id), self.workers.get(&id)) else {
            return;
        };
        let reason = StopReason::Interrupted;
        for (attempt, lease) in worker.state.attempts() {
            let claim = Claim { attempt, lease };
            turn.send(session, SupervisorMessage::Cancel { claim, epoch: self.epoch, reason });
        }
        turn.send(session, SupervisorMessage::Drain { epoch: self.epoch });
    }

    pub(super) fn ask_terminate(
        &mut self,
        worker: WorkerId,
        machine: Option<MachineId>,
        turn: &mut Turn<'_>,
    ) {
        if let Some(liveness) = self.liveness.get_mut(&worker) {
            liveness.asked = Some(turn.now.mono);
        }
        turn.effect(Effect::Terminate { worker, machine });
        self.ask_list(turn);
    }

    pub(super) fn ask_list(&mut self, turn: &mut Turn<'_>) {
        if self.policy.pool != Pool::None {
            self.last_list = Some(turn.now.mono);
            turn.effect(Effect::List);
        }
    }

    pub(super) fn on_provisioner_failed(&mut self, message: String, turn: &Turn<'_>) {
        let until = turn.now.mono.after(self.policy.ask_again);
        self.launch_after.get_or_insert((until, message));
    }

    /// The worker is gone, and with it every process of its attempts.
    pub(super) fn prove_gone(
        &mut self,
        mut worker: Arc<Worker>,
        cause: TerminationCause,
        turn: &mut Turn<'_>,
    ) {
        let id = worker.id;
        let failure = failure_of(&cause);
        let attempts: Vec<_> = worker.state.attempts().collect();
        turn.record_worker(id, format!("is gone: {}", why(&cause)));
        for (attempt, lease) in attempts {
            self.lose_attempt(attempt, lease, &failure, turn);
        }
        for execution in self.provisioning_for(id) {
            let failure = Failure::new(FailureCause::NoCapacity, failure.message.clone());
            self.fail_launch(execution, failure, Again::ByPolicy, turn);
        }
        Arc::make_mut(&mut worker).state = WorkerState::Terminated { cause, at: turn.now.wall };
        turn.change(Change::PutWorker(Arc::clone(&worker)));
        self.workers.remove(&id);
        if let Some(liveness) = self.liveness.remove(&id) {
            match liveness.link {
                Link::Up(session) | Link::Opened(session) => turn.effect(Effect::CloseSession { session }),
                Link::Down => {}
            }
        }
    }
}

fn split_first(candidates: Vec<Candidate>) -> Option<(Candidate, Vec<Candidate>)> {
    let mut candidates = candidates.into_iter();
    candidates.next().map(|first| (first, candidates.collect()))
}

/// A termination's cause as a person reads it.
fn why(cause: &TerminationCause) -> String {
    match cause {
        TerminationCause::Idle => "it was idle for long enough".to_owned(),
        TerminationCause::Operator => "an operator asked for it".to_owned(),
        TerminationCause::Lost => "its agent was not heard of for too long".to_owned(),
        TerminationCause::NeverJoined => "its agent never connected".to_owned(),
        TerminationCause::MachineGone { reason } => format!("its machine went: {reason}"),
        TerminationCause::LaunchFailed { message } => format!("it could not be launched: {message}"),
        TerminationCause::Left => "its agent left".to_owned(),
        TerminationCause::Shutdown => "the supervisor shuts down".to_owned(),
    }
}

/// What the end of a worker means for the attempts that it had.
fn failure_of(cause: &TerminationCause) -> Failure {
    let of = match cause {
        TerminationCause::Operator
        | TerminationCause::Left
        | TerminationCause::Shutdown
        | TerminationCause::Idle => FailureCause::Interrupted,
        TerminationCause::Lost
        | TerminationCause::NeverJoined
        | TerminationCause::MachineGone { .. }
        | TerminationCause::LaunchFailed { .. } => FailureCause::WorkerLost,
    };
    Failure::new(of, format!("its worker went before it ended: {}", why(cause)))
}
