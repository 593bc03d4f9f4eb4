//! What the agent hears, and what it answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::execution::{Failure, FinishReport, StopReason};
use crate::id::{ArtifactName, Claim, Epoch};
use crate::log::LogOffset;
use crate::message::{AgentMessage, LogAck, SupervisorMessage};
use crate::port::{JobNews, Retry};
use crate::time::Timestamp;
use crate::workflow::{JobSpec, PackageLock};

/// One try to reach the supervisor, and the session that comes of it. What is heard of an older one is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happens to an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentEvent {
    /// A deadline has come.
    Tick,
    /// The process was asked to end (SIGTERM): the first time it drains, the second time it stops its jobs.
    Terminate,
    /// Whoever owns the machine says something of its future.
    Machine(MachineNotice),
    /// The session is open.
    Connected {
        /// Which.
        connection: ConnectionId,
    },
    /// The supervisor was not reached.
    ConnectFailed {
        /// Which try.
        connection: ConnectionId,
        /// Whether trying again soon makes sense.
        retry: Retry,
    },
    /// The session has ended.
    Disconnected {
        /// Which.
        connection: ConnectionId,
    },
    /// The supervisor said something.
    Heard {
        /// On which session.
        connection: ConnectionId,
        /// What.
        message: Box<SupervisorMessage>,
    },
    /// The supervisor said how much of a log it has.
    LogAcked {
        /// On which session.
        connection: ConnectionId,
        /// What.
        ack: LogAck,
    },
    /// A [`AgentEffect::SendLog`] is done.
    LogSent {
        /// Whose log.
        claim: Claim,
        /// The effect's turn.
        turn: LogTurn,
        /// Up to where it was handed over; the place that it began from if nothing could be read or sent.
        upto: LogOffset,
    },
    /// A job went on.
    Job {
        /// Which.
        claim: Claim,
        /// How.
        step: JobStep,
    },
}

/// What is said of the machine's future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineNotice {
    /// It may be taken away before long: the agent takes no more work, and what runs goes on.
    AtRisk,
    /// It goes within two minutes: jobs are stopped at once, and what they said is delivered as long as there is time.
    Going,
}

/// Numbers the stretches in which a log is sent forward without a jump; an answer of an older one says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogTurn(pub u64);

/// How a job went on.
#[derive(Debug, Clone, PartialEq)]
pub enum JobStep {
    /// Its code is in its folder, the hash checked.
    CodeReady,
    /// Its code could not be had now: there is no session, or the supervisor cannot deliver at present.
    CodeDelayed {
        /// What went wrong.
        message: String,
    },
    /// Its environment is made.
    EnvironmentReady {
        /// The packages in it, where they are known.
        packages: Option<Arc<PackageLock>>,
    },
    /// It was started.
    Started,
    /// It cannot be run, and nothing of it was started.
    Impossible {
        /// Why.
        failure: Failure,
    },
    /// Fetching or preparing was broken off, as [`AgentEffect::Halt`] asked for.
    Halted,
    /// It could not be seen whether it was started; adopting it tells.
    Unclear,
    /// A job that was started earlier was found.
    Adopted {
        /// For how long it has run.
        running_for: Duration,
    },
    /// No job was ever started in that folder, or the machine was restarted since.
    NotFound {
        /// What was found instead.
        message: String,
    },
    /// It could not be found out whether there is one.
    AdoptFailed,
    /// The running job has news.
    News(JobNews),
    /// What there is of its files is kept, or refused for good.
    ArtifactsKept {
        /// What is not kept, and why.
        warnings: Vec<String>,
        /// The rules that no file matched.
        unmatched: Vec<ArtifactName>,
    },
    /// Its files could not be kept now.
    ArtifactsDelayed {
        /// What went wrong.
        message: String,
    },
    /// Its folder is gone.
    FolderRemoved,
}

/// What the agent answers. First the records must be on disk, in order; then the effects are performed, in order.
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use]
pub struct AgentOutcome {
    /// What must be on disk first.
    pub records: Vec<AgentRecord>,
    /// What is to be done then.
    pub effects: Vec<AgentEffect>,
    /// What of the event was refused. For the diagnostic log; nothing follows from it.
    pub rejections: Vec<AgentRejection>,
}

/// Something to keep on disk. A later record of the same thing replaces the earlier one.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentRecord {
    /// Who this agent is.
    Identity(AgentIdentity),
    /// An attempt. It goes with its folder ([`AgentEffect::RemoveFolder`]).
    Run(RunRecord),
}

/// Who an agent is, over its restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AgentIdentity {
    /// Rises with each start of the process on the same state folder.
    pub incarnation: u64,
    /// The highest epoch that it has taken a command from.
    pub epoch: Epoch,
    /// How long it may go on without a supervisor, as the supervisor said last.
    pub dead_man: Option<Duration>,
}

/// An attempt, as it is kept until its end is acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The attempt and its lease.
    pub claim: Claim,
    /// What runs.
    pub job: Arc<JobSpec>,
    /// When it was taken.
    pub accepted_at: Timestamp,
    /// The packages of its environment, once that is made, where they are known.
    #[serde(default)]
    pub packages: Option<Arc<PackageLock>>,
    /// How it ended, where the executor cannot tell that again: it was never started, or it vanished.
    pub ended: Option<Box<FinishReport>>,
}

