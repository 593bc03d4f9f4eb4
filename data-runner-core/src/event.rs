//! What goes into the Orchestrator and what comes out of it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::artifact::{Artifact, ArtifactRefusal, KeepArtifact};
use crate::cost::{RunBudget, Spending};
use crate::delivery::{Delivery, DeliveryResult};
use crate::execution::{Execution, ExecutionState, Lateness, Queueing, RetryPolicy, Trigger, Waiting};
use crate::group::{Group, GroupOrder, Membership};
use crate::hook::{HookDelivery, HookRecord};
use crate::id::{
    ArtifactId, AttemptId, Claim, CommitSequence, DeliveryId, ExecutionId, GroupId, MachineId, RepoName,
    Revision, SessionId, WorkerId, WorkflowId,
};
use crate::log::{Gap, LogOffset};
use crate::message::{AgentMessage, SupervisorMessage};
use crate::port::{IdempotencyRecord, LaunchAnswer, Made};
use crate::time::Timestamp;
use crate::worker::{Candidate, Machine, MachineRequest, Worker};
use crate::workflow::{
    Compute, FolderFound, JobSpec, NeedsProgress, Notification, Repo, ScheduleDates, ScheduleProgress, Start,
    Workflow,
};

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

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "events hold it in a box, and most requests are the largest one"
)]
pub enum Request {
    /// Run a workflow. Everything is resolved; the bundle is stored.
    Submit(Submit),
    /// Run a workflow as a group. Everything is resolved; the bundle is stored.
    StartGroup(Box<GroupOrder>),
    /// Pause, resume or cancel a group.
    ChangeGroup {
        /// Which.
        group: GroupId,
        /// What is wanted.
        wish: GroupWish,
        /// Who asks, for the record.
        by: String,
    },
    /// End an execution.
    Cancel {
        /// Which.
        execution: ExecutionId,
        /// Who asks, for the record.
        by: String,
    },
    /// Watch a repository, or change how it is watched. Registering again brings back what was deleted.
    Register {
        /// The repository.
        repo: Repo,
        /// What its first sync found.
        synced: Synced,
    },
    /// Somebody wants to run a folder that is in no repository: it becomes a workflow of `unpushed`, or the newest
    /// definition of one.
    Unpushed(FolderFound),
    /// Pause or resume a workflow's schedules.
    Pause {
        /// Which.
        workflow: WorkflowId,
        /// What is wanted.
        wanted: Pausing,
    },
    /// Delete a workflow; its history stays.
    DeleteWorkflow {
        /// Which.
        workflow: WorkflowId,
    },
    /// Let a worker finish what it has, then go.
    DrainWorker {
        /// Which.
        worker: WorkerId,
    },
    /// End a worker at once; what it runs is interrupted.
    TerminateWorker {
        /// Which.
        worker: WorkerId,
    },
    /// The agent of a machine that we launched has shown a token that is right, and wants a certificate for this key.
    Join {
        /// The worker.
        worker: WorkerId,
        /// The hash of its public key.
        key: crate::id::Sha256,
    },
    /// A webhook says that somebody pushed to a repository.
    Hook(HookDelivery),
    /// An agent brings a file that a job left: it is announced, or has come.
    KeepArtifact(Box<KeepArtifact>),
    /// The bytes of these files, which were over, are removed.
    ForgetArtifacts {
        /// Which.
        artifacts: Vec<ArtifactId>,
        /// When they were over.
        before: Timestamp,
    },
    /// The supervisor is to end.
    ShutDown(ShutDown),
}

/// Whether schedules shall run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pausing {
    /// They shall not.
    Pause,
    /// They shall.
    Resume,
}

/// What shall become of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupWish {
    /// No further member shall start.
    Pause,
    /// They shall start again.
    Resume,
    /// No further member shall start, and those that are active shall stop.
    Cancel,
}

/// How the supervisor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutDown {
    /// Workers finish what they have, then go; nothing new is started. Answered when all are gone.
    Drain,
    /// What runs is interrupted, workers go at once. Answered when all are gone.
    Now,
}

/// Run a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Submit {
    /// The workflow.
    pub workflow: WorkflowId,
    /// What to run, complete.
    pub job: Arc<JobSpec>,
    /// Labels of the workflow.
    pub labels: std::collections::BTreeMap<String, String>,
    /// The instance size.
    pub instance_size: String,
    /// When to try again.
    pub retries: RetryPolicy,
    /// How long its worker stays.
    pub keep_warm: Duration,
    /// How its machine is chosen and made.
    pub compute: Compute,
    /// Whom to tell of what.
    pub notifications: Vec<Notification>,
    /// What it may cost.
    pub budget: Option<RunBudget>,
    /// How it stands in line.
    pub queueing: Queueing,
    /// How long after its due time it counts as late if it has not started.
    pub late_after: Option<Duration>,
    /// What started it.
    pub trigger: Trigger,
    /// The dates that it runs for, if a schedule began it, be it by other workflows.
    pub dates: Option<ScheduleDates>,
    /// The place in a group of the execution that it repeats, if that was one of several for its date: then its own
    /// success is not that of the workflow.
    pub group: Option<Membership>,
    /// The execution that it repeats.
    pub retry_of: Option<ExecutionId>,
    /// The caller's idempotency key, if there is one.
    pub idempotency: Option<Idempotency>,
}

