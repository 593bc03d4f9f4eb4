//! What agents and the supervisor say to each other. Adapters of the Transport carry these, in whatever form they like.

use std::sync::Arc;
use std::time::Duration;

use crate::execution::{FinishReport, Phase, StopReason};
use crate::id::{Claim, Epoch, SessionId};
use crate::log::{LogChunk, LogOffset};
use crate::worker::AgentFacts;
use crate::workflow::{JobSpec, PackageLock};

/// What an agent says on its session.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentMessage {
    /// The first message of a session.
    Hello(Hello),
    /// Every few seconds: the agent lives.
    HeartBeat,
    /// An attempt went on.
    WorkerStatus(WorkerStatus),
    /// The agent has been told to drain (by the supervisor, or by a signal): it takes no more work.
    Draining,
    /// Nothing is left; the agent ends after this.
    Drained,
}

/// Who connects, and what it still has.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// Rises with each start of the agent's process on the same state folder.
    pub incarnation: u64,
    /// The highest epoch that it has taken a command from.
    pub epoch: Epoch,
    /// What it is and can do.
    pub facts: AgentFacts,
    /// Every attempt that it still holds something of.
    pub attempts: Vec<HeldAttempt>,
}

/// An attempt that an agent still holds.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldAttempt {
    /// Which.
    pub claim: Claim,
    /// How far it is.
    pub status: AttemptStatus,
    /// The packages of its environment, once that is made, where they are known.
    pub packages: Option<Arc<PackageLock>>,
}

/// News of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStatus {
    /// Which.
    pub claim: Claim,
    /// How far it is.
    pub status: AttemptStatus,
    /// The packages of its environment, once that is made, where they are known.
    pub packages: Option<Arc<PackageLock>>,
}

/// How far an attempt is on its worker.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptStatus {
    /// It reached this phase, so long ago (by the agent's monotonic clock). Only `Connected`, `CodeReady`,
    /// `EnvironmentReady` and `Started` are reported so.
    Reached {
        /// The phase.
        phase: Phase,
        /// How long before this message was sent.
        ago: Duration,
    },
    /// It ended. Repeated until it is acknowledged.
    Finished(Box<FinishReport>),
}

/// What the supervisor says on an agent's session.
#[derive(Debug, Clone, PartialEq)]
pub enum SupervisorMessage {
    /// The answer to Hello.
    Welcome(Welcome),
    /// Run this.
    Assign(Assign),
    /// Stop this.
    Cancel {
        /// Which.
        claim: Claim,
        /// Under which epoch; an agent that has seen a higher one ignores it.
        epoch: Epoch,
        /// Why.
        reason: StopReason,
    },
    /// The attempt's end is committed: its run folder may go.
    StatusAck {
        /// Which.
        claim: Claim,
    },
    /// Take no more work; end when nothing is left.
    Drain {
        /// Under which epoch.
        epoch: Epoch,
    },
}

/// The answer to Hello.
#[derive(Debug, Clone, PartialEq)]
pub struct Welcome {
    /// The session.
    pub session: SessionId,
    /// The supervisor's epoch.
    pub epoch: Epoch,
    /// What to do with each attempt that the agent named.
    pub verdicts: Vec<(Claim, Verdict)>,
    /// How often the agent shall say that it lives.
    pub heartbeat: Duration,
    /// How long the agent may go on without a supervisor before it stops its jobs and ends.
    pub dead_man: Duration,
}

/// What an agent shall do with an attempt that it still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on; send the log from this offset.
    Keep {
        /// What the supervisor has stored.
        log_from: LogOffset,
    },
    /// Stop it and forget it: the supervisor gave it up, or its end is already committed.
    Stop,
}

/// Run this.
#[derive(Debug, Clone, PartialEq)]
pub struct Assign {
    /// The attempt and its lease.
    pub claim: Claim,
    /// Under which epoch; an agent that has seen a higher one ignores it.
    pub epoch: Epoch,
    /// What to run.
    pub job: Arc<JobSpec>,
}

/// Part of an attempt's log on its way to the supervisor.
#[derive(Debug, Clone, PartialEq)]
pub struct LogAppend {
    /// Whose log.
    pub claim: Claim,
    /// The part.
    pub chunk: LogChunk,
}

/// How much of an attempt's log is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogAck {
    /// Whose log.
    pub claim: Claim,
    /// What became of it.
    pub outcome: LogOutcome,
}

/// What became of a part of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOutcome {
    /// Everything before this offset is committed; what follows is expected from there.
    Stored {
        /// That offset.
        upto: LogOffset,
    },
    /// The attempt's log is closed, or the lease is stale: send no more of it.
    Refused,
}