/// What is to be done. Each is repeated or derived anew after a restart, so none is lost with the process.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentEffect {
    /// Open a session. Answer: `Connected` or `ConnectFailed`.
    Connect {
        /// The name of the try.
        connection: ConnectionId,
    },
    /// Give up the session, or the try. No answer.
    Disconnect {
        /// Which.
        connection: ConnectionId,
    },
    /// Say something on the session. No answer.
    Send {
        /// The session.
        connection: ConnectionId,
        /// What.
        message: Box<AgentMessage>,
    },
    /// Bring the code into the attempt's folder. Answer: `CodeReady`, `CodeDelayed`, `Impossible` or `Halted`.
    FetchCode {
        /// The attempt.
        claim: Claim,
        /// Its job.
        job: Arc<JobSpec>,
    },
    /// Make the environment. Answer: `EnvironmentReady`, `Impossible` or `Halted`.
    Prepare {
        /// The attempt.
        claim: Claim,
    },
    /// Break off fetching or preparing; it answers `Halted`, unless its own answer was faster.
    Halt {
        /// The attempt.
        claim: Claim,
    },
    /// Start the job, once. Answer: `Started`, `Impossible` or `Unclear`.
    Start {
        /// The attempt.
        claim: Claim,
    },
    /// Bring the files that its job left to the supervisor. Answer: `ArtifactsKept` or `ArtifactsDelayed`.
    KeepArtifacts {
        /// The attempt.
        claim: Claim,
    },
    /// Break that off. No answer.
    GiveUpArtifacts {
        /// The attempt.
        claim: Claim,
    },
    /// Find the job that was started earlier. Answer: `Adopted`, `NotFound` or `AdoptFailed`.
    Adopt {
        /// The attempt.
        claim: Claim,
        /// Its job.
        job: Arc<JobSpec>,
    },
    /// Wait for news of the job beyond `seen`. Answer: `News`, once.
    Watch {
        /// The attempt.
        claim: Claim,
        /// What is known of its log.
        seen: LogOffset,
    },
    /// Stop the job. Its end answers.
    Stop {
        /// The attempt.
        claim: Claim,
        /// Why.
        reason: StopReason,
        /// The time between TERM and KILL.
        grace: Duration,
    },
    /// Read the job's log and hand it over on the session. Answer: `LogSent`.
    SendLog {
        /// The session.
        connection: ConnectionId,
        /// The attempt.
        claim: Claim,
        /// Comes back with the answer.
        turn: LogTurn,
        /// From where.
        from: LogOffset,
        /// About how much, at most.
        max_bytes: u64,
    },
    /// Remove the attempt's folder, its record first. Answer: `FolderRemoved`.
    RemoveFolder {
        /// The attempt.
        claim: Claim,
    },
    /// Hand over what was said, and end.
    End(EndReason),
}

/// Why an agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// It was drained and nothing is left.
    Drained,
    /// It was told to stop at once, or its machine's time was up; what is not acknowledged stays on disk.
    Stopped,
    /// No supervisor was heard of for too long; results stay on disk.
    Abandoned,
}

/// What of an event was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentRejection {
    /// The command comes from a supervisor that another has replaced.
    #[error("a command under epoch {given} is ignored: epoch {ours} has been seen")]
    StaleEpoch {
        /// The command's.
        given: Epoch,
        /// The highest seen.
        ours: Epoch,
    },
    /// It belongs to a session that is not the current one, or not in that state.
    #[error("{what} on connection {connection} is not expected now")]
    OutOfSession {
        /// What came.
        what: &'static str,
        /// On which connection.
        connection: ConnectionId,
    },
    /// Nothing is known of the attempt.
    #[error("{what}: nothing is known of {claim}")]
    UnknownAttempt {
        /// What came.
        what: &'static str,
        /// The attempt.
        claim: Claim,
    },
    /// The attempt is held under another lease.
    #[error("{what}: {claim} is held under another lease")]
    StaleLease {
        /// What came.
        what: &'static str,
        /// The attempt.
        claim: Claim,
    },
    /// The attempt's end is committed.
    #[error("{what}: {claim} is over")]
    AlreadyOver {
        /// What came.
        what: &'static str,
        /// The attempt.
        claim: Claim,
    },
    /// More was assigned than this agent said it can run.
    #[error("{claim} is not taken: every slot is taken and as many wait")]
    NoRoom {
        /// The attempt.
        claim: Claim,
    },
    /// Welcome names no verdict on an attempt that Hello named.
    #[error("the supervisor said nothing about {claim}")]
    NoVerdict {
        /// The attempt.
        claim: Claim,
    },
    /// The attempt is not at the step that this answers.
    #[error("{what} does not fit the step at which {claim} is")]
    OutOfStep {
        /// What came.
        what: &'static str,
        /// The attempt.
        claim: Claim,
    },
    /// The agent has ended.
    #[error("the agent has ended")]
    Ended,
}
