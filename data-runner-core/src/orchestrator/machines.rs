//! Machines: how workers come to their end.
//!
//! A worker that goes holds its attempts until there is proof that no process of theirs is left; only then may they be
//! tried elsewhere (invariants I2 and I7).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attempts::Again;
use super::{Link, Liveness, Orchestrator, Pool, Turn};
use crate::event::{Change, Effect};
use crate::execution::{Failure, FailureCause, StopReason};
use crate::id::{Claim, MachineId, WorkerId};
use crate::message::SupervisorMessage;
use crate::time::Mono;
use crate::worker::{MachineEnd, Origin, TerminationCause, Worker, WorkerState};

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
        self.liveness.entry(id).or_insert(Liveness::new(heard));
        self.workers.insert(id, worker);
    }

    /// The worker takes no more work and goes when it has nothing left.
    pub(super) fn begin_drain(&mut self, id: WorkerId, cause: TerminationCause, turn: &mut Turn<'_>) {
        let Some(mut worker) = self.workers.get(&id).cloned() else {
            return;
        };
        let (since, attempts) = (turn.now.wall, worker.state.attempts().collect());
        let (machine, candidate) = match &worker.state {
            WorkerState::Idle { machine, candidate, .. } | WorkerState::Busy { machine, candidate, .. } => {
                (machine.clone(), candidate.clone())
            }
            WorkerState::Planning { .. } | WorkerState::Launching { .. } | WorkerState::Booting { .. } => {
                self.begin_termination(id, cause, turn);
                return;
            }
            WorkerState::Draining { .. }
            | WorkerState::Terminating { .. }
            | WorkerState::Terminated { .. } => return,
        };
        turn.record_worker(id, "drains: it takes no more work");
        Arc::make_mut(&mut worker).state =
            WorkerState::Draining { machine, candidate, attempts, cause, since };
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
        let machine = worker.machine().cloned();
        let candidate = worker.state.candidate().cloned();
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
        let machine_id = machine.clone();
        let state = WorkerState::Terminating { machine, candidate, attempts, cause, since };
        Arc::make_mut(&mut worker).state = state;
        let origin = worker.origin;
        self.put_worker(worker, turn);
        match origin {
            Origin::Provisioned => self.ask_terminate(id, machine_id, turn),
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
        self.ask_after(worker, turn.now.mono.after(self.policy.ask_again));
        turn.effect(Effect::Terminate { worker, machine });
        self.ask_list(turn);
    }

    /// The provisioner is not asked about this worker again before then.
    pub(super) fn ask_after(&mut self, worker: WorkerId, at: Mono) {
        if let Some(liveness) = self.liveness.get_mut(&worker) {
            liveness.ask_after = at;
        }
    }

    pub(super) fn ask_list(&mut self, turn: &mut Turn<'_>) {
        if self.policy.pool != Pool::None {
            self.last_list = Some(turn.now.mono);
            turn.effect(Effect::List);
        }
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
        self.count_machine(&worker, turn);
        let useless = useless(&cause);
        for execution in self.provisioning_for(id) {
            self.note_try(execution, &worker, &useless.message, turn);
            self.fail_launch(execution, useless.clone(), Again::ByPolicy, turn);
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

/// A termination's cause as a person reads it.
fn why(cause: &TerminationCause) -> String {
    match cause {
        TerminationCause::Idle => "it was idle for long enough".to_owned(),
        TerminationCause::Operator => "an operator asked for it".to_owned(),
        TerminationCause::Lost => "its agent was not heard of for too long".to_owned(),
        TerminationCause::NeverJoined { .. } => "its agent never connected".to_owned(),
        TerminationCause::MachineGone { reason, .. } => format!("its machine went: {reason}"),
        TerminationCause::LaunchFailed { message } => format!("it could not be launched: {message}"),
        TerminationCause::Left => "its agent left".to_owned(),
        TerminationCause::Shutdown => "the supervisor shuts down".to_owned(),
        TerminationCause::Deadline => "its time was over".to_owned(),
        TerminationCause::Unwanted => "nobody wants it any more".to_owned(),
    }
}

/// What the end of a worker means for the attempts that it had.
fn failure_of(cause: &TerminationCause) -> Failure {
    let of = match cause {
        TerminationCause::Operator
        | TerminationCause::Left
        | TerminationCause::Shutdown
        | TerminationCause::Idle
        | TerminationCause::Unwanted
        | TerminationCause::MachineGone { end: MachineEnd::Interrupted, .. } => FailureCause::Interrupted,
        TerminationCause::Lost
        | TerminationCause::NeverJoined { .. }
        | TerminationCause::MachineGone { end: MachineEnd::Ended | MachineEnd::NoCapacity, .. }
        | TerminationCause::Deadline
        | TerminationCause::LaunchFailed { .. } => FailureCause::WorkerLost,
    };
    Failure::new(of, format!("its worker went before it ended: {}", why(cause)))
}

/// What the end of a worker means for an execution that waited for its machine.
fn useless(cause: &TerminationCause) -> Failure {
    let failure = Failure::new(FailureCause::NoCapacity, why(cause));
    match cause {
        TerminationCause::NeverJoined { console: Some(console) } if !console.trim().is_empty() => {
            failure.hinting(format!("its machine's console ends with:\n{}", console.trim_end()))
        }
        TerminationCause::NeverJoined { .. } => failure.hinting(
            "its machine's console could not be read, or says nothing; see whether machines can reach the supervisor's \
             public address",
        ),
        TerminationCause::Idle
        | TerminationCause::Operator
        | TerminationCause::Lost
        | TerminationCause::MachineGone { .. }
        | TerminationCause::LaunchFailed { .. }
        | TerminationCause::Left
        | TerminationCause::Shutdown
        | TerminationCause::Deadline
        | TerminationCause::Unwanted => failure,
    }
}
