//! One turn of the Orchestrator: what it was given, and what it has decided so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Answer, Change, Effect, EventKind, EventRecord, Outcome, ReplyTo};
use crate::execution::Execution;
use crate::id::{DeliveryId, ExecutionId, GroupId, SessionId, WorkerId, WorkflowId};
use crate::message::SupervisorMessage;
use crate::time::{Entropy, Now};
use crate::worker::Worker;
use crate::workflow::{ScheduleId, Workflow};

pub(super) struct Turn<'a> {
    pub(super) now: Now,
    pub(super) entropy: &'a mut Entropy,
    outcome: Outcome,
}

impl<'a> Turn<'a> {
    pub(super) fn new(now: Now, entropy: &'a mut Entropy) -> Self {
        Self { now, entropy, outcome: Outcome::default() }
    }

    pub(super) fn finish(self) -> Outcome {
        self.outcome
    }

    pub(super) fn change(&mut self, change: Change) {
        self.outcome.changes.push(change);
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.outcome.effects.push(effect);
    }

    pub(super) fn reply(&mut self, to: ReplyTo, answer: Answer) {
        self.effect(Effect::Reply { to, answer });
    }

    pub(super) fn send(&mut self, session: SessionId, message: SupervisorMessage) {
        self.effect(Effect::Send { session, message: Box::new(message) });
    }

    pub(super) fn record_execution(
        &mut self,
        kind: EventKind,
        execution: &Execution,
        message: impl Into<String>,
    ) {
        let worker = execution.state.live().map(|live| live.worker);
        self.change(Change::Record(EventRecord {
            at: self.now.wall,
            kind,
            execution: Some(execution.id),
            workflow: Some(execution.workflow_id),
            worker,
            message: message.into(),
        }));
    }

    pub(super) fn record_worker(&mut self, worker: WorkerId, message: impl Into<String>) {
        self.change(Change::Record(EventRecord {
            at: self.now.wall,
            kind: EventKind::WorkerChanged,
            execution: None,
            workflow: None,
            worker: Some(worker),
            message: message.into(),
        }));
    }

    pub(super) fn record_workflow(&mut self, workflow: &Workflow, message: impl Into<String>) {
        self.change(Change::Record(EventRecord {
            at: self.now.wall,
            kind: EventKind::WorkflowChanged,
            execution: None,
            workflow: Some(workflow.id),
            worker: None,
            message: message.into(),
        }));
    }

    pub(super) fn record_start(&mut self, kind: EventKind, workflow: WorkflowId, message: String) {
        self.change(Change::Record(EventRecord {
            at: self.now.wall,
            kind,
            execution: None,
            workflow: Some(workflow),
            worker: None,
            message,
        }));
    }

    pub(super) fn record_repo(&mut self, message: impl Into<String>) {
        self.change(Change::Record(EventRecord {
            at: self.now.wall,
            kind: EventKind::RepoChanged,
            execution: None,
            workflow: None,
            worker: None,
            message: message.into(),
        }));
    }

    pub(super) fn put_worker(&mut self, worker: &Arc<Worker>) {
        self.change(Change::PutWorker(Arc::clone(worker)));
    }
}

impl Outcome {
    /// Adds what was decided after this.
    pub fn append(&mut self, mut later: Self) {
        self.changes.append(&mut later.changes);
        self.effects.append(&mut later.effects);
    }

    /// Of several changes that put the same thing, keeps the last, in the place of the first: they are committed
    /// together anyway, and what refers to the thing comes after it.
    pub fn coalesce(&mut self) {
        let mut places: BTreeMap<Thing, usize> = BTreeMap::new();
        let mut kept: Vec<Change> = Vec::with_capacity(self.changes.len());
        for change in std::mem::take(&mut self.changes) {
            let thing = match &change {
                Change::PutExecution(execution) => Thing::Execution(execution.id),
                Change::PutWorker(worker) => Thing::Worker(worker.id),
                Change::PutWorkflow(workflow) => Thing::Workflow(workflow.id),
                Change::PutSchedule(progress) => Thing::Schedule(progress.id.clone()),
                Change::PutNeeds(progress) => Thing::Needs(progress.workflow),
                Change::PutGroup(group) => Thing::Group(group.id),
                Change::PutDelivery(delivery) => Thing::Delivery(delivery.id),
                Change::PutRepo(_)
                | Change::PutIdempotency(_)
                | Change::PutHook(_)
                | Change::ForgetHooks { .. }
                | Change::PutArtifact(_)
                | Change::ForgetArtifacts { .. }
                | Change::OpenLog(_)
                | Change::CloseLog { .. }
                | Change::Record(_) => {
                    kept.push(change);
                    continue;
                }
            };
            match places.get(&thing).and_then(|&place| kept.get_mut(place)) {
                Some(earlier) => *earlier = change,
                None => {
                    places.insert(thing, kept.len());
                    kept.push(change);
                }
            }
        }
        self.changes = kept;
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Execution(ExecutionId),
    Worker(WorkerId),
    Workflow(WorkflowId),
    Schedule(ScheduleId),
    Needs(WorkflowId),
    Group(GroupId),
    Delivery(DeliveryId),
}
