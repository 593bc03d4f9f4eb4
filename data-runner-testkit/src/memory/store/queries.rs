//! What the catalogue answers.

use std::collections::BTreeMap;
use std::ops::Bound;

use data_runner_core::execution::{Attempt, Execution, StateName};
use data_runner_core::id::{AttemptId, ExecutionId, WorkerId};
use data_runner_core::port::{EventQuery, ExecutionQuery, StoredEvent, WorkerWithAttempts};
use data_runner_core::worker::{Worker, WorkerStateName};
use data_runner_core::workflow::Workflow;

use super::tables::Tables;

impl Tables {
    pub(super) fn page(&self, query: &ExecutionQuery) -> Vec<Execution> {
        let older = query.before.map_or(Bound::Unbounded, Bound::Excluded);
        self.executions
            .range((Bound::Unbounded, older))
            .rev()
            .map(|(_, execution)| &**execution)
            .filter(|execution| matches(execution, query))
            .take(query.limit as usize)
            .cloned()
            .collect()
    }

    pub(super) fn by_prefix(&self, prefix: &str, limit: u32) -> Vec<ExecutionId> {
        let starts = |id: &&ExecutionId| id.to_string().starts_with(prefix);
        self.executions.keys().rev().filter(starts).take(limit as usize).copied().collect()
    }

    pub(super) fn workflows_by_name(&self) -> Vec<Workflow> {
        let mut workflows: Vec<Workflow> =
            self.workflows.values().map(|workflow| Workflow::clone(workflow)).collect();
        workflows.sort_by(|a, b| (&a.repo, &a.name, a.id).cmp(&(&b.repo, &b.name, b.id)));
        workflows
    }

    pub(super) fn workers_with(&self, terminated: u32) -> Vec<Worker> {
        let gone = |worker: &&Worker| worker.state.name() == WorkerStateName::Terminated;
        let newest =
            self.workers.values().rev().map(|worker| &**worker).filter(gone).take(terminated as usize);
        let mut workers: Vec<Worker> = self.live_workers().chain(newest).cloned().collect();
        workers.sort_by_key(|worker| worker.id);
        workers
    }

    pub(super) fn workers_that_cost(&self, wanted: &[WorkerId]) -> Vec<WorkerWithAttempts> {
        let priced = |worker: &&Worker| {
            wanted.contains(&worker.id) && worker.launched.as_ref().is_some_and(|it| it.price.is_some())
        };
        self.workers
            .values()
            .map(|worker| &**worker)
            .filter(priced)
            .map(|worker| (worker.clone(), self.attempts_on(worker.id)))
            .collect()
    }

    fn attempts_on(&self, worker: WorkerId) -> Vec<(AttemptId, Attempt)> {
        let all = self.executions.values().flat_map(|execution| {
            execution.attempts.iter().map(|attempt| (execution.attempt_id(attempt.number), attempt))
        });
        all.filter(|(_, attempt)| attempt.worker == worker)
            .map(|(id, attempt)| (id, attempt.clone()))
            .collect()
    }

    pub(super) fn events(&self, query: EventQuery) -> Vec<StoredEvent> {
        self.events
            .range((Bound::Excluded(query.after), Bound::Unbounded))
            .filter(|(_, record)| query.execution.is_none() || record.execution == query.execution)
            .take(query.limit as usize)
            .map(|(position, record)| StoredEvent { position: *position, record: record.clone() })
            .collect()
    }

    /// Every state is named, also those that nothing is in.
    pub(super) fn counts(&self) -> BTreeMap<StateName, u64> {
        let mut counts: BTreeMap<StateName, u64> =
            StateName::ALL.into_iter().map(|state| (state, 0)).collect();
        for execution in self.executions.values() {
            *counts.entry(execution.state.name()).or_default() += 1;
        }
        counts
    }
}

fn matches(execution: &Execution, query: &ExecutionQuery) -> bool {
    let label = |(key, value): &(String, String)| execution.labels.get(key) == Some(value);
    (query.states.is_empty() || query.states.contains(&execution.state.name()))
        && query.workflow.is_none_or(|workflow| execution.workflow_id == workflow)
        && query.label.as_ref().is_none_or(label)
        && query.group.is_none_or(|group| execution.group.is_some_and(|place| place.group == group))
        && query.since.is_none_or(|since| execution.created_at >= since)
        && query.until.is_none_or(|until| execution.created_at < until)
}
