//! Who is next: one line for all executions, with the limits of their keys. Nothing here is stored; all of it follows
//! from the executions.
//!
//! What has begun to run counts under its key until it has ended, whatever happens to it meanwhile. Of those that wait
//! under one key, only the first of the line may start, as long as the limit of each leaves room: one with a higher limit
//! never overtakes one with a lower.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use super::attempts::{Again, fail};
use super::place::provisioning_worker;
use super::{Orchestrator, Turn};
use crate::event::{Rejection, listed};
use crate::execution::{
    ConcurrencyKey, Execution, ExecutionState, Failure, FailureCause, OnConflict, Queueing, RunState,
    Waiting, WaitingReason,
};
use crate::id::{ExecutionId, GroupId, WorkflowId};
use crate::time::Timestamp;
use crate::worker::WorkerState;
use crate::yaml::write_duration;

/// A place in line: the earliest is next.
pub(super) type Place = (Timestamp, ExecutionId);

/// Everything that waits for a worker.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    /// What may start now.
    ready: BTreeSet<Place>,
    keys: BTreeMap<ConcurrencyKey, UnderKey>,
    /// What waits for its workflow to have money left.
    blocked: BTreeMap<WorkflowId, BTreeSet<Place>>,
    /// Workflows of which less may be used than was.
    eased: BTreeSet<WorkflowId>,
    /// What may start since it was last told so, or may not any more.
    moved: BTreeSet<ExecutionId>,
}

/// The executions under one key that have not ended.
#[derive(Debug, Clone, Default)]
struct UnderKey {
    all: BTreeSet<ExecutionId>,
    running: BTreeSet<ExecutionId>,
    waiting: BTreeMap<Place, NonZeroU32>,
    /// Those of `waiting` that are in `ready`.
    admitted: BTreeSet<Place>,
}

impl Line {
    /// What may start now, the first of the line first.
    pub(super) fn ready(&self) -> &BTreeSet<Place> {
        &self.ready
    }

    /// How many wait for others of their key.
    pub(super) fn held_back(&self) -> usize {
        self.keys.values().map(|key| key.waiting.len() - key.admitted.len()).sum()
    }

    /// An execution has changed, ended (then there is no `after`), or is new (no `before`).
    pub(super) fn update(&mut self, before: Option<&Execution>, after: Option<&Execution>) {
        if let Some(before) = before {
            self.remove(before);
        }
        if let Some(after) = after {
            self.insert(after);
        }
        if before.is_some_and(has_machine) && !after.is_some_and(has_machine) {
            self.eased.extend(before.map(|before| before.workflow_id));
        }
        if let Some(key) = before.or(after).and_then(Execution::concurrency_key) {
            self.admit(&key);
        }
    }

    fn remove(&mut self, execution: &Execution) {
        let place = place(execution);
        self.ready.remove(&place);
        if let Some(blocked) = self.blocked.get_mut(&execution.workflow_id) {
            blocked.remove(&place);
        }
        if let Some(key) = execution.concurrency_key()
            && let Some(under) = self.keys.get_mut(&key)
        {
            under.all.remove(&execution.id);
            under.running.remove(&execution.id);
            under.waiting.remove(&place);
        }
    }

    fn insert(&mut self, execution: &Execution) {
        let place = place(execution);
        let begun = execution.has_begun();
        if waits_for_budget(execution) {
            self.blocked.entry(execution.workflow_id).or_default().insert(place);
        }
        if let (Some(key), Some(rule)) = (execution.concurrency_key(), &execution.queueing.concurrency) {
            let under = self.keys.entry(key).or_default();
            under.all.insert(execution.id);
            if begun {
                under.running.insert(execution.id);
            } else if wants_worker(execution) {
                under.waiting.insert(place, rule.limit);
            }
            if !begun {
                return;
            }
        }
        if wants_worker(execution) {
            self.ready.insert(place);
        }
    }

    /// Finds again who may start under a key.
    fn admit(&mut self, key: &ConcurrencyKey) {
        let Some(under) = self.keys.get_mut(key) else {
            return;
        };
        if under.all.is_empty() {
            self.keys.remove(key);
            return;
        }
        let admitted = (under.running.len()..)
            .zip(&under.waiting)
            .take_while(|(taken, (_, limit))| *taken < limit.get() as usize)
            .map(|(_, (place, _))| *place)
            .collect();
        let before = std::mem::replace(&mut under.admitted, admitted);
        for place in &before {
            self.ready.remove(place);
        }
        self.ready.extend(&under.admitted);
        self.moved.extend(before.symmetric_difference(&under.admitted).map(|(_, id)| *id));
    }

