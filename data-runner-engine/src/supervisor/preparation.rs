//! From an order to a complete submission: which revision, which parameters, which code. All of it outside the loop, and
//! all of it durable before core hears of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use data_runner_core::cost::RunBudget;
use data_runner_core::event::{Answer, Idempotency, Request, Submit};
use data_runner_core::execution::{Execution, Trigger};
use data_runner_core::group::Membership;
use data_runner_core::id::{ExecutionId, RepoName, Revision, Sha256, WorkflowId, WorkflowName};
use data_runner_core::port::Made;
use data_runner_core::workflow::config::WorkflowConfig;
use data_runner_core::workflow::params::{self, References};
use data_runner_core::workflow::{
    BundleRef, DefinitionState, InstanceSize, JobSpec, NeededBy, PackageChoice, ParamValue, Presence,
    RepoKind, ScheduleDates, ScheduleTick, Start, Workflow, prepare_job,
};
use serde_json::{Map, Value};

use super::Shared;
use super::handle::unexpected;
use super::request::{IdempotencyKey, Order, Repeat, RequestError, Started};

/// The most bundles whose references are remembered. Forgetting one costs a fetch, nothing more.
const REMEMBERED: usize = 4096;

/// Which bundle holds which code.
#[derive(Debug, Default)]
pub(crate) struct Bundles(Mutex<HashMap<BundleKey, BundleRef>>);

type BundleKey = (RepoName, Revision, String, Vec<String>);

pub(crate) struct Preparation<'a> {
    pub(super) shared: &'a Shared,
}

/// What a submission comes from.
pub(super) struct Origin {
    pub(super) trigger: Trigger,
    pub(super) dates: Option<ScheduleDates>,
    /// The place in a group of what it repeats.
    pub(super) group: Option<Membership>,
    /// What needed workflows wrote.
    pub(super) outputs: BTreeMap<WorkflowName, Value>,
    pub(super) retry_of: Option<ExecutionId>,
}

impl From<Trigger> for Origin {
    fn from(trigger: Trigger) -> Self {
        Self { trigger, dates: None, group: None, outputs: BTreeMap::new(), retry_of: None }
    }
}

/// A definition at a revision.
pub(super) struct Defined {
    pub(super) revision: Revision,
    pub(super) config: WorkflowConfig,
}

