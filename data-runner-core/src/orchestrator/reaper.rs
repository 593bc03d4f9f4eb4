//! Listings: machines that belong to nobody go, and workers whose machine is gone end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Absence, Orchestrator, Turn};
use crate::event::Effect;
use crate::id::WorkerId;
use crate::time::{Mono, Timestamp};
use crate::worker::{Machine, MachineEnd, MachineState, Origin, TerminationCause, Worker, WorkerState};

impl Orchestrator {
    /// A complete listing: both directions of the reaper. Machines that nobody knows go, workers without a machine end.
    pub(super) fn on_listed(&mut self, asked_at: Timestamp, machines: &[Machine], turn: &mut Turn<'_>) {
        let mut shown: BTreeMap<WorkerId, Vec<&Machine>> = BTreeMap::new();
        for machine in machines {
            shown.entry(machine.worker).or_default().push(machine);
        }
        self.reap_strangers(machines, turn);
        let provisioned: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|worker| worker.origin == Origin::Provisioned && worker.created_at < asked_at)
            .map(|worker| worker.id)
            .collect();
        for id in provisioned {
            let of_worker = shown.get(&id).map_or(&[][..], Vec::as_slice);
            match self.which(id, of_worker) {
                Shown::As(machine) => self.on_shown(id, machine, asked_at, turn),
                Shown::Not => self.on_not_shown(id, asked_at, turn),
                Shown::Unclear => {}
            }
        }
    }

    /// Which of the machines that a listing shows for a worker is its own. A machine whose name was not known yet counts
    /// when it lives and is the only one: a dead one may be that of a candidate before this one.
    fn which<'a>(&self, id: WorkerId, machines: &[&'a Machine]) -> Shown<'a> {
        let known = self.workers.get(&id).and_then(|worker| worker.machine());
        if let Some(known) = known {
            return machines
                .iter()
                .find(|machine| machine.id == *known)
                .map_or(Shown::Not, |it| Shown::As(it));
        }
        let mut alive = machines.iter().filter(|machine| !is_gone(machine));
        match (alive.next(), alive.next()) {
            (None, _) => Shown::Not,
            (Some(machine), None) => Shown::As(machine),
            (Some(_), Some(_)) => Shown::Unclear,
        }
    }

    fn reap_strangers(&mut self, machines: &[Machine], turn: &mut Turn<'_>) {
        let mut strangers = std::mem::take(&mut self.strangers);
        for machine in machines {
            let ours = self.workers.get(&machine.worker).is_some_and(|worker| {
                // While its name is not known, it may be any.
                worker.machine().is_none_or(|known| *known == machine.id)
            });
            if ours || is_gone(machine) {
                continue;
            }
            let known = strangers.remove(&machine.id);
            let now = self.see_stranger(machine, known, turn);
            self.strangers.insert(machine.id.clone(), now);
        }
    }

    /// Once may be a listing that is older than our memory; twice is nobody's machine. It takes its time to go, and is
    /// asked to from time to time as long as it is there.
    fn see_stranger(&self, machine: &Machine, known: Option<Stranger>, turn: &mut Turn<'_>) -> Stranger {
        match known {
            None => return Stranger::Seen,
            Some(Stranger::Seen) => {
                let goes = format!("machine {} belongs to nobody and goes", machine.id);
                turn.record_worker(machine.worker, goes);
            }
            Some(Stranger::Asked { again }) if turn.now.mono < again => return Stranger::Asked { again },
            Some(Stranger::Asked { .. }) => {}
        }
        turn.effect(Effect::Terminate { worker: machine.worker, machine: Some(machine.id.clone()) });
        Stranger::Asked { again: turn.now.mono.after(self.policy.ask_again) }
    }

    fn on_shown(&mut self, id: WorkerId, machine: &Machine, asked_at: Timestamp, turn: &mut Turn<'_>) {
        if let Some(liveness) = self.liveness.get_mut(&id) {
            liveness.missing = None;
        }
        let Some(worker) = self.workers.get(&id).cloned() else {
            return;
        };
        match &machine.state {
            MachineState::Terminated { reason, end } => {
                self.on_shown_gone(worker, reason, *end, asked_at, turn);
            }
            MachineState::Pending
            | MachineState::Running
            | MachineState::AgentDown
            | MachineState::Stopping
                if worker.machine().is_none() =>
            {
                self.on_launched(worker, machine.id.clone(), machine.launched_at, turn);
            }
            MachineState::AgentDown => self.on_agent_down(&worker, turn),
            MachineState::Pending | MachineState::Running | MachineState::Stopping => {}
        }
    }

    /// The proof that nothing of a worker is left.
    fn on_shown_gone(
        &mut self,
        worker: Arc<Worker>,
        reason: &str,
        end: MachineEnd,
        asked_at: Timestamp,
        turn: &mut Turn<'_>,
    ) {
        let gone = TerminationCause::MachineGone { reason: reason.to_owned(), end };
        match &worker.state {
            WorkerState::Terminating { cause, since, .. } if *since <= asked_at => {
                // Silence is how the end of spare capacity looks from here when it came without notice.
                let taken = *cause == TerminationCause::Lost && end == MachineEnd::Interrupted;
                let cause = if taken { gone } else { cause.clone() };
                self.prove_gone(worker, cause, turn);
            }
            // The listing is older than the wish; the next one tells.
            WorkerState::Terminating { .. } | WorkerState::Terminated { .. } => {}
            WorkerState::Booting { .. } => match end {
                MachineEnd::NoCapacity | MachineEnd::Interrupted => {
                    self.fall_back(worker, reason.to_owned(), gone, turn);
                }
                MachineEnd::Ended => self.prove_gone(worker, gone, turn),
            },
            // A drained agent switches its machine off by itself.
            WorkerState::Draining { attempts, cause, .. }
                if attempts.is_empty() && end == MachineEnd::Ended =>
            {
                let cause = cause.clone();
                self.prove_gone(worker, cause, turn);
            }
            WorkerState::Idle { .. } | WorkerState::Busy { .. } | WorkerState::Draining { .. } => {
                self.prove_gone(worker, gone, turn);
            }
            // It has no machine by that name. What became of the launch is told by its answer, which is asked for until
            // it is definite.
            WorkerState::Planning { .. } | WorkerState::Launching { .. } => {}
        }
    }

    /// Its machine runs and its agent does not.
    fn on_agent_down(&mut self, worker: &Arc<Worker>, turn: &mut Turn<'_>) {
        let id = worker.id;
        match &worker.state {
            WorkerState::Idle { candidate: Some(candidate), .. }
            | WorkerState::Busy { candidate: Some(candidate), .. }
            | WorkerState::Booting { candidate, .. } => {
                if self.session_of(id).is_none() {
                    turn.record_worker(id, "its agent is down and is started again");
                    self.ask_launch(id, candidate.clone(), turn);
                }
            }
            // A drained agent has ended, as it should; what it left behind goes with the machine.
            WorkerState::Draining { cause, .. } => {
                let cause = cause.clone();
                self.begin_termination(id, cause, turn);
            }
            WorkerState::Idle { candidate: None, .. }
            | WorkerState::Busy { candidate: None, .. }
            | WorkerState::Planning { .. }
            | WorkerState::Launching { .. }
            | WorkerState::Terminating { .. }
            | WorkerState::Terminated { .. } => {}
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
            WorkerState::Terminating { cause, since: wished, .. } => {
                // A launch that nobody confirmed may be on its way when its end is wished for.
                let unseen = match self.policy.absence {
                    Absence::IsProofAfter(wait) if worker.machine().is_none() => {
                        asked_at.since(*wished) >= wait
                    }
                    Absence::IsProof | Absence::IsProofAfter(_) => true,
                };
                if *wished <= asked_at && long_enough && unseen {
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
                    self.begin_termination(
                        id,
                        TerminationCause::MachineGone { reason, end: MachineEnd::Ended },
                        turn,
                    );
                }
            }
            WorkerState::Planning { .. } | WorkerState::Launching { .. } | WorkerState::Terminated { .. } => {
            }
        }
    }
}

/// A machine that bears our mark and belongs to no worker of ours.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stranger {
    /// One listing has shown it.
    Seen,
    /// It was asked to go.
    Asked {
        /// When to ask again.
        again: Mono,
    },
}

/// What a listing says of a worker's machine.
enum Shown<'a> {
    As(&'a Machine),
    Not,
    /// There are several that it could be.
    Unclear,
}

const fn is_gone(machine: &Machine) -> bool {
    match machine.state {
        MachineState::Terminated { .. } => true,
        MachineState::Pending | MachineState::Running | MachineState::AgentDown | MachineState::Stopping => {
            false
        }
    }
}
