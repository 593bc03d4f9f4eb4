//! Listings: machines that belong to nobody go, and workers whose machine is gone end.

use std::collections::BTreeMap;

use super::{Absence, Orchestrator, Turn};
use crate::event::Effect;
use crate::id::WorkerId;
use crate::time::Timestamp;
use crate::worker::{Machine, MachineState, Origin, TerminationCause, WorkerState};

impl Orchestrator {
    /// A complete listing: both directions of the reaper. Machines that nobody knows go, workers without a machine end.
    pub(super) fn on_listed(&mut self, asked_at: Timestamp, machines: &[Machine], turn: &mut Turn<'_>) {
        let shown: BTreeMap<WorkerId, &Machine> =
            machines.iter().map(|machine| (machine.worker, machine)).collect();
        self.reap_strangers(machines, turn);
        let provisioned: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|worker| worker.origin == Origin::Provisioned && worker.created_at < asked_at)
            .map(|worker| worker.id)
            .collect();
        for id in provisioned {
            match shown.get(&id) {
                Some(machine) => self.on_shown(id, machine, asked_at, turn),
                None => self.on_not_shown(id, asked_at, turn),
            }
        }
    }

    fn reap_strangers(&mut self, machines: &[Machine], turn: &mut Turn<'_>) {
        let mut strangers = std::mem::take(&mut self.strangers);
        for machine in machines {
            let gone = matches!(machine.state, MachineState::Terminated { .. });
            if gone || self.workers.contains_key(&machine.worker) {
                continue;
            }
            // Once may be a listing that is older than our memory; twice is nobody's machine.
            let rounds = strangers.remove(&machine.worker).unwrap_or(0) + 1;
            if rounds >= 2 {
                turn.record_worker(
                    machine.worker,
                    format!("machine {} belongs to nobody and goes", machine.id),
                );
                turn.effect(Effect::Terminate { worker: machine.worker, machine: Some(machine.id.clone()) });
            }
            self.strangers.insert(machine.worker, rounds);
        }
    }

    fn on_shown(&mut self, id: WorkerId, machine: &Machine, asked_at: Timestamp, turn: &mut Turn<'_>) {
        if let Some(liveness) = self.liveness.get_mut(&id) {
            liveness.missing = None;
        }
        let Some(worker) = self.workers.get(&id).cloned() else {
            return;
        };
        match (&machine.state, &worker.state) {
            (MachineState::Terminated { reason, .. }, state) => match state {
                WorkerState::Terminating { cause, since, .. } if *since <= asked_at => {
                    let cause = cause.clone();
                    self.prove_gone(worker, cause, turn);
                }
                // The listing is older than the wish; the next one tells.
                WorkerState::Terminating { .. } => {}
                WorkerState::Planning { .. }
                | WorkerState::Launching { .. }
                | WorkerState::Booting { .. }
                | WorkerState::Idle { .. }
                | WorkerState::Busy { .. }
                | WorkerState::Draining { .. }
                | WorkerState::Terminated { .. } => {
                    self.prove_gone(worker, TerminationCause::MachineGone { reason: reason.clone() }, turn);
                }
            },
            (
                MachineState::Pending | MachineState::Running | MachineState::AgentDown,
                WorkerState::Launching { .. },
            ) => {
                self.on_launched(worker, machine.id.clone(), turn);
            }
            (
                MachineState::AgentDown,
                WorkerState::Idle { candidate: Some(candidate), .. }
                | WorkerState::Busy { candidate: Some(candidate), .. }
                | WorkerState::Booting { candidate, .. },
            ) => {
                if self.session_of(id).is_none() {
                    turn.record_worker(id, "its agent is down and is started again");
                    self.ask_launch(id, candidate.clone(), turn);
                }
            }
            // A drained agent has ended, as it should; what it left behind goes with the machine.
            (MachineState::AgentDown, WorkerState::Draining { cause, .. }) => {
                let cause = cause.clone();
                self.begin_termination(id, cause, turn);
            }
            (
                MachineState::Pending
                | MachineState::Running
                | MachineState::AgentDown
                | MachineState::Stopping,
                WorkerState::Planning { .. }
                | WorkerState::Launching { .. }
                | WorkerState::Booting { .. }
                | WorkerState::Idle { .. }
                | WorkerState::Busy { .. }
                | WorkerState::Draining { .. }
                | WorkerState::Terminating { .. }
                | WorkerState::Terminated { .. },
            ) => {}
        }
    }

    fn on_not_shown(&mut self, id: WorkerId, asked_at: Timestamp, turn: &mut Turn<'_>) {
        let Some(worker) = self.workers.get(&id).cloned() else {
            return;
        };
        let connected = self.session_of(id).is_some();
        let Some(liveness) = self.liveness.get_mut(&id) else {
            return;
        };
        let (rounds, since) = liveness.missing.unwrap_or((0, asked_at));
        let rounds = rounds.saturating_add(1);
        liveness.missing = Some((rounds, since));
        let long_enough = match self.policy.absence {
            Absence::IsProof => true,
            Absence::IsProofAfter(wait) => asked_at.since(since) >= wait,
        };
        match &worker.state {
            WorkerState::Terminating { cause, since, .. } => {
                if *since <= asked_at && long_enough {
                    let cause = cause.clone();
                    self.prove_gone(worker, cause, turn);
                }
            }
            WorkerState::Booting { .. }
            | WorkerState::Idle { .. }
            | WorkerState::Busy { .. }
            | WorkerState::Draining { .. } => {
                // A busy machine is never given up on the word of one listing, or while its agent speaks.
                if rounds >= 2 && long_enough && !connected {
                    let reason = "the provisioner no longer shows it".to_owned();
                    self.begin_termination(id, TerminationCause::MachineGone { reason }, turn);
                }
            }
            WorkerState::Planning { .. } | WorkerState::Launching { .. } | WorkerState::Terminated { .. } => {
            }
        }
    }
}
