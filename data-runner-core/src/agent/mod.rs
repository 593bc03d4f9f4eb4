//! The one place that decides what an agent does.
//!
//! [`Agent::handle`] takes an event and says what must be on disk ([`AgentRecord`]) and what is to be done after that
//! ([`AgentEffect`]). It is pure: time and randomness come in as arguments, nothing is awaited, nothing fails; what is
//! impossible or stale becomes an [`AgentRejection`] in the outcome.
//!
//! An event is first taken in, then [`Agent::handle`] settles: it looks at everything held and derives what is due.
//! So whatever was missed (a session that broke, a process that was killed) is made up for by the next settling.
//!
//! What holds, and is tested as properties:
//! - an attempt is on disk before anything is done for it, and `Start` is an effect at most once an attempt, over all
//!   restarts: what was held before a restart is adopted or reported as vanished, never started;
//! - no more attempts than slots are live;
//! - of a log, acknowledged ≤ sent ≤ known; after a reconnect the supervisor's offset rules;
//! - an attempt's folder goes only when its end is acknowledged and its log acknowledged or refused, or when the
//!   supervisor disowned it and the job is gone.
//!
//! Where to look: `session` for coming and going, `commands` for what the supervisor asks, `machine` for what becomes of
//! the machine, `jobs` for what becomes of jobs, `keeping` for the files that they leave, `log_flow` for offsets, `settle` for what is due, `run` for what is held of one attempt.

mod commands;
mod event;
mod jobs;
mod keeping;
mod log_flow;
mod machine;
mod policy;
mod run;
mod session;
mod settle;
mod turn;

#[cfg(test)]
mod every_step;
#[cfg(test)]
mod keeping_stories;
#[cfg(test)]
mod machine_stories;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod stories;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub use event::{
    AgentEffect, AgentEvent, AgentIdentity, AgentOutcome, AgentRecord, AgentRejection, ConnectionId,
    EndReason, JobStep, LogTurn, MachineNotice, RunRecord,
};
pub use policy::AgentPolicy;
use run::Run;
use session::Link;
use turn::Turn;

use crate::execution::FinishReport;
use crate::id::{AttemptId, Claim, Lease};
use crate::time::{Entropy, Mono, Now};
use crate::worker::AgentFacts;
use crate::workflow::JobSpec;

/// Holds what an agent has and decides. See the module.
#[derive(Debug, Clone)]
pub struct Agent {
    policy: AgentPolicy,
    facts: AgentFacts,
    identity: AgentIdentity,
    stage: Stage,
    link: Link,
    /// The latest try to connect.
    connection: ConnectionId,
    /// When a supervisor was connected last; before that, when this process began.
    contact: Mono,
    /// From when on jobs are stopped because the machine ends, and when it does.
    end_of_machine: Option<(Mono, Mono)>,
    runs: BTreeMap<AttemptId, Run>,
    /// Assigned, but not taken yet: the slot, or the folder, still belongs to another. Not on disk; a new session
    /// forgets them, and the supervisor assigns them again.
    waiting: BTreeMap<AttemptId, (Lease, Arc<JobSpec>)>,
    /// Attempts that are over, the oldest first, for commands that come late or twice.
    past: VecDeque<Past>,
}

/// Whether new work is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// No more work; what runs goes on to its end.
    Draining(DrainedBy),
    /// Jobs are being stopped; `leave_by`: until when their ends may be reported, once all have ended.
    Stopping {
        leave_by: Option<Mono>,
    },
    /// The machine goes: jobs are being stopped, and what they said is delivered until then.
    Parting {
        by: Mono,
    },
    /// No supervisor for too long: jobs are being stopped, nobody is told.
    Abandoned,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DrainedBy {
    Supervisor,
    Machine,
    Signal,
}

/// An attempt that is over for this agent.
#[derive(Debug, Clone)]
struct Past {
    claim: Claim,
    /// What to answer if the supervisor asks for it again; `None`: its end is committed.
    answer: Option<FinishReport>,
}

/// How many attempts that are over are remembered.
const REMEMBERED: usize = 256;

impl Agent {
    /// The agent as its records have it. `identity` is that of this process: its incarnation is higher than before.
    ///
    /// Nothing is done yet: everything is due at once, so the first `Tick` connects, and adopts what is recorded.
    pub fn recover(
        identity: AgentIdentity,
        records: Vec<RunRecord>,
        facts: AgentFacts,
        policy: AgentPolicy,
        now: Now,
    ) -> Self {
        let runs =
            records.into_iter().map(|record| (record.claim.attempt, Run::recovered(record, now))).collect();
        Self {
            facts: AgentFacts { slots: policy.slots, ..facts },
            policy,
            identity,
            stage: Stage::Serving,
            link: Link::Down { retry_at: now.mono, failures: 0 },
            connection: ConnectionId(0),
            contact: now.mono,
            end_of_machine: policy.end_of_machine(now),
            runs,
            waiting: BTreeMap::new(),
            past: VecDeque::new(),
        }
    }

    /// Decides what an event means.
    pub fn handle(&mut self, event: AgentEvent, now: Now, entropy: &mut Entropy) -> AgentOutcome {
        let mut turn = Turn::new(now, entropy);
        if self.stage == Stage::Ended {
            turn.reject(AgentRejection::Ended);
            return turn.finish();
        }
        match event {
            AgentEvent::Tick => {}
            AgentEvent::Terminate => self.on_terminate(&mut turn),
            AgentEvent::Machine(notice) => self.on_notice(notice, &mut turn),
            AgentEvent::Connected { connection } => self.on_connected(connection, &mut turn),
            AgentEvent::ConnectFailed { connection, retry } => {
                self.on_connect_failed(connection, retry, &mut turn);
            }
            AgentEvent::Disconnected { connection } => self.on_disconnected(connection, &mut turn),
            AgentEvent::Heard { connection, message } => self.on_heard(connection, *message, &mut turn),
            AgentEvent::LogAcked { connection, ack } => self.on_log_acked(connection, ack, &mut turn),
            AgentEvent::LogSent { claim, turn: stretch, upto } => {
                self.on_log_sent(claim, stretch, upto, &mut turn);
            }
            AgentEvent::Job { claim, step } => self.on_job(claim, step, &mut turn),
        }
        self.settle(&mut turn);
        turn.finish()
    }

    /// The attempts that are held, with what must be on disk of each: what [`Agent::recover`] needs.
    pub fn held(&self) -> impl Iterator<Item = RunRecord> + '_ {
        self.runs.values().map(Run::record)
    }

    /// How long it, and its jobs without it, may go on without a supervisor.
    pub fn dead_man(&self) -> Duration {
        self.identity.dead_man.unwrap_or(self.policy.dead_man)
    }

    fn remember(&mut self, claim: Claim, answer: Option<FinishReport>) {
        self.past.retain(|past| past.claim != claim);
        self.past.push_back(Past { claim, answer });
        if self.past.len() > REMEMBERED {
            self.past.pop_front();
        }
    }

    /// The run that this claim names, or why it names none.
    fn run_mut(&mut self, claim: Claim, what: &'static str) -> Result<&mut Run, AgentRejection> {
        let over = self.past.iter().any(|past| past.claim == claim);
        match self.runs.get_mut(&claim.attempt) {
            Some(run) if run.claim == claim => Ok(run),
            Some(_) => Err(AgentRejection::StaleLease { what, claim }),
            None if over => Err(AgentRejection::AlreadyOver { what, claim }),
            None => Err(AgentRejection::UnknownAttempt { what, claim }),
        }
    }
}
