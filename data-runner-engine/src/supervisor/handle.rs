//! How everybody else talks to the supervisor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use data_runner_core::advice::Advice;
use data_runner_core::artifact::Artifact;
use data_runner_core::delivery::Delivery;
use data_runner_core::event::{Answer, GroupWish, Pausing, Rejection, Request, ShutDown};
use data_runner_core::execution::{ConcurrencyKey, Execution};
use data_runner_core::group::{Group, Member};
use data_runner_core::hook::HookDelivery;
use data_runner_core::id::{
    ArtifactId, AttemptId, CommitSequence, DeliveryId, Epoch, ExecutionId, GroupId, RepoName, WorkerId,
    WorkflowId,
};
use data_runner_core::port::{ByteSource, Catalog, LogStore, Version};
use data_runner_core::worker::Worker;
use data_runner_core::workflow::{NeedsProgress, Repo, ScheduleId, ScheduleProgress, Workflow};
use tokio::sync::watch;

use super::Shared;
use super::actor::micros;
use super::history::CodeDiff;
use super::request::{
    BackfillOrder, IdempotencyKey, MachinePlan, Order, Registered, Registration, Repeat, RequestError,
    Started, SyncOutcome,
};
use super::watch::Watch;

/// What the supervisor publishes after each commit.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The last commit.
    pub sequence: CommitSequence,
    /// The tenure's epoch.
    pub epoch: Epoch,
    /// All workflows.
    pub workflows: Arc<BTreeMap<WorkflowId, Arc<Workflow>>>,
    /// All repositories.
    pub repos: Arc<BTreeMap<RepoName, Arc<Repo>>>,
    /// How far each schedule has come, also of workflows that do not run at present.
    pub schedules: Arc<BTreeMap<ScheduleId, Arc<ScheduleProgress>>>,
    /// What has succeeded for each workflow that needs others.
    pub needs: Arc<BTreeMap<WorkflowId, Arc<NeedsProgress>>>,
    /// Messages to addresses outside that are tried to be delivered.
    pub deliveries: Arc<BTreeMap<DeliveryId, Arc<Delivery>>>,
    /// Which executions run under each concurrency key.
    pub running_under_keys: Arc<BTreeMap<ConcurrencyKey, BTreeSet<ExecutionId>>>,
    /// What it is doing.
    pub stage: Stage,
    /// How many executions are active.
    pub active_executions: usize,
    /// How many workers exist.
    pub workers: usize,
}

/// What the supervisor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// It loads its state.
    #[default]
    Recovering,
    /// It takes requests.
    Serving,
    /// It takes no new work and lets workers finish.
    Draining,
    /// It has ended.
    Ended,
}

/// A loop that does not turn for so long hangs.
const SILENT: Duration = Duration::from_secs(30);

