//! What is committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_runner_core::access::Token;
use data_runner_core::artifact::Artifact;
use data_runner_core::delivery::Delivery;
use data_runner_core::event::{Change, EventRecord, Snapshot};
use data_runner_core::execution::Execution;
use data_runner_core::group::Group;
use data_runner_core::id::{
    ArtifactId, AttemptId, CommitSequence, DeliveryId, Epoch, ExecutionId, GroupId, RepoName, TokenName,
    WorkerId, WorkflowId,
};
use data_runner_core::port::{EventPosition, IdempotencyRecord, StateError};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::{Worker, WorkerStateName};
use data_runner_core::workflow::{NeedsProgress, Repo, ScheduleId, ScheduleProgress, Workflow};

use super::logs::Log;

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) epoch: Epoch,
    pub(super) sequence: CommitSequence,
    pub(super) executions: BTreeMap<ExecutionId, Arc<Execution>>,
    pub(super) workers: BTreeMap<WorkerId, Arc<Worker>>,
    pub(super) workflows: BTreeMap<WorkflowId, Arc<Workflow>>,
    pub(super) repos: BTreeMap<RepoName, Arc<Repo>>,
    pub(super) schedules: BTreeMap<ScheduleId, Arc<ScheduleProgress>>,
    pub(super) needs: BTreeMap<WorkflowId, Arc<NeedsProgress>>,
    pub(super) groups: BTreeMap<GroupId, Arc<Group>>,
    pub(super) deliveries: BTreeMap<DeliveryId, Arc<Delivery>>,
    pub(super) idempotency: BTreeMap<String, IdempotencyRecord>,
    pub(super) hooks: BTreeMap<String, Timestamp>,
    pub(super) artifacts: BTreeMap<ArtifactId, Artifact>,
    pub(super) logs: BTreeMap<AttemptId, Log>,
    pub(super) events: BTreeMap<EventPosition, EventRecord>,
    pub(super) tokens: BTreeMap<TokenName, Token>,
}

impl Tables {
    /// Refuses what comes from an earlier tenure.
    pub(super) fn check(&self, epoch: Epoch) -> Result<(), StateError> {
        if epoch == self.epoch {
            Ok(())
        } else {
            Err(StateError::Fenced { ours: epoch, current: self.epoch })
        }
    }

    /// One commit. Nothing in it can fail, so it is all or nothing.
    pub(super) fn apply(&mut self, at: Timestamp, changes: Vec<Change>) -> CommitSequence {
        self.sequence.0 += 1;
        let mut position = EventPosition { sequence: self.sequence, index: 0 };
        for change in changes {
            match change {
                Change::PutExecution(execution) => {
                    self.executions.insert(execution.id, execution);
                }
                Change::PutWorker(worker) => {
                    self.workers.insert(worker.id, worker);
                }
                Change::PutWorkflow(workflow) => {
                    self.workflows.insert(workflow.id, workflow);
                }
                Change::PutSchedule(progress) => {
                    self.schedules.insert(progress.id.clone(), progress);
                }
                Change::PutRepo(repo) => {
                    self.repos.insert(repo.name.clone(), repo);
                }
                Change::PutNeeds(progress) => {
                    self.needs.insert(progress.workflow, progress);
                }
                Change::PutGroup(group) => {
                    self.groups.insert(group.id, group);
                }
                Change::PutDelivery(delivery) => {
                    self.deliveries.insert(delivery.id, delivery);
                }
                Change::PutIdempotency(record) => {
                    self.idempotency.insert(record.key.clone(), record);
                }
                Change::PutHook(record) => {
                    self.hooks.insert(record.key, record.at);
                }
                Change::ForgetHooks { before } => self.hooks.retain(|_, at| *at >= before),
                Change::PutArtifact(artifact) => {
                    self.artifacts.insert(artifact.id, *artifact);
                }
                Change::ForgetArtifacts { artifacts, before } => {
                    let stays = |it: &Artifact| it.kept_until > before || !artifacts.contains(&it.id);
                    self.artifacts.retain(|_, artifact| stays(artifact));
                }
                Change::OpenLog(claim) => self.logs.entry(claim.attempt).or_default().open(claim.lease),
                Change::CloseLog { attempt, gap } => self.logs.entry(attempt).or_default().close(at, gap),
                Change::Record(record) => {
                    self.events.insert(position, record);
                    position.index += 1;
                }
            }
        }
        self.sequence
    }

    /// Everything that is active.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            sequence: self.sequence,
            executions: self
                .executions
                .values()
                .filter(|execution| !execution.state.name().is_terminal())
                .map(|execution| Execution::clone(execution))
                .collect(),
            workers: self.live_workers().map(Worker::clone).collect(),
            workflows: self.workflows.values().map(|workflow| Workflow::clone(workflow)).collect(),
            repos: self.repos.values().map(|repo| Repo::clone(repo)).collect(),
            schedules: self.schedules.values().map(|it| ScheduleProgress::clone(it)).collect(),
            needs: self.needs.values().map(|it| NeedsProgress::clone(it)).collect(),
            groups: {
                let active = self.groups.values().filter(|it| it.state.ended_at().is_none());
                active.map(|it| Group::clone(it)).collect()
            },
            deliveries: {
                let pending = self.deliveries.values().filter(|it| it.is_pending());
                pending.map(|it| Delivery::clone(it)).collect()
            },
            logs: self
                .logs
                .iter()
                .filter_map(|(attempt, log)| log.open_claim(*attempt).map(|claim| (claim, log.end.offset)))
                .collect(),
        }
    }

    pub(super) fn live_workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers
            .values()
            .map(|worker| &**worker)
            .filter(|worker| worker.state.name() != WorkerStateName::Terminated)
    }
}
