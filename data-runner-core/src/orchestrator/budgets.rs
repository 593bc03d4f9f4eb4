//! What executions and workflows may cost.
//!
//! A run is counted from the launch of its machine, or from the moment at which it is given a warm one; when it will have
//! cost too much is known then, so it is a timer like any other. A month is looked at before each launch, for each
//! candidate with its own price, and before a warm machine is used: what the machines of the workflow have cost, what
//! those that run or are launched are expected to cost beyond that, and what this run is expected to cost, together.

use std::sync::Arc;

use super::attempts::Again;
use super::place::provisioning_worker;
use super::{Orchestrator, Turn};
use crate::cost::{MachinePrice, Money, Month, OnExceed, month_of};
use crate::event::EventKind;
use crate::execution::{Execution, ExecutionState, Failure, FailureCause, RunState, Waiting, WaitingReason};
use crate::id::{ExecutionId, WorkflowId};
use crate::time::Timestamp;
use crate::worker::{Purpose, TerminationCause, Worker, WorkerState};
use crate::workflow::{NotifyOn, Workflow};

/// A workflow would cost more in a month than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OverMonth {
    used: Money,
    needed: Money,
    limit: Money,
}

impl Orchestrator {
    /// What a workflow has cost this month, and what its executions that have machines, or for which one is launched, are
    /// expected to cost beyond that; without one of them.
    fn used_this_month(&self, workflow: WorkflowId, without: ExecutionId, now: Timestamp) -> Money {
        let Some(known) = self.workflows.get(&workflow) else {
            return Money(0);
        };
        let spent = month_of(known, self.workers.values().map(AsRef::as_ref), now);
        let others = self.executions.values().filter(|it| it.workflow_id == workflow && it.id != without);
        others.fold(spent, |sum, execution| sum.plus(self.expected(execution, now)))
    }

    /// What an execution is expected to cost beyond what its machine has cost.
    fn expected(&self, execution: &Execution, now: Timestamp) -> Money {
        let live = execution.state.live().map(|live| live.worker);
        let worker = live.or_else(|| provisioning_worker(execution)).and_then(|id| self.workers.get(&id));
        let (Some(worker), Some(budget)) = (worker, &execution.budget) else {
            return Money(0);
        };
        let launching = || worker.state.candidate().and_then(|candidate| candidate.price);
        let price = worker.launched.as_ref().map_or_else(launching, |launched| launched.price);
        budget.estimate(price).less(execution.spending.on_machine(now))
    }

    fn over_month(
        &self,
        execution: &Execution,
        price: Option<MachinePrice>,
        now: Timestamp,
    ) -> Option<OverMonth> {
        let budget = execution.budget.as_ref()?;
        let limit = budget.budget.per_month?;
        // What costs nothing that anybody knows of exceeds nothing.
        let needed = budget.estimate(Some(price?));
        let used = self.used_this_month(execution.workflow_id, execution.id, now);
        (used >= limit || used.plus(needed) > limit).then_some(OverMonth { used, needed, limit })
    }

    /// Whether an execution may be given a machine that is there already.
    pub(super) fn may_take_warm(&self, worker: &Worker, execution: &Execution, now: Timestamp) -> bool {
        let price = worker.launched.as_ref().and_then(|launched| launched.price);
        let only_told = execution.budget.is_some_and(|it| it.budget.on_exceed == OnExceed::Notify);
        only_told || self.over_month(execution, price, now).is_none()
    }

    /// Whether a machine of that price may be launched for whoever wants it. If not, nobody wants it any more.
    pub(super) fn may_launch(
        &mut self,
        worker: &Arc<Worker>,
        price: Option<MachinePrice>,
        turn: &mut Turn<'_>,
    ) -> bool {
        for id in self.provisioning_for(worker.id) {
            let Some(execution) = self.executions.get(&id).cloned() else { continue };
            let (Some(over), Some(budget)) =
                (self.over_month(&execution, price, turn.now.wall), &execution.budget)
            else {
                continue;
            };
            match budget.budget.on_exceed {
                OnExceed::Notify => self.tell_over_budget(execution, over.to_string(), turn),
                OnExceed::Block => {
                    self.block(worker, execution, over, turn);
                    return false;
                }
                OnExceed::Cancel => {
                    self.tell_over_budget(execution, over.to_string(), turn);
                    let failure = Failure::new(FailureCause::Budget, over.to_string()).hinting(HINT);
                    self.abandon_launch(Arc::clone(worker), failure, Again::Never, turn);
                    return false;
                }
            }
        }
        true
    }

    /// No machine of the worker exists: it ends, and what it was for waits for money.
    fn block(
        &mut self,
        worker: &Arc<Worker>,
        execution: Arc<Execution>,
        over: OverMonth,
        turn: &mut Turn<'_>,
    ) {
        let mut worker = Arc::clone(worker);
        let cause = TerminationCause::LaunchFailed { message: over.to_string() };
        turn.record_worker(worker.id, format!("is not launched: {over}"));
        Arc::make_mut(&mut worker).state = WorkerState::Terminated { cause, at: turn.now.wall };
        self.put_worker(worker, turn);
        let id = execution.id;
        self.tell_over_budget(execution, over.to_string(), turn);
        let Some(mut execution) = self.executions.get(&id).cloned() else {
            return;
        };
        let OverMonth { used, needed, limit } = over;
        let now = turn.now.wall;
        let reason = WaitingReason::Budget { used, needed, limit, until: Month::of(now).end() };
        Arc::make_mut(&mut execution).state =
            ExecutionState::Queued { waiting: Waiting { reason, since: now } };
        self.put_execution(execution, turn);
    }

