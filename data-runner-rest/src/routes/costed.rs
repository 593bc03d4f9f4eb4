//! Executions and workers with what they cost.

use std::collections::{BTreeMap, BTreeSet};

use data_runner_core::cost::{self, Budget as CoreBudget, Cost, WorkerCost};
use data_runner_core::execution::{Attempt, Execution as CoreExecution, StateName};
use data_runner_core::id::{AttemptId, WorkerId};
use data_runner_core::port::StateError;
use data_runner_core::time::Timestamp;
use data_runner_core::worker::Worker as CoreWorker;
use data_runner_core::workflow::{DefinitionState, Workflow as CoreWorkflow};
use data_runner_engine::Handle;

use crate::api::{Budget, Execution, Worker};

/// The machines of some executions.
pub(crate) struct Machines {
    workers: BTreeMap<WorkerId, CoreWorker>,
    costs: Vec<WorkerCost>,
}

impl Machines {
    /// Those of these workers whose price is known.
    async fn of(handle: &Handle, workers: BTreeSet<WorkerId>) -> Result<Self, StateError> {
        if workers.is_empty() {
            return Ok(Self { workers: BTreeMap::new(), costs: Vec::new() });
        }
        let now = now();
        let found: Vec<(CoreWorker, Vec<(AttemptId, Attempt)>)> =
            handle.catalog().workers_that_cost(workers.into_iter().collect()).await?;
        let costs =
            found.iter().filter_map(|(worker, attempts)| cost::of_worker(worker, attempts, now)).collect();
        let workers = found.into_iter().map(|(worker, _)| (worker.id, worker)).collect();
        Ok(Self { workers, costs })
    }

    /// What an execution cost, where that is known.
    pub(crate) fn cost(&self, execution: &CoreExecution) -> Option<Cost> {
        cost::of_execution(execution, &self.costs)
    }

    fn show(&self, handle: &Handle, execution: &CoreExecution) -> Execution {
        let mut shown = fresh(handle, execution);
        shown.set_cost(self.cost(execution));
        for (attempt, shown) in execution.attempts.iter().zip(&mut shown.attempts) {
            let id = execution.attempt_id(attempt.number);
            let cost = self.costs.iter().find(|cost| cost.worker == attempt.worker);
            shown.set_cost(cost.and_then(|cost| cost.attempts.get(&id)).copied());
            if let Some(worker) = self.workers.get(&attempt.worker) {
                shown.set_phases(&attempt.timeline(worker));
            }
        }
        shown
    }
}

/// An execution as REST shows it, without what its machines tell: right after it was asked for.
pub(crate) fn fresh(handle: &Handle, execution: &CoreExecution) -> Execution {
    let mut shown = Execution::from(execution);
    if let (StateName::Queued, Some(key)) = (execution.state.name(), execution.concurrency_key()) {
        let running = handle.published().running_under_keys;
        let others = running.get(&key).into_iter().flatten();
        shown.set_behind(others.copied().filter(|other| *other != execution.id));
    }
    shown
}

/// The machines of these executions.
pub(crate) async fn machines(handle: &Handle, executions: &[CoreExecution]) -> Result<Machines, StateError> {
    Machines::of(handle, executions.iter().flat_map(CoreExecution::workers).collect()).await
}

/// Executions as REST shows them.
pub(crate) async fn executions(
    handle: &Handle,
    executions: &[CoreExecution],
) -> Result<Vec<Execution>, StateError> {
    let machines = machines(handle, executions).await?;
    Ok(executions.iter().map(|execution| machines.show(handle, execution)).collect())
}

/// One execution as REST shows it; the workers that cost nothing tell their part of the timeline too.
pub(crate) async fn execution(handle: &Handle, execution: &CoreExecution) -> Result<Execution, StateError> {
    let mut machines = machines(handle, std::slice::from_ref(execution)).await?;
    for attempt in &execution.attempts {
        if !machines.workers.contains_key(&attempt.worker)
            && let Some(worker) = handle.catalog().worker(attempt.worker).await?
        {
            machines.workers.insert(worker.id, worker);
        }
    }
    Ok(machines.show(handle, execution))
}

/// What workflows that have a budget may cost, and what they have cost this month; by their full names.
pub(crate) async fn budgets<'a>(
    handle: &Handle,
    workflows: impl Iterator<Item = &'a CoreWorkflow>,
) -> Result<BTreeMap<String, Budget>, StateError> {
    let budget = |workflow: &'a CoreWorkflow| match &workflow.definition {
        DefinitionState::Valid(definition) => Some((workflow, definition.config.budget?)),
        DefinitionState::Broken { .. } => None,
    };
    let with: Vec<_> = workflows.filter_map(budget).collect();
    if with.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (workers, now) = (handle.catalog().workers(0).await?, now());
    let show = |(workflow, budget): (&CoreWorkflow, CoreBudget)| {
        let month = cost::month_of(workflow, &workers, now);
        (workflow.qualified_name().to_string(), Budget::new(&budget, Some(month)))
    };
    Ok(with.into_iter().map(show).collect())
}

/// The same of one workflow.
pub(crate) async fn budget(handle: &Handle, workflow: &CoreWorkflow) -> Result<Option<Budget>, StateError> {
    Ok(budgets(handle, std::iter::once(workflow)).await?.into_values().next())
}

/// Workers as REST shows them.
pub(crate) async fn workers(handle: &Handle, workers: &[CoreWorker]) -> Result<Vec<Worker>, StateError> {
    let machines = Machines::of(handle, workers.iter().map(|worker| worker.id).collect()).await?;
    let show = |worker: &CoreWorker| {
        let cost = machines.costs.iter().find(|cost| cost.worker == worker.id);
        Worker::with_cost(worker, cost.map(|cost| cost.total))
    };
    Ok(workers.iter().map(show).collect())
}

fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}