impl Preparation<'_> {
    pub(super) async fn execute(&self, given: &str, order: Order) -> Result<Started, RequestError> {
        let workflow = self.current(given, order.reference.as_deref()).await?;
        let defined = self.defined(&workflow, order.reference.as_deref()).await?;
        self.submit(&workflow, defined, &order, Origin::from(Trigger::Manual)).await
    }

    pub(super) async fn execute_one(
        &self,
        given: &str,
        order: Order,
    ) -> Result<Arc<Execution>, RequestError> {
        let workflow = self.current(given, order.reference.as_deref()).await?;
        let defined = self.defined(&workflow, order.reference.as_deref()).await?;
        if defined.is_many(&order) {
            return Err(invalid("params", &NotOne));
        }
        one(self.submit(&workflow, defined, &order, Origin::from(Trigger::Manual)).await?)
    }

    pub(super) async fn repeat(
        &self,
        id: ExecutionId,
        how: Repeat,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Arc<Execution>, RequestError> {
        let old = self.shared.catalog.execution(id).await?.ok_or(RequestError::NoSuchExecution(id))?;
        let group = if self.is_one_of_many(&old).await? { old.group } else { None };
        match how {
            Repeat::Retry => {
                let submit = Submit {
                    workflow: old.workflow_id,
                    // It goes on with the size that it came to, and with the packages that it had.
                    job: old.job_again(),
                    labels: old.labels.clone(),
                    instance_size: old.size().to_owned(),
                    retries: old.retries.clone(),
                    keep_warm: old.keep_warm,
                    compute: old.sized_compute(),
                    notifications: old.notifications.clone(),
                    budget: old.budget,
                    queueing: old.queueing.clone(),
                    late_after: None,
                    trigger: how.into(),
                    dates: old.dates,
                    group,
                    retry_of: Some(id),
                    idempotency: idempotency.map(fresh_key),
                };
                one(self.ask(Request::Submit(submit)).await?)
            }
            Repeat::Rerun => {
                // It promises the newest commit, so the poll is not waited for. A repository that is away at present
                // has its newest known one.
                let repo = &old.job.workflow.repo;
                for outcome in self.shared.repos().sync(Some(repo.as_str())).await? {
                    if let Err(message) = outcome.result {
                        tracing::warn!(%repo, message, "rerun at the newest commit that is known");
                    }
                }
                let workflow = self.current(&old.workflow_id.to_string(), None).await?;
                let defined = self.defined(&workflow, None).await?;
                let params =
                    old.job.params.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
                let order = Order { params, idempotency, ..Order::default() };
                let origin =
                    Origin { dates: old.dates, group, retry_of: Some(id), ..Trigger::from(how).into() };
                one(self.submit(&workflow, defined, &order, origin).await?)
            }
        }
    }

    /// Submits the execution of a start, or its group, once, however often it is asked to.
    pub(super) async fn start(&self, start: &Start) -> Result<Started, RequestError> {
        // Hundreds of schedules are due at midnight; a few at a time are as fast, and leave room for others.
        let _turn = self.shared.starts.acquire().await.map_err(|_| RequestError::Unavailable)?;
        let workflow = self.current(&start.workflow().to_string(), None).await?;
        let defined = self.defined(&workflow, None).await?;
        let key = start.key();
        let body = Sha256::of(key.as_bytes());
        let order = Order { idempotency: Some(IdempotencyKey { key, body }), ..Order::default() };
        let origin = match start {
            Start::Tick(ScheduleTick { of, due }) => {
                let trigger = Trigger::Schedule { schedule: of.schedule.clone(), due: *due };
                Origin { dates: of.schedule.dates_at(*due), ..Origin::from(trigger) }
            }
            Start::Needs(start) => Origin {
                dates: start.dates,
                outputs: self.outputs(&start.by).await?,
                ..Origin::from(Trigger::Needs { by: start.by.clone() })
            },
        };
        self.submit(&workflow, defined, &order, origin).await
    }

    /// What needed workflows wrote.
    async fn outputs(&self, by: &[NeededBy]) -> Result<BTreeMap<WorkflowName, Value>, RequestError> {
        let mut outputs = BTreeMap::new();
        for NeededBy { workflow, execution } in by {
            let missing = RequestError::NoSuchExecution(*execution);
            let execution = self.shared.catalog.execution(*execution).await?.ok_or(missing)?;
            let output = match self.is_one_of_many(&execution).await? {
                false => execution.output().cloned().unwrap_or_default(),
                // Several wrote something, and none of that is the workflow's.
                true => Value::Null,
            };
            outputs.insert(workflow.name.clone(), output);
        }
        Ok(outputs)
    }

    /// The workflow as it is now. A plain folder is looked at before each run, so that what runs is what is there.
    pub(super) async fn current(
        &self,
        given: &str,
        reference: Option<&str>,
    ) -> Result<Arc<Workflow>, RequestError> {
        let found = self.find(given);
        let repo = match &found {
            Ok(workflow) => self.shared.repo(&workflow.repo),
            Err(_) => None,
        };
        let folder = repo.is_some_and(|repo| repo.kind() == RepoKind::Folder);
        if folder && reference.is_none() {
            let workflow = found?;
            self.shared.repos().sync(Some(workflow.repo.as_str())).await?;
            return self.find(&workflow.id.to_string());
        }
        found
    }

    fn find(&self, given: &str) -> Result<Arc<Workflow>, RequestError> {
        find_workflow(&self.shared.published.borrow().workflows, given)
    }

    pub(super) async fn defined(
        &self,
        workflow: &Workflow,
        reference: Option<&str>,
    ) -> Result<Defined, RequestError> {
        if let Some(reference) = reference {
            let (source, revision) = self.shared.source_at(&workflow.repo, reference).await?;
            let folder = self.shared.repos().read_folder(&*source, &revision, &workflow.path).await?;
            let Defined { revision, config } = of_state(workflow, folder.definition)?;
            let config = if workflow.is_unpushed() { config.unpushed() } else { config };
            return Ok(Defined { revision, config });
        }
        of_state(workflow, workflow.definition.clone())
    }

    async fn submit(
        &self,
        workflow: &Workflow,
        mut defined: Defined,
        order: &Order,
        origin: Origin,
    ) -> Result<Started, RequestError> {
        if defined.is_many(order) {
            let group = self.matrix(workflow, defined, order, origin).await?;
            return self.ask(Request::StartGroup(Box::new(group))).await;
        }
        sized(&mut defined.config, order)?;
        let params = self.params(&defined.config, &order.params, &origin)?;
        let submit = self.submission(workflow, defined, order, (params, origin)).await?;
        self.ask(Request::Submit(submit)).await
    }

    /// All parameters of a run.
    pub(super) fn params(
        &self,
        config: &WorkflowConfig,
        given: &Map<String, Value>,
        origin: &Origin,
    ) -> Result<BTreeMap<String, ParamValue>, RequestError> {
        let by_hand = References::by_hand(self.shared.today());
        let dates = origin.dates.unwrap_or(by_hand.dates);
        let references = References { dates, outputs: origin.outputs.clone() };
        params::resolve(&config.params, given, &references).map_err(|problems| RequestError::Invalid {
            what: "the parameters are wrong".to_owned(),
            problems,
        })
    }

    /// A complete submission; its code is in the blob store.
    pub(super) async fn submission(
        &self,
        workflow: &Workflow,
        defined: Defined,
        order: &Order,
        (params, origin): (BTreeMap<String, ParamValue>, Origin),
    ) -> Result<Submit, RequestError> {
        let Defined { revision, config } = defined;
        let bundle = self.bundle(workflow, &revision, &config).await?;
        let queueing = config.queueing.resolve(&params);
        let budget = match config.budget {
            Some(budget) => {
                let usual = self.past_runs(&workflow.id).await?.map(|past| past.median);
                Some(RunBudget { budget, usual })
            }
            None => None,
        };
        let packages = match origin.trigger {
            // A retry does not come here: it has the packages of what it repeats.
            Trigger::Rerun => PackageChoice::Anew,
            Trigger::Manual
            | Trigger::Retry
            | Trigger::Schedule { .. }
            | Trigger::Backfill
            | Trigger::Needs { .. } => PackageChoice::Worker,
        };
        let job = JobSpec { packages, ..prepare_job(workflow, &revision, &config, bundle, params) };
        Ok(Submit {
            workflow: workflow.id,
            job: Arc::new(job),
            labels: config.labels,
            instance_size: config.instance_size.to_string(),
            retries: config.retries,
            keep_warm: config.keep_warm,
            compute: config.compute,
            notifications: config.notifications,
            budget,
            queueing,
            late_after: config.late_after,
            trigger: origin.trigger,
            dates: origin.dates,
            group: origin.group,
            retry_of: origin.retry_of,
            idempotency: order.idempotency.clone().map(fresh_key),
        })
    }

    /// The archive of a workflow's code, in the blob store.
    async fn bundle(
        &self,
        workflow: &Workflow,
        revision: &Revision,
        config: &WorkflowConfig,
    ) -> Result<BundleRef, RequestError> {
        let key: BundleKey =
            (workflow.repo.clone(), revision.clone(), workflow.path.clone(), config.include.clone());
        if let Some(known) = self.shared.bundles.get(&key) {
            return Ok(known);
        }
        let source = match workflow.is_unpushed() {
            true => self.shared.unpushed_at(revision.as_str()).await?.0,
            false => self.shared.source(&workflow.repo)?,
        };
        let archive = source.fetch(revision, &workflow.path, &config.include).await?;
        let bytes = archive.len() as u64;
        let hash = self.shared.blobs.put(archive).await?;
        let bundle = BundleRef { hash, bytes };
        self.shared.bundles.remember(key, bundle.clone());
        Ok(bundle)
    }

    /// Asks core for an execution or a group.
    pub(super) async fn ask(&self, request: Request) -> Result<Started, RequestError> {
        match self.shared.ask(request).await {
            Ok(Answer::Execution(execution)) => Ok(Started::Execution(execution)),
            Ok(Answer::Group(group)) => Ok(Started::Group(group)),
            Ok(Answer::Existing(Made::Execution(id))) => {
                let existing = self.shared.catalog.execution(id).await?.map(Arc::new);
                existing.map(Started::Execution).ok_or(RequestError::NoSuchExecution(id))
            }
            Ok(Answer::Existing(Made::Group(id))) => {
                let existing = self.shared.catalog.group(id).await?.map(Arc::new);
                existing.map(Started::Group).ok_or(RequestError::NoSuchGroup(id))
            }
            other => unexpected(other),
        }
    }
}

