//! What goes into the Orchestrator and what comes out of it.

mod outcome;
mod request;

use crate::delivery::{Delivery, DeliveryResult};
use crate::execution::Execution;
use crate::group::Group;
use crate::id::{Claim, CommitSequence, DeliveryId, RepoName, Revision, SessionId, WorkerId};
use crate::log::LogOffset;
use crate::message::AgentMessage;
use crate::port::LaunchAnswer;
use crate::time::Timestamp;
use crate::worker::{Candidate, Machine, Worker};
use crate::workflow::{FolderFound, NeedsProgress, Repo, ScheduleProgress, Start, Workflow};

pub use outcome::{Change, Effect, EventKind, EventRecord, Outcome};
pub(crate) use request::listed;
pub use request::{Answer, GroupWish, Idempotency, Pausing, Rejection, Request, ShutDown, Submit};

/// The engine's own mark of a caller that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody asks for something and waits for the answer.
    Request {
        /// Who waits.
        reply: ReplyTo,
        /// What is asked.
        request: Box<Request>,
    },
    /// A session was opened.
    SessionOpened {
        /// The worker.
        worker: WorkerId,
        /// The session.
        session: SessionId,
    },
    /// An agent said something.
    AgentSaid {
        /// The worker.
        worker: WorkerId,
        /// The session.
        session: SessionId,
        /// What.
        message: Box<AgentMessage>,
    },
    /// A session ended.
    SessionClosed {
        /// The worker.
        worker: WorkerId,
        /// The session.
        session: SessionId,
    },
    /// The log of a live attempt is stored up to here.
    LogStored {
        /// The attempt.
        claim: Claim,
        /// Everything before it is committed.
        upto: LogOffset,
    },
    /// The provisioner's plan for a worker.
    Planned {
        /// The worker.
        worker: WorkerId,
        /// Candidates, the best first, or why there are none.
        result: Result<Vec<Candidate>, PlanFailure>,
    },
    /// The answer to a launch.
    LaunchAnswered {
        /// The worker.
        worker: WorkerId,
        /// The candidate that was launched.
        candidate: Box<Candidate>,
        /// The answer.
        answer: LaunchAnswer,
    },
    /// A complete listing of the machines that bear our mark.
    Listed {
        /// When the listing was asked for; what began later may be missing in it.
        asked_at: Timestamp,
        /// The machines.
        machines: Vec<Machine>,
    },
    /// The end of a machine's console, which was asked for before it is terminated.
    ConsoleRead {
        /// The worker.
        worker: WorkerId,
        /// The text; `None` if it could not be read.
        text: Option<String>,
    },
    /// Something asked of the provisioner failed for now (terminate or list); it is asked again in time.
    ProvisionerFailed {
        /// What failed.
        message: String,
    },
    /// A repository was synced, or could not be.
    Synced {
        /// The repository.
        repo: RepoName,
        /// What was found.
        result: Result<Synced, String>,
    },
    /// The execution of a start could not be submitted; it is tried again, or given up.
    NotSubmitted {
        /// Which start.
        start: Box<Start>,
        /// Why.
        message: String,
    },
    /// A message to an address outside was tried to be delivered.
    DeliveryTried {
        /// Which.
        delivery: DeliveryId,
        /// What came of it.
        result: DeliveryResult,
    },
    /// Time has passed: deadlines may be due.
    Tick,
    /// The engine found that it was frozen, or starts: what was silent meanwhile is not to blame.
    Resumed,
}

/// Why there are no candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanFailure {
    /// It will never work without a person.
    Rejected {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// It may work later.
    Unavailable {
        /// Why.
        message: String,
    },
}

/// What a sync found.
#[derive(Debug, Clone, PartialEq)]
pub struct Synced {
    /// The revision.
    pub revision: Revision,
    /// The workflows of it.
    pub folders: Vec<FolderFound>,
}

/// Everything that is active, as the store has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// The last commit.
    pub sequence: CommitSequence,
    /// Executions that are not terminal, in order of their ids.
    pub executions: Vec<Execution>,
    /// Workers that are not terminated, in order of their ids.
    pub workers: Vec<Worker>,
    /// All workflows, in order of their ids.
    pub workflows: Vec<Workflow>,
    /// All repositories, in order of their names.
    pub repos: Vec<Repo>,
    /// How far each schedule has come, in order of their ids.
    pub schedules: Vec<ScheduleProgress>,
    /// What has succeeded for workflows that need others, in order of their ids.
    pub needs: Vec<NeedsProgress>,
    /// Groups that have not ended, in order of their ids.
    pub groups: Vec<Group>,
    /// Deliveries that are pending, in order of their ids.
    pub deliveries: Vec<Delivery>,
    /// For each open log, what is stored, in order.
    pub logs: Vec<(Claim, LogOffset)>,
}
