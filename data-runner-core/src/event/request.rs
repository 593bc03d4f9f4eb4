//! What is asked of the Orchestrator, and what it answers.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::Synced;
use crate::artifact::{Artifact, ArtifactRefusal, KeepArtifact};
use crate::cost::{RunBudget, Spending};
use crate::execution::{Execution, ExecutionState, Lateness, Queueing, RetryPolicy, Trigger, Waiting};
use crate::group::{Group, GroupOrder, Membership};
use crate::hook::HookDelivery;
use crate::id::{ArtifactId, ExecutionId, GroupId, RepoName, WorkerId, WorkflowId};
use crate::port::{IdempotencyRecord, Made};
use crate::time::Timestamp;
use crate::worker::Worker;
use crate::workflow::{Compute, FolderFound, JobSpec, Notification, Repo, ScheduleDates, Start, Workflow};

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