impl Submit {
    /// The execution that it makes, queued since `waiting.since`.
    pub fn into_execution(self, id: ExecutionId, waiting: Waiting) -> Execution {
        let due = match &self.trigger {
            Trigger::Schedule { due, .. } => *due,
            Trigger::Manual | Trigger::Retry | Trigger::Rerun | Trigger::Backfill | Trigger::Needs { .. } => {
                waiting.since
            }
        };
        let late = self.late_after.map_or(Lateness::Never, |after| Lateness::At { at: due.after(after) });
        Execution {
            late,
            id,
            workflow_id: self.workflow,
            job: self.job,
            labels: self.labels,
            instance_size: self.instance_size,
            retries: self.retries,
            keep_warm: self.keep_warm,
            compute: self.compute,
            notifications: self.notifications,
            trigger: self.trigger,
            dates: self.dates,
            group: self.group,
            retry_of: self.retry_of,
            created_at: waiting.since,
            budget: self.budget,
            spending: Spending::default(),
            start_by: self.queueing.start_within.map(|within| waiting.since.after(within)),
            queueing: self.queueing,
            state: ExecutionState::Queued { waiting },
            launch_failures: 0,
            launch_tries: Vec::new(),
            enlarged: Vec::new(),
            attempts: Vec::new(),
        }
    }
}

/// A caller's idempotency key, with what is already known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, with the route.
    pub key: String,
    /// The hash of the body.
    pub body: crate::id::Sha256,
    /// What the store answered to the key, asked after all earlier batches were committed.
    pub known: Option<IdempotencyRecord>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The execution as it stands now: made, or found by its idempotency key, or cancelled.
    Execution(Arc<Execution>),
    /// The group as it stands now.
    Group(Arc<Group>),
    /// What the same idempotency key made earlier; it may have ended since.
    Existing(Made),
    /// The workflows of a repository as they stand now.
    Workflows(Vec<Workflow>),
    /// The workflow as it stands now.
    Workflow(Box<Workflow>),
    /// The worker as it stands now.
    Worker(Box<Worker>),
    /// These repositories are looked at now.
    Looking(Vec<RepoName>),
    /// The delivery came before, and did what it does then.
    Repeated,
    /// The file as it is known now.
    Artifact(Box<Artifact>),
    /// They are known no more.
    Forgotten,
    /// All workers are gone.
    ShutDown,
    /// It cannot be done.
    Rejected(Rejection),
}

/// Why a request cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No active execution has that id.
    #[error("there is no active execution {0}")]
    NoSuchExecution(ExecutionId),
    /// No active group has that id.
    #[error("there is no active group {0}")]
    NoSuchGroup(GroupId),
    /// The group has ended.
    #[error("the group {group} has ended already: {state}")]
    GroupEnded {
        /// Which.
        group: GroupId,
        /// How.
        state: &'static str,
    },
    /// There is no such workflow.
    #[error("there is no workflow {0}")]
    NoSuchWorkflow(WorkflowId),
    /// There is no such worker.
    #[error("there is no worker {0}")]
    NoSuchWorker(WorkerId),
    /// The workflow was deleted, or its folder went away.
    #[error("the workflow {workflow} is {why}")]
    WorkflowGone {
        /// Which.
        workflow: WorkflowId,
        /// In what way.
        why: &'static str,
    },
    /// The idempotency key was used with another body.
    #[error("the Idempotency-Key {key:?} was used with another request body")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The execution has ended.
    #[error("the execution {execution} has ended already: {state}")]
    AlreadyEnded {
        /// Which.
        execution: ExecutionId,
        /// How.
        state: crate::execution::StateName,
    },
    /// The start has had its turn: it was given up, or its workflow was paused or taken away meanwhile.
    #[error("{0} has had its turn")]
    StartSettled(Box<Start>),
    /// As many executions under its concurrency key have not ended as may run at one time, and its workflow says that it is
    /// left out then.
    #[error("at most {limit} may run at one time{}, and there is {}", under(.key), listed(.others))]
    Skipped {
        /// The key.
        key: String,
        /// How many may run.
        limit: NonZeroU32,
        /// Those that have not ended.
        others: Vec<ExecutionId>,
    },
    /// The worker has no machine that may join, or has joined with another key.
    #[error("worker {0} cannot join with that key")]
    NotWelcome(WorkerId),
    /// No repository that is watched has that URL.
    #[error("no repository that is watched here is at {url}")]
    NoSuchRemote {
        /// One of the URLs that were given.
        url: String,
    },
    /// The name that is needed for what people run without pushing it is another repository's.
    #[error("a repository is called `unpushed` here, which is the name of what is run without pushing it")]
    NameTaken,
    /// A file is not kept.
    #[error(transparent)]
    Artifact(#[from] ArtifactRefusal),
    /// The supervisor takes no new work.
    #[error("the supervisor is shutting down")]
    ShuttingDown,
}

fn under(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" under the key {key:?}") }
}

/// The first of them; who wants to know all asks for the list.
pub(crate) fn listed(others: &[ExecutionId]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = others.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = others.len().saturating_sub(SHOWN);
    format!("{}{}", shown.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() })
}

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
