//! Agents that connect, speak, and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Joining, Link, Liveness, Orchestrator, Turn};
use crate::event::Effect;
use crate::execution::{ExecutionState, Failure, FailureCause, Phase};
use crate::id::{AttemptId, Claim, Lease, SessionId, WorkerId};
use crate::message::{
    AgentMessage, AttemptStatus, HeldAttempt, Hello, SupervisorMessage, Verdict, Welcome, WorkerStatus,
};
use crate::worker::{Origin, Purpose, TerminationCause, Worker, WorkerState};

impl Orchestrator {
    pub(super) fn on_session_opened(&mut self, worker: WorkerId, session: SessionId, turn: &mut Turn<'_>) {
        let heard = turn.now.mono;
        let liveness = self.liveness.entry(worker).or_insert(Liveness::new(heard));
        match std::mem::replace(&mut liveness.link, Link::Opened(session)) {
            Link::Down => {}
            Link::Opened(older) | Link::Up(older) => turn.effect(Effect::CloseSession { session: older }),
        }
    }

    pub(super) fn on_session_closed(&mut self, worker: WorkerId, session: SessionId) {
        let Some(liveness) = self.liveness.get_mut(&worker) else {
            return;
        };
        match liveness.link {
            Link::Opened(current) | Link::Up(current) if current == session => liveness.link = Link::Down,
            // An older session: it was replaced before it ended.
            Link::Opened(_) | Link::Up(_) | Link::Down => {}
        }
        if !self.workers.contains_key(&worker)
            && self.liveness.get(&worker).is_some_and(|l| l.link == Link::Down)
        {
            self.liveness.remove(&worker);
        }
    }

    pub(super) fn on_agent_said(
        &mut self,
        worker: WorkerId,
        session: SessionId,
        message: AgentMessage,
        turn: &mut Turn<'_>,
    ) {
        let Some(liveness) = self.liveness.get_mut(&worker) else {
            return;
        };
        let welcomed = match liveness.link {
            Link::Up(current) if current == session => true,
            Link::Opened(current) if current == session => false,
            // An older session of the same worker is ignored.
            Link::Opened(_) | Link::Up(_) | Link::Down => return,
        };
        liveness.heard = turn.now.mono;
        match message {
            AgentMessage::Hello(hello) => self.on_hello(worker, session, hello, turn),
            // Whoever speaks before Hello is not understood.
            AgentMessage::HeartBeat
            | AgentMessage::WorkerStatus(_)
            | AgentMessage::Draining
            | AgentMessage::Drained
                if !welcomed =>
            {
                turn.effect(Effect::CloseSession { session });
            }
            AgentMessage::HeartBeat => {}
            AgentMessage::WorkerStatus(status) => self.on_status(worker, session, status, turn),
            AgentMessage::Draining => self.begin_drain(worker, TerminationCause::Left, turn),
            AgentMessage::Drained => self.on_drained(worker, turn),
        }
    }

    fn on_hello(&mut self, id: WorkerId, session: SessionId, hello: Hello, turn: &mut Turn<'_>) {
        if hello.epoch > self.epoch || !self.admit(id, &hello, turn) {
            // A newer supervisor commands this agent, or it is not wanted here.
            turn.effect(Effect::CloseSession { session });
            return;
        }
        if let Some(liveness) = self.liveness.get_mut(&id) {
            liveness.link = Link::Up(session);
            liveness.ask_after = turn.now.mono;
            liveness.console = None;
        }
        let held: BTreeSet<Claim> = hello.attempts.iter().map(|attempt| attempt.claim).collect();
        let verdicts = hello.attempts.iter().map(|held| (held.claim, self.verdict(id, held.claim))).collect();
        turn.send(
            session,
            SupervisorMessage::Welcome(Welcome {
                session,
                epoch: self.epoch,
                verdicts,
                heartbeat: self.policy.heartbeat,
                dead_man: self.policy.dead_man,
            }),
        );
        for attempt in hello.attempts {
            // A stale attempt has its verdict; only its end wants an answer.
            let stale = self.verdict(id, attempt.claim) == Verdict::Stop;
            match &attempt.status {
                AttemptStatus::Reached { .. } if stale => {}
                AttemptStatus::Reached { .. } | AttemptStatus::Finished(_) => {
                    let HeldAttempt { claim, status, packages } = attempt;
                    let report = WorkerStatus { claim, status, packages };
                    self.on_status(id, session, report, turn);
                }
            }
        }
        self.remind(id, session, &held, turn);
    }

    /// What an agent shall do with an attempt that it still holds.
    fn verdict(&self, worker: WorkerId, claim: Claim) -> Verdict {
        let live = self.executions.get(&claim.attempt.execution).and_then(|execution| execution.state.live());
        let terminating = self
            .workers
            .get(&worker)
            .is_none_or(|worker| matches!(worker.state, WorkerState::Terminating { .. }));
        match live {
            Some(live)
                if !terminating && live.worker == worker && live.claim(claim.attempt.execution) == claim =>
            {
                Verdict::Keep { log_from: self.logs.get(&claim.attempt).copied().unwrap_or_default() }
            }
            Some(_) | None => Verdict::Stop,
        }
    }