impl Defined {
    /// Whether what is ordered is several executions.
    fn is_many(&self, order: &Order) -> bool {
        self.config.matrix.as_ref().is_some_and(|matrix| !matrix.is_fixed_by(&order.params))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the workflow has a matrix: give each of its parameters, or start it as a group")]
struct NotOne;

/// The execution, where nothing else can have been started.
fn one(started: Started) -> Result<Arc<Execution>, RequestError> {
    match started {
        Started::Execution(execution) => Ok(execution),
        Started::Group(_) => Err(invalid("params", &NotOne)),
    }
}

impl Bundles {
    fn get(&self, key: &BundleKey) -> Option<BundleRef> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn remember(&self, key: BundleKey, bundle: BundleRef) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, bundle);
    }
}

fn fresh_key(key: IdempotencyKey) -> Idempotency {
    Idempotency { key: key.key, body: key.body, known: None }
}

fn of_state(workflow: &Workflow, state: DefinitionState) -> Result<Defined, RequestError> {
    match state {
        DefinitionState::Valid(definition) => {
            Ok(Defined { revision: definition.revision, config: definition.config })
        }
        DefinitionState::Broken { revision, problems } => Err(RequestError::Invalid {
            what: format!("{} cannot be run at {}", workflow.qualified_name(), revision.short()),
            problems,
        }),
    }
}

