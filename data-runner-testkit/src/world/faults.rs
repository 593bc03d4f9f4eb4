//! Faults: what strikes, how often, and until when.

use data_runner_core::id::{SessionId, WorkerId};

use super::{Happening, World};

/// Which kinds of fault strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// The supervisor and the agents die, between any two steps, and come back.
    pub crashes: bool,
    /// Sessions break, workers are cut off, messages are late.
    pub network: bool,
    /// Commits fail, or happen without an answer; so do appends of logs.
    pub store: bool,
    /// Machines vanish, and launches stay without an answer.
    pub machines: bool,
}

impl Faults {
    /// All of them.
    pub const ALL: Self = Self { crashes: true, network: true, store: true, machines: true };
    /// None of them.
    pub const NONE: Self = Self { crashes: false, network: false, store: false, machines: false };
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Strike {
    KillSupervisor,
    KillAgent,
    KillMachine,
    BreakSession,
    Cut,
    /// Spare capacity is taken back, with notice or without.
    Interrupt,
    /// A machine that bears our mark and that nobody remembers.
    Stranger,
    FailCommit,
    FailAppend,
}

impl World {
    pub(super) fn is_troubled(&self) -> bool {
        self.now < self.size.troubled
    }

    pub(super) fn plan_faults(&mut self) {
        let troubled = u64::try_from(self.size.troubled.as_millis()).unwrap_or(u64::MAX);
        let Faults { crashes, network, store, machines } = self.faults;
        let kinds = [
            (crashes, Strike::KillSupervisor, 3),
            (crashes, Strike::KillAgent, 4),
            (machines, Strike::KillMachine, 2),
            (machines && self.is_cloud(), Strike::Interrupt, 3),
            (machines && self.is_cloud(), Strike::Stranger, 1),
            (network, Strike::BreakSession, 8),
            (network, Strike::Cut, 3),
            (store, Strike::FailCommit, 3),
            (store, Strike::FailAppend, 3),
        ];
        for (wanted, strike, most) in kinds {
            let times = if wanted { self.entropy.below(most + 1) } else { 0 };
            for _ in 0..times {
                let at = self.millis(0, troubled);
                self.after(at, Happening::Fault(strike));
            }
        }
    }

    pub(super) fn on_strike(&mut self, strike: Strike) {
        self.note(|| format!("fault: {strike:?}"));
        let name = match strike {
            Strike::KillSupervisor => {
                self.kill_supervisor();
                "supervisor killed"
            }
            Strike::KillAgent => {
                if let Some(worker) = self.any_host() {
                    self.kill_agent(worker);
                    if self.entropy.below(2) == 0 {
                        // Somebody restarts it by hand; otherwise the provisioner does, if it can see that it is down.
                        self.boot(worker);
                    }
                }
                "agent killed"
            }
            Strike::KillMachine => {
                if let Some(worker) = self.any_host() {
                    self.lose_machine(worker);
                }
                "machine lost"
            }
            Strike::Interrupt => {
                if let Some(worker) = self.any_host() {
                    self.interrupt(worker);
                }
                "spot interrupted"
            }
            Strike::Stranger => {
                self.make_stranger();
                "stranger"
            }
            Strike::BreakSession => {
                if let Some(worker) = self.any_host() {
                    self.network_lost_agent(worker);
                }
                "session broken"
            }
            Strike::Cut => {
                let how_long = self.millis(1_000, 400_000);
                if let Some(worker) = self.any_host() {
                    self.cut_worker(worker, how_long);
                }
                "worker cut off"
            }
            Strike::FailCommit => {
                self.fail_a_commit();
                "commit failed"
            }
            Strike::FailAppend => {
                self.store.fail_next_append(crate::memory::store::StoreFault::AnswerLost);
                "append failed"
            }
        };
        *self.struck.entry(name).or_insert(0) += 1;
    }

    /// It fails, or a person deletes it.
    fn lose_machine(&mut self, worker: WorkerId) {
        if self.is_cloud() {
            self.end_instance(worker, "it failed", data_runner_core::worker::MachineEnd::Ended);
        } else {
            self.power_off(worker, "it failed");
        }
    }

    fn any_host(&mut self) -> Option<WorkerId> {
        let on: Vec<WorkerId> = self
            .hosts
            .iter()
            .filter(|(_, host)| host.life == super::host::MachineLife::On)
            .map(|(worker, _)| *worker)
            .collect();
        let count = u64::try_from(on.len()).unwrap_or(0);
        if count == 0 {
            return None;
        }
        let n = usize::try_from(self.entropy.below(count)).unwrap_or(0);
        on.get(n).copied()
    }

    /// An append that failed: the session is closed, as the engine does; the agent comes back and goes on from what is
    /// stored.
    pub(super) fn append_failed(&mut self, session: SessionId) {
        self.break_session(session);
    }
}