    /// Makes a connecting agent's worker known and ready; false if it is not wanted.
    fn admit(&mut self, id: WorkerId, hello: &Hello, turn: &mut Turn<'_>) -> bool {
        let Some(mut worker) = self.workers.get(&id).cloned() else {
            return match self.policy.joining {
                Joining::Refused => false,
                Joining::Accepted => {
                    self.admit_joined(id, hello, turn);
                    true
                }
            };
        };
        let since = turn.now.wall;
        let changed = Arc::make_mut(&mut worker);
        let state = match &changed.state {
            // No machine was launched, so this is the agent of none.
            WorkerState::Planning { .. } => return false,
            WorkerState::Launching { candidate, .. } => {
                Some(WorkerState::Idle { machine: None, candidate: Some(candidate.clone()), since })
            }
            WorkerState::Booting { machine, candidate, .. } => Some(WorkerState::Idle {
                machine: Some(machine.clone()),
                candidate: Some(candidate.clone()),
                since,
            }),
            WorkerState::Idle { .. }
            | WorkerState::Busy { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Terminating { .. }
            | WorkerState::Terminated { .. } => None,
        };
        let connected = state.is_some();
        let news = connected || changed.facts.as_ref() != Some(&hello.facts);
        if let Some(state) = state {
            changed.state = state;
        }
        changed.facts = Some(hello.facts.clone());
        changed.slots = hello.facts.slots.max(1);
        if news {
            if connected {
                turn.record_worker(id, format!("its agent connected from {}", hello.facts.host));
            }
            self.put_worker(worker, turn);
        }
        true
    }

    fn admit_joined(&mut self, id: WorkerId, hello: &Hello, turn: &mut Turn<'_>) {
        let since = turn.now.wall;
        let worker = Worker {
            id,
            origin: Origin::Joined,
            purpose: Purpose::Any,
            slots: hello.facts.slots.max(1),
            launched: None,
            joined_with: None,
            facts: Some(hello.facts.clone()),
            state: WorkerState::Idle { machine: None, candidate: None, since },
            created_at: since,
        };
        turn.record_worker(id, format!("an agent joined from {}", hello.facts.host));
        self.put_worker(Arc::new(worker), turn);
    }

    /// Says again what the agent may not have heard: assignments, stops, and that it shall go.
    fn remind(&mut self, id: WorkerId, session: SessionId, held: &BTreeSet<Claim>, turn: &mut Turn<'_>) {
        let Some(worker) = self.workers.get(&id).cloned() else {
            return;
        };
        match &worker.state {
            WorkerState::Draining { .. } | WorkerState::Terminating { .. } => {
                turn.send(session, SupervisorMessage::Drain { epoch: self.epoch });
            }
            WorkerState::Planning { .. }
            | WorkerState::Launching { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Idle { .. }
            | WorkerState::Busy { .. }
            | WorkerState::Terminated { .. } => {}
        }
        if matches!(worker.state, WorkerState::Terminating { .. }) {
            return;
        }
        let attempts: Vec<(AttemptId, Lease)> = worker.state.attempts().collect();
        for (attempt, lease) in attempts {
            let claim = Claim { attempt, lease };
            if held.contains(&claim) {
                if let Some(execution) = self.executions.get(&attempt.execution).cloned() {
                    self.send_stop(&execution, turn);
                }
            } else {
                self.assign_again_or_lose(claim, session, turn);
            }
        }
    }

    /// The agent does not hold an attempt that we gave it. If it never took it, it gets it now; if it had taken it,
    /// it is lost: it must not run twice.
    fn assign_again_or_lose(&mut self, claim: Claim, session: SessionId, turn: &mut Turn<'_>) {
        let Some(execution) = self.executions.get(&claim.attempt.execution).cloned() else {
            return;
        };
        let accepted = execution
            .latest_attempt()
            .is_some_and(|attempt| attempt.phases.reached().any(|(phase, _)| phase >= Phase::Connected));
        match &execution.state {
            ExecutionState::Starting { .. } if !accepted => {
                self.send_assign(&execution, claim, session, turn);
                self.send_stop(&execution, turn);
            }
            ExecutionState::Starting { .. }
            | ExecutionState::Running { .. }
            | ExecutionState::Queued { .. }
            | ExecutionState::Provisioning { .. }
            | ExecutionState::Success { .. }
            | ExecutionState::Failed { .. }
            | ExecutionState::Cancelled { .. } => {
                let message = "its worker came back without it: the worker's records were lost";
                let failure = Failure::new(FailureCause::WorkerLost, message);
                self.lose_attempt(claim.attempt, claim.lease, &failure, turn);
            }
        }
    }

    /// The session on which a worker's agent was welcomed.
    pub(super) fn session_of(&self, worker: WorkerId) -> Option<SessionId> {
        match self.liveness.get(&worker)?.link {
            Link::Up(session) => Some(session),
            Link::Opened(_) | Link::Down => None,
        }
    }

    /// An attempt has ended: its slot is free.
    pub(super) fn release_slot(&mut self, id: WorkerId, attempt: AttemptId, turn: &mut Turn<'_>) {
        let Some(mut worker) = self.workers.get(&id).cloned() else {
            return;
        };
        let since = turn.now.wall;
        let changed = Arc::make_mut(&mut worker);
        let held: Option<&mut BTreeMap<AttemptId, Lease>> = match &mut changed.state {
            WorkerState::Busy { attempts, .. }
            | WorkerState::Draining { attempts, .. }
            | WorkerState::Terminating { attempts, .. } => Some(attempts),
            WorkerState::Planning { .. }
            | WorkerState::Launching { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Idle { .. }
            | WorkerState::Terminated { .. } => None,
        };
        if held.is_none_or(|attempts| attempts.remove(&attempt).is_none()) {
            return;
        }
        match &mut changed.state {
            WorkerState::Busy { machine, candidate, attempts } if attempts.is_empty() => {
                changed.state =
                    WorkerState::Idle { machine: machine.take(), candidate: candidate.take(), since };
            }
            WorkerState::Draining { attempts, since: idle, .. } if attempts.is_empty() => *idle = since,
            WorkerState::Busy { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Terminating { .. }
            | WorkerState::Planning { .. }
            | WorkerState::Launching { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Idle { .. }
            | WorkerState::Terminated { .. } => {}
        }
        self.put_worker(worker, turn);
    }
}