    /// Less of a workflow's budget may be used than was.
    pub(super) fn ease(&mut self, workflow: WorkflowId) {
        self.eased.insert(workflow);
    }

    /// What waits for money that may be there now, in order.
    pub(super) fn take_eased(&mut self) -> Vec<(WorkflowId, Vec<ExecutionId>)> {
        self.blocked.retain(|_, blocked| !blocked.is_empty());
        let of = |workflow: WorkflowId| {
            let blocked = self.blocked.get(&workflow).into_iter().flatten();
            (workflow, blocked.map(|(_, id)| *id).collect())
        };
        std::mem::take(&mut self.eased).into_iter().map(of).collect()
    }

    fn running(&self, key: &ConcurrencyKey) -> Vec<ExecutionId> {
        self.keys.get(key).map(|under| under.running.iter().copied().collect()).unwrap_or_default()
    }

    fn all(&self, key: &ConcurrencyKey) -> Vec<ExecutionId> {
        self.keys.get(key).map(|under| under.all.iter().copied().collect()).unwrap_or_default()
    }
}

impl Orchestrator {
    /// Which executions run under each key. They count from their first launch or assignment until they have ended.
    pub fn running_under_keys(&self) -> BTreeMap<ConcurrencyKey, BTreeSet<ExecutionId>> {
        let keys = self.line.keys.iter().filter(|(_, under)| !under.running.is_empty());
        keys.map(|(key, under)| (key.clone(), under.running.clone())).collect()
    }