/// Puts the size that was ordered in the place of the configured one.
pub(super) fn sized(config: &mut WorkflowConfig, order: &Order) -> Result<(), RequestError> {
    if let Some(size) = &order.instance_size {
        config.instance_size =
            InstanceSize::try_from(size.clone()).map_err(|error| invalid("instance_size", &error))?;
    }
    Ok(())
}

/// A problem with one field of a request.
pub(super) fn invalid(field: &str, error: &dyn std::error::Error) -> RequestError {
    use data_runner_core::workflow::config::{Problem, Severity};
    RequestError::Invalid {
        what: "the request is wrong".to_owned(),
        problems: vec![Problem {
            code: format!("invalid_{field}"),
            severity: Severity::Error,
            message: error.to_string(),
            help: None,
            location: None,
        }],
    }
}

/// The workflow that `given` means: an id, a `repo/name`, or a name that only one repository has.
pub(super) fn find_workflow(
    workflows: &BTreeMap<WorkflowId, Arc<Workflow>>,
    given: &str,
) -> Result<Arc<Workflow>, RequestError> {
    if let Some(workflow) = given.parse().ok().and_then(|id: WorkflowId| workflows.get(&id)) {
        return Ok(Arc::clone(workflow));
    }
    let alive =
        || workflows.values().filter(|workflow| !matches!(workflow.presence, Presence::Deleted { .. }));
    let named = |workflow: &Arc<Workflow>| match given.split_once('/') {
        Some((repo, name)) => workflow.repo.as_str() == repo && workflow.name.as_str() == name,
        // Somebody's trial must not take the name of what is in a repository.
        None => workflow.name.as_str() == given && !workflow.is_unpushed(),
    };
    let found: Vec<&Arc<Workflow>> = alive().filter(|workflow| named(workflow)).collect();
    // One whose folder went away does not make a name ambiguous.
    let present: Vec<&&Arc<Workflow>> =
        found.iter().filter(|workflow| workflow.presence == Presence::Present).collect();
    match (found.as_slice(), present.as_slice()) {
        ([only], _) => Ok(Arc::clone(only)),
        (_, [only]) => Ok(Arc::clone(only)),
        ([], _) => {
            let nearest = alive()
                .map(|workflow| (strsim::jaro_winkler(given, workflow.name.as_str()), workflow))
                .filter(|(likeness, _)| *likeness > 0.8)
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map(|(_, workflow)| workflow.name.to_string());
            Err(RequestError::NoSuchWorkflow { given: given.to_owned(), nearest })
        }
        (several, _) => Err(RequestError::AmbiguousWorkflow {
            given: given.to_owned(),
            candidates: several.iter().map(|workflow| workflow.qualified_name().to_string()).collect(),
        }),
    }
}