    /// Tells, once, that an execution costs too much, or its workflow would.
    fn tell_over_budget(&mut self, mut execution: Arc<Execution>, message: String, turn: &mut Turn<'_>) {
        if execution.spending.over_since.is_some() {
            return;
        }
        Arc::make_mut(&mut execution).spending.over_since = Some(turn.now.wall);
        turn.record_execution(EventKind::BudgetExceeded, &execution, message);
        self.notify(&execution, NotifyOn::OverBudget, turn);
        self.put_execution(execution, turn);
    }

    /// Whether an execution has just passed what a run may cost; then that is dealt with.
    pub(super) fn passes_budget(&mut self, execution: &Arc<Execution>, turn: &mut Turn<'_>) -> bool {
        let now = turn.now.wall;
        let Some((limit, _)) = execution.passes_budget().filter(|(_, at)| *at <= now) else {
            return false;
        };
        let message = format!("it has cost {}, and a run may cost {limit}", execution.spending.at(now));
        self.tell_over_budget(Arc::clone(execution), message.clone(), turn);
        let cancels = execution.budget.is_some_and(|it| it.budget.on_exceed == OnExceed::Cancel);
        if !cancels {
            return true;
        }
        match &execution.state {
            ExecutionState::Provisioning { .. } => {
                let failure = Failure::new(FailureCause::Budget, message).hinting(HINT);
                self.fail_unstarted(execution, failure, "it cost too much", turn);
            }
            ExecutionState::Starting { .. } | ExecutionState::Running { run: RunState::Working, .. } => {
                // It is active, so that cannot be refused.
                drop(self.cancel(execution.id, "its budget", turn));
            }
            ExecutionState::Queued { .. }
            | ExecutionState::Running { run: RunState::Stopping(_) | RunState::Finishing { .. }, .. }
            | ExecutionState::Success { .. }
            | ExecutionState::Failed { .. }
            | ExecutionState::Cancelled { .. } => {}
        }
        true
    }

    /// A machine was launched: from then on it is counted for whoever it is for.
    pub(super) fn meter(&mut self, worker: &Worker, turn: &mut Turn<'_>) {
        let Some(launched) = &worker.launched else {
            return;
        };
        let its = |execution: &&Arc<Execution>| {
            let live = execution.state.live().map(|live| live.worker);
            let of = live.or_else(|| provisioning_worker(execution));
            execution.budget.is_some() && of == Some(worker.id)
        };
        let executions: Vec<Arc<Execution>> = self.executions.values().filter(its).cloned().collect();
        for mut execution in executions {
            Arc::make_mut(&mut execution).spending.begin(launched.at, launched.price);
            self.put_execution(execution, turn);
        }
    }

    /// A machine is gone: what it cost is kept with its workflow.
    pub(super) fn count_machine(&mut self, worker: &Worker, turn: &mut Turn<'_>) {
        let priced = worker.launched.as_ref().is_some_and(|launched| launched.price.is_some());
        let Purpose::Workflow { workflow, .. } = &worker.purpose else {
            return;
        };
        let Some(known) = self.workflows.get(workflow).filter(|_| priced) else {
            return;
        };
        let mut changed = Workflow::clone(known);
        changed.spent.add(worker, turn.now.wall);
        self.line.ease(changed.id);
        self.put_workflow(changed, turn);
    }

    /// Lets those go on for which there is money again: what ended may have cost less than was expected.
    pub(super) fn retell_budgets(&mut self, turn: &mut Turn<'_>) {
        for (workflow, blocked) in self.line.take_eased() {
            let mut more = Money(0);
            for id in blocked {
                let Some(mut execution) = self.executions.get(&id).cloned() else { continue };
                let ExecutionState::Queued {
                    waiting: Waiting { reason: WaitingReason::Budget { needed, limit, .. }, .. },
                } = execution.state
                else {
                    continue;
                };
                let used = self.used_this_month(workflow, id, turn.now.wall).plus(more);
                if used >= limit || used.plus(needed) > limit {
                    break;
                }
                more = more.plus(needed);
                let waiting = Waiting { reason: self.why_waiting(), since: turn.now.wall };
                Arc::make_mut(&mut execution).state = ExecutionState::Queued { waiting };
                self.put_execution(execution, turn);
                self.retell_place(id, turn);
            }
        }
    }
}

const HINT: &str = "raise `budget` in config.yaml, or see where the money goes: data-runner cost";

/// Why an execution failed that was stopped for what it cost; `None` if that is not why.
pub(super) fn stopped_by_budget(execution: &Execution) -> Option<Failure> {
    let budget = execution.budget.as_ref()?.budget;
    let limit = budget.per_run.filter(|_| budget.on_exceed == OnExceed::Cancel)?;
    let at = execution.spending.over_since?;
    let cost = execution.spending.at(at);
    let message = format!("it was stopped by its budget: it has cost {cost}, and a run may cost {limit}");
    Some(Failure::new(FailureCause::Budget, message).hinting(HINT))
}

impl std::fmt::Display for OverMonth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { used, needed, limit } = self;
        write!(f, "its workflow may cost {limit} a month; {used} are used, and it needs {needed}")
    }
}
