//! What the Orchestrator decides: what is to be kept, and what is to be done after that.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Answer, ReplyTo};
use crate::artifact::Artifact;
use crate::delivery::Delivery;
use crate::execution::Execution;
use crate::group::Group;
use crate::hook::HookRecord;
use crate::id::{
    ArtifactId, AttemptId, Claim, ExecutionId, MachineId, RepoName, SessionId, WorkerId, WorkflowId,
};
use crate::log::Gap;
use crate::message::SupervisorMessage;
use crate::port::IdempotencyRecord;
use crate::time::Timestamp;
use crate::worker::{Candidate, MachineRequest, Worker};
use crate::workflow::{NeedsProgress, Repo, ScheduleProgress, Start, Workflow};

/// What was decided.
#[must_use]
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// What must be committed, in order, before any effect.
    pub changes: Vec<Change>,
    /// What is done after the commit.
    pub effects: Vec<Effect>,
}

/// One thing to be kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The execution as it is now. Terminal ones never change again.
    PutExecution(Arc<Execution>),
    /// The worker as it is now.
    PutWorker(Arc<Worker>),
    /// The workflow as it is now.
    PutWorkflow(Arc<Workflow>),
    /// The repository as it is now.
    PutRepo(Arc<Repo>),
    /// How far a schedule has come.
    PutSchedule(Arc<ScheduleProgress>),
    /// What has succeeded for a workflow that needs others.
    PutNeeds(Arc<NeedsProgress>),
    /// The group as it is now. Ended ones never change again.
    PutGroup(Arc<Group>),
    /// The delivery as it is now.
    PutDelivery(Arc<Delivery>),
    /// What an idempotency key made.
    PutIdempotency(IdempotencyRecord),
    /// A name of a delivery that was acted upon.
    PutHook(HookRecord),
    /// Deliveries that came before this are known no more.
    ForgetHooks {
        /// The time.
        before: Timestamp,
    },
    /// The file that a job left as it is known now.
    PutArtifact(Box<Artifact>),
    /// Those of these that are kept until `before` or less are known no more.
    ForgetArtifacts {
        /// Which.
        artifacts: Vec<ArtifactId>,
        /// The time.
        before: Timestamp,
    },
    /// Opens the log of an attempt for this claim: appends under it are taken from now on.
    OpenLog(Claim),
    /// Closes the log of an attempt; with a gap if something is missing at its end.
    CloseLog {
        /// Whose.
        attempt: AttemptId,
        /// What is missing.
        gap: Option<Gap>,
    },
    /// Something that people and `/events` want to know.
    Record(EventRecord),
}

/// Something to be done, after the commit. All are idempotent, and derived again after a restart.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Answer a request.
    Reply {
        /// Who waits.
        to: ReplyTo,
        /// The answer.
        answer: Answer,
    },
    /// Say something to an agent.
    Send {
        /// The session.
        session: SessionId,
        /// What.
        message: Box<SupervisorMessage>,
    },
    /// End a session that was replaced or is not wanted.
    CloseSession {
        /// Which.
        session: SessionId,
    },
    /// Ask for candidates.
    Plan {
        /// For this worker.
        worker: WorkerId,
        /// What is wanted.
        request: Box<MachineRequest>,
    },
    /// Launch a machine.
    Launch {
        /// For this worker.
        worker: WorkerId,
        /// As this.
        candidate: Box<Candidate>,
    },
    /// End a machine.
    Terminate {
        /// Of this worker.
        worker: WorkerId,
        /// The machine, where its name is known.
        machine: Option<MachineId>,
    },
    /// List all machines.
    List,
    /// Read the end of a machine's console, to say why its agent never connected. Answered in any case.
    ReadConsole {
        /// Of this worker.
        worker: WorkerId,
        /// The machine.
        machine: MachineId,
    },
    /// Prepare and submit the execution of a start.
    Prepare(Box<Start>),
    /// Remove the bytes of files that are kept until then or less, unless others need them; told as a request to forget
    /// them. Each start of a supervisor begins with one.
    SweepArtifacts {
        /// The time.
        before: Timestamp,
    },
    /// Look at a repository now, without waiting for its turn. After a restart each is looked at anyway.
    Look {
        /// Which.
        repo: RepoName,
    },
}

/// Something that happened, for people, `/events` and the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// When.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: EventKind,
    /// The execution that it is about.
    pub execution: Option<ExecutionId>,
    /// The workflow.
    pub workflow: Option<WorkflowId>,
    /// The worker.
    pub worker: Option<WorkerId>,
    /// A sentence for people.
    pub message: String,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An execution was submitted.
    ExecutionQueued,
    /// A worker is launched for it.
    ExecutionProvisioning,
    /// It was assigned to a worker.
    ExecutionStarting,
    /// Its code runs.
    ExecutionRunning,
    /// It shall stop.
    ExecutionStopping,
    /// An attempt failed, and it will be tried again.
    ExecutionRetrying,
    /// It ended well.
    ExecutionSuccess,
    /// It failed.
    ExecutionFailed,
    /// It was cancelled.
    ExecutionCancelled,
    /// An attempt ended, and there is something to know of it that changes nothing of how.
    ExecutionWarning,
    /// It costs more than its budget, or its workflow would.
    BudgetExceeded,
    /// A report came that changes nothing (stale, late or repeated in another form).
    ReportIgnored,
    /// A worker changed its state.
    WorkerChanged,
    /// A workflow was added or changed.
    WorkflowChanged,
    /// A repository was registered or synced to a new revision, or could not be.
    RepoChanged,
    /// It has not started when it should have long ago.
    ExecutionLate,
    /// Somebody was told of something.
    NotificationDelivered,
    /// Somebody could not be told of something.
    NotificationFailed,
    /// Ticks of a schedule were left out.
    ScheduleMissed,
    /// The execution of a tick could not be submitted.
    ScheduleFailed,
    /// A group was made.
    GroupStarted,
    /// No further member of a group is started for now.
    GroupPaused,
    /// Members of a group are started again.
    GroupResumed,
    /// A member of a group does not start, since others of its key run.
    GroupMemberSkipped,
    /// A group shall end.
    GroupCancelled,
    /// A group has ended.
    GroupEnded,
    /// What was needed had succeeded, but the workflow does not start by that any more.
    NeedsMissed,
    /// The execution that the success of others starts could not be submitted.
    NeedsFailed,
    /// What starts by itself was left out, since as many executions of its workflow had not ended as may run at one time.
    StartSkipped,
}