    /// What a new execution means for others of its key: it is refused, or they are cancelled, or it will wait for them.
    /// Members of one group always wait for each other.
    pub(super) fn make_way(
        &mut self,
        workflow: WorkflowId,
        queueing: &Queueing,
        group: Option<GroupId>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Rejection> {
        let Some(rule) = &queueing.concurrency else {
            return Ok(());
        };
        let key = ConcurrencyKey { workflow, key: rule.key.clone() };
        let limit = rule.limit.get() as usize;
        let mut others = self.line.all(&key);
        others.retain(|id| group.is_none() || self.group_of(*id) != group);
        match rule.on_conflict {
            OnConflict::Queue => Ok(()),
            OnConflict::Skip if others.len() < limit => Ok(()),
            OnConflict::Skip => Err(Rejection::Skipped { key: rule.key.clone(), limit: rule.limit, others }),
            OnConflict::CancelRunning => {
                let staying: Vec<ExecutionId> =
                    others.into_iter().filter(|id| !self.is_stopping(*id)).collect();
                let spare = (staying.len() + 1).saturating_sub(limit);
                for id in staying.into_iter().take(spare) {
                    self.cancel(id, "concurrency", turn)?;
                }
                Ok(())
            }
        }
    }

    fn group_of(&self, id: ExecutionId) -> Option<GroupId> {
        Some(self.executions.get(&id)?.group?.group)
    }

    fn is_stopping(&self, id: ExecutionId) -> bool {
        let Some(execution) = self.executions.get(&id) else {
            return false;
        };
        match &execution.state {
            ExecutionState::Starting { stop, .. }
            | ExecutionState::Running { run: RunState::Finishing { stop, .. }, .. } => stop.is_some(),
            ExecutionState::Running { run: RunState::Stopping(_), .. } => true,
            ExecutionState::Running { run: RunState::Working, .. }
            | ExecutionState::Queued { .. }
            | ExecutionState::Provisioning { .. }
            | ExecutionState::Success { .. }
            | ExecutionState::Failed { .. }
            | ExecutionState::Cancelled { .. } => false,
        }
    }

    /// An execution has waited for as long as it may to be started.
    pub(super) fn fail_waiting(&mut self, execution: &Execution, turn: &mut Turn<'_>) {
        let within = execution.queueing.start_within.map(write_duration).unwrap_or_default();
        let why = self.what_it_waits_for(execution);
        let message = format!("it was not started within {within}: {why}");
        let failure = Failure::new(FailureCause::NoCapacity, message)
            .hinting("raise `start_within` in config.yaml if it may wait for longer");
        self.fail_unstarted(execution, failure, "it took too long", turn);
    }

    /// Fails what has no attempt yet, and lets its machine go.
    pub(super) fn fail_unstarted(
        &mut self,
        execution: &Execution,
        failure: Failure,
        why: &str,
        turn: &mut Turn<'_>,
    ) {
        let id = execution.id;
        let wanted = provisioning_worker(execution);
        if let Some(worker) = wanted.and_then(|worker| self.workers.get(&worker).cloned()) {
            self.note_try(id, &worker, why, turn);
        }
        let Some(mut execution) = self.executions.get(&id).cloned() else {
            return;
        };
        fail(Arc::make_mut(&mut execution), failure, Again::Never, turn);
        self.put_execution(execution, turn);
        if let Some(worker) = wanted {
            self.unwant(worker, turn);
        }
    }

    fn what_it_waits_for(&self, execution: &Execution) -> String {
        if let ExecutionState::Queued { waiting } = &execution.state {
            let others = match (&waiting.reason, execution.concurrency_key()) {
                (WaitingReason::Concurrency { .. }, Some(key)) => self.line.running(&key),
                (_, _) => Vec::new(),
            };
            return match others.as_slice() {
                [] => waiting.reason.to_string(),
                others => format!("{}, and there is {}", waiting.reason, listed(others)),
            };
        }
        let worker = provisioning_worker(execution).and_then(|worker| self.workers.get(&worker));
        match worker.map(|worker| &worker.state) {
            Some(WorkerState::Planning { .. }) | None => "a machine was being looked for".to_owned(),
            Some(WorkerState::Launching { candidate, .. }) => {
                format!("{} was being launched", candidate.label)
            }
            Some(WorkerState::Booting { candidate, .. }) => format!("{} was booting", candidate.label),
            Some(
                WorkerState::Idle { .. }
                | WorkerState::Busy { .. }
                | WorkerState::Draining { .. }
                | WorkerState::Terminating { .. }
                | WorkerState::Terminated { .. },
            ) => "its machine was not ready".to_owned(),
        }
    }

    /// Tells those whose turn has come, or who have to wait for others now.
    pub(super) fn retell_line(&mut self, turn: &mut Turn<'_>) {
        for id in std::mem::take(&mut self.line.moved) {
            self.retell_place(id, turn);
        }
    }

    /// Tells an execution whether it waits for others of its key.
    pub(super) fn retell_place(&mut self, id: ExecutionId, turn: &mut Turn<'_>) {
        let Some(mut execution) = self.executions.get(&id).cloned() else {
            return;
        };
        let ExecutionState::Queued { waiting } = &execution.state else {
            return;
        };
        let held_back = wants_worker(&execution) && !self.line.ready.contains(&place(&execution));
        if held_back == matches!(waiting.reason, WaitingReason::Concurrency { .. }) {
            return;
        }
        let reason = match execution.queueing.concurrency.as_ref().filter(|_| held_back) {
            Some(rule) => WaitingReason::Concurrency { key: rule.key.clone(), limit: rule.limit },
            None => self.why_waiting(),
        };
        let waiting = Waiting { reason, since: turn.now.wall };
        Arc::make_mut(&mut execution).state = ExecutionState::Queued { waiting };
        self.put_execution(execution, turn);
    }
}

/// Whether it has a machine, or one is launched for it.
const fn has_machine(execution: &Execution) -> bool {
    match execution.state {
        ExecutionState::Provisioning { .. }
        | ExecutionState::Starting { .. }
        | ExecutionState::Running { .. } => true,
        ExecutionState::Queued { .. }
        | ExecutionState::Success { .. }
        | ExecutionState::Failed { .. }
        | ExecutionState::Cancelled { .. } => false,
    }
}

fn place(execution: &Execution) -> Place {
    (execution.rank(), execution.id)
}

/// Whether it waits for its workflow to have money left.
fn waits_for_budget(execution: &Execution) -> bool {
    matches!(
        execution.state,
        ExecutionState::Queued { waiting: Waiting { reason: WaitingReason::Budget { .. }, .. } }
    )
}

/// Whether it waits for a worker, and for nothing before that.
fn wants_worker(execution: &Execution) -> bool {
    match &execution.state {
        ExecutionState::Queued { waiting } => match waiting.reason {
            WaitingReason::Worker
            | WaitingReason::WorkerLimit { .. }
            | WaitingReason::Concurrency { .. }
            | WaitingReason::Hold { .. }
            | WaitingReason::Draining => true,
            WaitingReason::Backoff { .. } | WaitingReason::Budget { .. } => false,
        },
        ExecutionState::Provisioning { .. }
        | ExecutionState::Starting { .. }
        | ExecutionState::Running { .. }
        | ExecutionState::Success { .. }
        | ExecutionState::Failed { .. }
        | ExecutionState::Cancelled { .. } => false,
    }
}
