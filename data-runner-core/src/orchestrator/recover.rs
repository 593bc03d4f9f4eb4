//! Rebuilding the Orchestrator from what the store has.
//!
//! Recovery is level-triggered: nothing is remembered of effects that were under way. A worker that is being launched is
//! launched again as the same candidate, one that is being terminated is terminated again, an attempt that its agent
//! does not know yet is assigned again when the agent says Hello. The first tick asks for all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::line::Line;
use super::needs::Needs;
use super::schedules::Schedules;
use super::starts::Starts;
use super::{Liveness, Orchestrator, Policy, Stage};
use crate::delivery::Delivery;
use crate::event::Snapshot;
use crate::execution::Execution;
use crate::group::Group;
use crate::id::{DeliveryId, Epoch, ExecutionId, GroupId, RepoName, WorkerId, WorkflowId};
use crate::time::Now;
use crate::worker::Worker;
use crate::workflow::{NeedsProgress, Repo, ScheduleId, ScheduleProgress, Workflow};

/// All that outlives the process. After each commit this equals what recovering from the store gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Durable {
    /// Executions that have not ended.
    pub executions: BTreeMap<ExecutionId, Arc<Execution>>,
    /// Workers that are not terminated.
    pub workers: BTreeMap<WorkerId, Arc<Worker>>,
    /// All workflows.
    pub workflows: BTreeMap<WorkflowId, Arc<Workflow>>,
    /// All repositories.
    pub repos: BTreeMap<RepoName, Arc<Repo>>,
    /// All schedules.
    pub schedules: BTreeMap<ScheduleId, Arc<ScheduleProgress>>,
    /// What has succeeded for each workflow that needs others.
    pub needs: BTreeMap<WorkflowId, Arc<NeedsProgress>>,
    /// Groups that have not ended.
    pub groups: BTreeMap<GroupId, Arc<Group>>,
    /// Deliveries that are pending.
    pub deliveries: BTreeMap<DeliveryId, Arc<Delivery>>,
}

impl Orchestrator {
    /// The Orchestrator as the store knows it. Liveness begins now: who was silent while no supervisor listened is not
    /// to blame.
    pub fn recover(snapshot: Snapshot, policy: Policy, epoch: Epoch, now: Now) -> Self {
        let mut orchestrator = Self {
            policy,
            epoch,
            stage: Stage::Serving,
            executions: BTreeMap::new(),
            workers: BTreeMap::new(),
            workflows: snapshot
                .workflows
                .into_iter()
                .map(|workflow| (workflow.id, Arc::new(workflow)))
                .collect(),
            repos: snapshot.repos.into_iter().map(|repo| (repo.name.clone(), Arc::new(repo))).collect(),
            line: Line::default(),
            timers: BTreeSet::new(),
            late: BTreeSet::new(),
            logs: snapshot.logs.into_iter().map(|(claim, stored)| (claim.attempt, stored)).collect(),
            liveness: BTreeMap::new(),
            strangers: BTreeMap::new(),
            last_list: None,
            swept: None,
            pause: None,
            keys: BTreeMap::new(),
            hooks: BTreeSet::new(),
            schedules: Schedules::default(),
            needs: Needs::default(),
            starts: Starts::default(),
            moved_groups: snapshot.groups.iter().map(|group| group.id).collect(),
            groups: snapshot.groups.into_iter().map(|it| (it.id, Arc::new(it))).collect(),
            deliveries: snapshot.deliveries.into_iter().map(|it| (it.id, Arc::new(it))).collect(),
        };
        for execution in snapshot.executions {
            orchestrator.index_execution(&Arc::new(execution));
        }
        orchestrator.recover_schedules(snapshot.schedules);
        orchestrator.recover_needs(snapshot.needs);
        for worker in snapshot.workers {
            orchestrator.liveness.insert(worker.id, Liveness::new(now.mono));
            orchestrator.workers.insert(worker.id, Arc::new(worker));
        }
        orchestrator
    }

    /// What outlives the process.
    pub fn durable(&self) -> Durable {
        Durable {
            executions: self.executions.clone(),
            workers: self.workers.clone(),
            workflows: self.workflows.clone(),
            repos: self.repos.clone(),
            schedules: self.schedules().clone(),
            needs: self.needs().clone(),
            groups: self.groups.clone(),
            deliveries: self.deliveries.clone(),
        }
    }
}