/// A cheap, cloneable way to a running supervisor.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    /// Runs a workflow as one execution. `workflow` is an id, a `repo/name`, or a name that is unambiguous. Answered once
    /// the execution, its parameters and its code are durable. A workflow with a matrix is refused unless the order gives
    /// each parameter of that; [`start`](Self::start) starts any.
    pub async fn execute(&self, workflow: &str, order: Order) -> Result<Arc<Execution>, RequestError> {
        self.shared.preparation().execute_one(workflow, order).await
    }

    /// Runs a workflow: as one execution, or as a group if it has a matrix.
    pub async fn start(&self, workflow: &str, order: Order) -> Result<Started, RequestError> {
        self.shared.preparation().execute(workflow, order).await
    }

    /// Runs a workflow for each date on which its schedule is due (each day, if it has none), as a group.
    pub async fn backfill(&self, workflow: &str, order: BackfillOrder) -> Result<Arc<Group>, RequestError> {
        self.shared.preparation().backfill(workflow, order).await
    }

    /// The members that a backfill would have. Starts nothing.
    pub async fn plan_backfill(
        &self,
        workflow: &str,
        order: &BackfillOrder,
    ) -> Result<Vec<Member>, RequestError> {
        self.shared.preparation().plan_backfill(workflow, order).await
    }

    /// Pauses, resumes or cancels a group; `by` says who asked. One that ends already stays as it is.
    pub async fn change_group(
        &self,
        group: GroupId,
        wish: GroupWish,
        by: &str,
    ) -> Result<Arc<Group>, RequestError> {
        self.shared.preparation().change_group(group, wish, by).await
    }

    /// The machines that a run of the workflow would be given now, and what is known of its time. Launches nothing.
    pub async fn plan(&self, workflow: &str, order: &Order) -> Result<MachinePlan, RequestError> {
        self.shared.preparation().plan(workflow, order).await
    }

    /// Which instance size the workflow should have, by what its newest runs used and the price table.
    pub async fn advise(&self, workflow: &str) -> Result<Advice, RequestError> {
        self.shared.preparation().advise(workflow).await
    }

    /// Runs an execution's workflow again, as a new execution that names the old one.
    pub async fn repeat(
        &self,
        execution: ExecutionId,
        how: Repeat,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Arc<Execution>, RequestError> {
        self.shared.preparation().repeat(execution, how, idempotency).await
    }

    /// Ends an execution; `by` says who asked. Answered when the wish is durable; the end follows.
    pub async fn cancel(&self, execution: ExecutionId, by: &str) -> Result<Arc<Execution>, RequestError> {
        let request = Request::Cancel { execution, by: by.to_owned() };
        match self.shared.ask(request).await {
            Ok(Answer::Execution(execution)) => Ok(execution),
            // Core holds what is active only: what it does not know has ended, or never was.
            Ok(Answer::Rejected(Rejection::NoSuchExecution(_))) => {
                match self.catalog().execution(execution).await? {
                    Some(ended) => {
                        let state = ended.state.name();
                        Err(Rejection::AlreadyEnded { execution, state }.into())
                    }
                    None => Err(RequestError::NoSuchExecution(execution)),
                }
            }
            other => unexpected(other),
        }
    }

    /// Watches a repository and registers its workflows.
    pub async fn register(&self, registration: Registration) -> Result<Registered, RequestError> {
        self.shared.repos().register(registration).await
    }

    /// Takes the archive of a workflow's folder (its `path`, such as `workflows/orders`, and what it includes) that is in
    /// no repository, and gives the workflow that it is here: run it by its name and the revision of its definition. It
    /// needs a [`SourceOpener`](data_runner_core::port::SourceOpener) that opens archives.
    pub async fn upload(&self, path: &str, archive: Bytes) -> Result<Workflow, RequestError> {
        self.shared.repos().upload(path, archive).await
    }

    /// Fetches one repository, or all, now.
    pub async fn sync(&self, repo: Option<&str>) -> Result<Vec<SyncOutcome>, RequestError> {
        self.shared.repos().sync(repo).await
    }

    /// A webhook says that somebody pushed: the repositories that are at one of its URLs are looked at now. Answered when
    /// the delivery's names are durable, with what is looked at; `None`: this delivery came before.
    pub async fn hook(&self, delivery: HookDelivery) -> Result<Option<Vec<RepoName>>, RequestError> {
        match self.shared.ask(Request::Hook(delivery)).await {
            Ok(Answer::Looking(repos)) => Ok(Some(repos)),
            Ok(Answer::Repeated) => Ok(None),
            other => unexpected(other),
        }
    }

    /// Pauses or resumes a workflow's schedules.
    pub async fn pause(&self, workflow: WorkflowId, wanted: Pausing) -> Result<Workflow, RequestError> {
        workflow_answer(self.shared.ask(Request::Pause { workflow, wanted }).await)
    }

    /// Deletes a workflow; its history stays, and syncs do not bring it back.
    pub async fn delete_workflow(&self, workflow: WorkflowId) -> Result<Workflow, RequestError> {
        workflow_answer(self.shared.ask(Request::DeleteWorkflow { workflow }).await)
    }

    /// Lets a worker finish what it has, then go.
    pub async fn drain_worker(&self, worker: WorkerId) -> Result<Worker, RequestError> {
        worker_answer(self.shared.ask(Request::DrainWorker { worker }).await)
    }

    /// Ends a worker at once.
    pub async fn terminate_worker(&self, worker: WorkerId) -> Result<Worker, RequestError> {
        worker_answer(self.shared.ask(Request::TerminateWorker { worker }).await)
    }

    /// Ends all workers, gently or at once; returns when they are gone. The supervisor itself goes on until
    /// it is told to stop.
    pub async fn shut_down(&self, how: ShutDown) -> Result<(), RequestError> {
        match self.shared.ask(Request::ShutDown(how)).await {
            Ok(Answer::ShutDown) => Ok(()),
            other => unexpected(other),
        }
    }

    /// The workflow that `given` (an id, a `repo/name`, or an unambiguous name) means. Deleted ones are found by id only.
    pub fn workflow(&self, given: &str) -> Result<Arc<Workflow>, RequestError> {
        super::preparation::find_workflow(&self.published().workflows, given)
    }

    /// The revisions that changed a workflow or what it includes, the newest first, from `reference` (or the newest that
    /// was synced) back.
    pub async fn history(
        &self,
        workflow: &Workflow,
        reference: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Version>, RequestError> {
        self.shared.history(workflow, reference, limit).await
    }

    /// What is different in a workflow's code from one revision to another; by default, what its newest revision
    /// changed.
    pub async fn code_diff(
        &self,
        workflow: &Workflow,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<CodeDiff, RequestError> {
        self.shared.code_diff(workflow, from, to).await
    }

    /// What is different in the code of two executions of a workflow, as a unified diff; `None` if the code of one of
    /// them is not kept any more.
    pub async fn executions_diff(
        &self,
        workflow: &Workflow,
        from: &Execution,
        to: &Execution,
    ) -> Result<Option<String>, RequestError> {
        self.shared.executions_diff(workflow, from, to).await
    }

    /// The `config.yaml` that an execution of a workflow runs by, as it is at its revision; `None` if that is not kept any
    /// more, or was never pushed.
    pub async fn definition(
        &self,
        workflow: &Workflow,
        execution: &Execution,
    ) -> Result<Option<String>, RequestError> {
        self.shared.definition(workflow, execution).await
    }

    /// The files that an execution's attempts left, in order of attempt, name and path: those that are there.
    pub async fn artifacts(&self, execution: ExecutionId) -> Result<Vec<Artifact>, RequestError> {
        let now = self.shared.clock.now().wall;
        let all = self.catalog().artifacts(execution).await?;
        Ok(all.into_iter().filter(|artifact| artifact.is_shown(now)).collect())
    }

    /// One of them, with its bytes; `None` if it is not there, or its time is over.
    pub async fn artifact(
        &self,
        id: ArtifactId,
    ) -> Result<Option<(Artifact, Box<dyn ByteSource>)>, RequestError> {
        let now = self.shared.clock.now().wall;
        let Some(artifact) = self.catalog().artifact(id).await?.filter(|it| it.is_shown(now)) else {
            return Ok(None);
        };
        let content = self.shared.artifacts.store.read(&artifact.blob.hash).await?;
        Ok(Some((artifact, content)))
    }

    /// Read-only queries.
    pub fn catalog(&self) -> &dyn Catalog {
        &*self.shared.catalog
    }

    /// Logs.
    pub fn logs(&self) -> &dyn LogStore {
        &*self.shared.logs
    }

    /// What was published after the last commit.
    pub fn published(&self) -> Published {
        self.shared.published.borrow().clone()
    }

    /// Whether the supervisor serves, and its loop has turned lately: it does each second, unless its store hangs.
    pub fn is_alive(&self) -> bool {
        let turned = self.shared.turned.load(Ordering::Relaxed);
        let silent = micros(self.shared.clock.now().mono).saturating_sub(turned);
        match self.published().stage {
            Stage::Serving | Stage::Draining => u128::from(silent) < SILENT.as_micros(),
            Stage::Recovering | Stage::Ended => false,
        }
    }

    /// Tells of each new commit.
    pub fn commits(&self) -> watch::Receiver<Published> {
        self.shared.published.subscribe()
    }

    /// Waits until an execution has ended, and gives it as it ended. Cancel-safe. When the supervisor has ended it never
    /// returns, as [`Watch::changed`].
    pub async fn until_ended(&self, execution: ExecutionId) -> Result<Execution, RequestError> {
        let mut news = self.watch_execution(execution);
        loop {
            match self.catalog().execution(execution).await? {
                None => return Err(RequestError::NoSuchExecution(execution)),
                Some(ended) if ended.state.name().is_terminal() => return Ok(ended),
                Some(_) => news.changed().await,
            }
        }
    }

    /// Tells when an execution may have changed.
    pub fn watch_execution(&self, execution: ExecutionId) -> Watch {
        self.shared.executions.watch(execution)
    }

    /// Tells when an attempt's stored log may have grown or been closed.
    pub fn watch_log(&self, attempt: AttemptId) -> Watch {
        self.shared.log_growth.watch(attempt)
    }
}

fn workflow_answer(answer: Result<Answer, RequestError>) -> Result<Workflow, RequestError> {
    match answer {
        Ok(Answer::Workflow(workflow)) => Ok(*workflow),
        other => unexpected(other),
    }
}

fn worker_answer(answer: Result<Answer, RequestError>) -> Result<Worker, RequestError> {
    match answer {
        Ok(Answer::Worker(worker)) => Ok(*worker),
        other => unexpected(other),
    }
}

/// An answer of another kind than the question's is a defect of ours; the caller hears that it was not done.
pub(crate) fn unexpected<T>(answer: Result<Answer, RequestError>) -> Result<T, RequestError> {
    match answer {
        Ok(Answer::Rejected(rejection)) => Err(rejection.into()),
        Ok(answer) => {
            tracing::error!(?answer, "core answered another question");
            Err(RequestError::Unavailable)
        }
        Err(error) => Err(error),
    }
}
