//! Who runs what where: queued executions to free slots, and workers to where they are missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::line::Place;
use super::wish::wanted_compute;
use super::{Orchestrator, Policy, Pool, Turn};
use crate::event::{Change, EventKind};
use crate::execution::{Attempt, Execution, ExecutionState, LiveAttempt, Phase, Phases};
use crate::id::{AttemptNumber, Claim, ExecutionId, Lease, SessionId, WorkerId};
use crate::log::LogOffset;
use crate::message::{Assign, SupervisorMessage};
use crate::time::{Mono, Timestamp};
use crate::worker::{MachineRequest, Origin, Purpose, TerminationCause, Worker, WorkerState};

/// (attempts that it has, worker) → slots that are free.
type FreeSlots = BTreeMap<(u32, WorkerId), u32>;

impl Orchestrator {
    /// Gives queued executions to connected workers with free slots: in the order of the line, to the least loaded.
    pub(super) fn place(&mut self, turn: &mut Turn<'_>) {
        if self.is_ending() {
            return;
        }
        self.place_provisioned(turn);
        let mut free = self.free_slots(turn.now.mono);
        self.place_ready(&mut free, turn);
        self.place_planned(&mut free, turn);
    }

    fn place_ready(&mut self, free: &mut FreeSlots, turn: &mut Turn<'_>) {
        let mut next = self.line.ready().first().copied();
        while let Some(place) = next {
            if free.is_empty() {
                return;
            }
            if let Some(execution) = self.executions.get(&place.1).cloned()
                && let Some(worker) = self.take_slot(&execution, free, turn.now.wall)
            {
                self.assign(execution, worker, turn);
            }
            next = self
                .line
                .ready()
                .range((std::ops::Bound::Excluded(place), std::ops::Bound::Unbounded))
                .next()
                .copied();
        }
    }

    /// Executions for which a machine is only planned take one that has become free.
    fn place_planned(&mut self, free: &mut FreeSlots, turn: &mut Turn<'_>) {
        if free.is_empty() || !matches!(self.policy.pool, Pool::PerExecution { .. }) {
            return;
        }
        let mut planned: Vec<(Arc<Execution>, WorkerId)> = self
            .executions
            .values()
            .filter_map(|execution| {
                let worker = self.workers.get(&provisioning_worker(execution)?)?;
                let planned = matches!(worker.state, WorkerState::Planning { .. });
                planned.then(|| (Arc::clone(execution), worker.id))
            })
            .collect();
        planned.sort_by_key(|(execution, _)| (execution.rank(), execution.id));
        for (execution, planned) in planned {
            if let Some(worker) = self.take_slot(&execution, free, turn.now.wall) {
                self.assign(execution, worker, turn);
                self.unwant(planned, turn);
            }
        }
    }

    fn take_slot(&self, execution: &Execution, free: &mut FreeSlots, now: Timestamp) -> Option<WorkerId> {
        let &(load, worker) = free.keys().find(|(_, id)| self.fits(*id, execution, now))?;
        let slots = free.remove(&(load, worker)).unwrap_or(0);
        if slots > 1 {
            free.insert((load + 1, worker), slots - 1);
        }
        Some(worker)
    }

    /// Executions whose own worker has connected.
    fn place_provisioned(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.policy.pool, Pool::PerExecution { .. }) {
            return;
        }
        let waiting: Vec<(ExecutionId, WorkerId)> = self
            .executions
            .values()
            .filter_map(|execution| match execution.state {
                ExecutionState::Provisioning { worker, .. } => Some((execution.id, worker)),
                ExecutionState::Queued { .. }
                | ExecutionState::Starting { .. }
                | ExecutionState::Running { .. }
                | ExecutionState::Success { .. }
                | ExecutionState::Failed { .. }
                | ExecutionState::Cancelled { .. } => None,
            })
            .collect();
        for (execution, id) in waiting {
            let Some(worker) = self.workers.get(&id) else {
                continue;
            };
            if !matches!(worker.state, WorkerState::Idle { .. }) || self.session_of(id).is_none() {
                continue;
            }
            let Some(execution) = self.executions.get(&execution).cloned() else {
                continue;
            };
            if self.has_time(worker, &execution, turn.now.wall) {
                self.assign(execution, id, turn);
            } else {
                // It came so late, since nobody was there to see it, that its time would be over before the job's.
                self.begin_termination(id, TerminationCause::Deadline, turn);
            }
        }
    }

    /// Connected workers that can take more: (attempts they have, worker) → free slots.
    fn free_slots(&self, now: Mono) -> FreeSlots {
        let reserved: Vec<WorkerId> = match self.policy.pool {
            Pool::PerExecution { .. } => {
                self.executions.values().filter_map(|e| provisioning_worker(e)).collect()
            }
            Pool::None | Pool::Shared { .. } => Vec::new(),
        };
        let mut free = BTreeMap::new();
        for worker in self.workers.values() {
            let load = match &worker.state {
                WorkerState::Idle { .. } => 0,
                WorkerState::Busy { attempts, .. } => u32::try_from(attempts.len()).unwrap_or(u32::MAX),
                WorkerState::Planning { .. }
                | WorkerState::Launching { .. }
                | WorkerState::Booting { .. }
                | WorkerState::Draining { .. }
                | WorkerState::Terminating { .. }
                | WorkerState::Terminated { .. } => continue,
            };
            let slots = worker.slots.saturating_sub(load);
            let speaks = self.session_of(worker.id).is_some()
                && self
                    .liveness
                    .get(&worker.id)
                    .is_some_and(|it| now.since(it.heard) < self.policy.suspect_after);
            if slots > 0 && !reserved.contains(&worker.id) && speaks {
                free.insert((load, worker.id), slots);
            }
        }
        free
    }

    fn fits(&self, worker: WorkerId, execution: &Execution, now: Timestamp) -> bool {
        let Some(worker) = self.workers.get(&worker) else {
            return false;
        };
        let able = worker
            .facts
            .as_ref()
            .is_some_and(|facts| facts.worker_types.contains(&execution.job.worker_type));
        let meant = match &worker.purpose {
            Purpose::Any => true,
            Purpose::Workflow { workflow, request, .. } => {
                *workflow == execution.workflow_id
                    && request.instance_size == execution.size()
                    && request.worker_type.as_ref().is_none_or(|it| *it == execution.job.worker_type)
                    && request.compute == wanted_compute(execution)
            }
        };
        able && meant && self.has_time(worker, execution, now) && self.may_take_warm(worker, execution, now)
    }

    /// Whether the execution can end before the worker's machine must be gone.
    fn has_time(&self, worker: &Worker, execution: &Execution, now: Timestamp) -> bool {
        let needed = self.policy.time_needed(execution);
        worker.deadline().is_none_or(|deadline| now.after(needed) <= deadline)
    }

    fn assign(&mut self, mut execution: Arc<Execution>, id: WorkerId, turn: &mut Turn<'_>) {
        let Some(session) = self.session_of(id) else {
            return;
        };
        let Some(mut worker) = self.workers.get(&id).cloned() else {
            return;
        };
        let now = turn.now.wall;
        let number = execution.latest_attempt().map_or(AttemptNumber::FIRST, |latest| latest.number.next());
        let lease = Lease::generate(now, turn.entropy);
        let live = LiveAttempt { number, worker: id, lease };
        let claim = live.claim(execution.id);

        let mut phases = Phases::default();
        let queued_since = match &execution.state {
            ExecutionState::Queued { waiting } => waiting.since,
            ExecutionState::Provisioning { since, .. } => *since,
            ExecutionState::Starting { .. }
            | ExecutionState::Running { .. }
            | ExecutionState::Success { .. }
            | ExecutionState::Failed { .. }
            | ExecutionState::Cancelled { .. } => return,
        };
        phases.record(Phase::Queued, queued_since);
        let launched_for_it = match &worker.purpose {
            Purpose::Any => worker.origin == Origin::Provisioned && worker.created_at >= execution.created_at,
            Purpose::Workflow { .. } => provisioning_worker(&execution) == Some(id),
        };
        if launched_for_it {
            let at = worker.launched.as_ref().map_or(worker.created_at, |launched| launched.at);
            phases.record(Phase::Launched, at);
        }
        let changed = Arc::make_mut(&mut execution);
        changed.attempts.push(Attempt { number, worker: id, lease, phases, packages: None, end: None });
        changed.state = ExecutionState::Starting { live, stop: None };
        changed.start_by = None;
        if changed.budget.is_some() {
            changed.spending.begin(now, worker.launched.as_ref().and_then(|launched| launched.price));
        }
        turn.record_execution(
            EventKind::ExecutionStarting,
            &execution,
            format!("assigned as attempt {number}"),
        );
        self.put_execution(Arc::clone(&execution), turn);

        let changed = Arc::make_mut(&mut worker);
        match &mut changed.state {
            WorkerState::Idle { machine, candidate, .. } => {
                changed.state = WorkerState::Busy {
                    machine: machine.take(),
                    candidate: candidate.take(),
                    attempts: BTreeMap::from([(claim.attempt, lease)]),
                };
            }
            WorkerState::Busy { attempts, .. } => {
                attempts.insert(claim.attempt, lease);
            }
            WorkerState::Planning { .. }
            | WorkerState::Launching { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Terminating { .. }
            | WorkerState::Terminated { .. } => {}
        }
        self.put_worker(worker, turn);
        self.logs.insert(claim.attempt, LogOffset(0));
        turn.change(Change::OpenLog(claim));
        self.send_assign(&execution, claim, session, turn);
    }

    pub(super) fn send_assign(
        &self,
        execution: &Execution,
        claim: Claim,
        session: SessionId,
        turn: &mut Turn<'_>,
    ) {
        let job = execution.job_again();
        turn.send(session, SupervisorMessage::Assign(Assign { claim, epoch: self.epoch, job }));
    }

    /// The most workers that the pool may have.
    pub(super) fn worker_limit(&self) -> Option<u32> {
        match self.policy.pool {
            Pool::None => None,
            Pool::Shared { max, .. } | Pool::PerExecution { max } => Some(max),
        }
    }

    /// Workers that we started and that are not proved gone.
    pub(super) fn provisioned_count(&self) -> u32 {
        let ours = self.workers.values().filter(|worker| worker.origin == Origin::Provisioned).count();
        u32::try_from(ours).unwrap_or(u32::MAX)
    }

    /// Asks for workers where they are missing, and lets those go that nobody needs.
    pub(super) fn fill_pool(&mut self, turn: &mut Turn<'_>) {
        if self.is_ending() || self.pause.as_ref().is_some_and(|pause| turn.now.mono < pause.until) {
            return;
        }
        match self.policy.pool.clone() {
            Pool::None => {}
            Pool::Shared { min, max, slots, .. } => {
                let active = self.executions.len().saturating_sub(self.line.held_back());
                let active = u32::try_from(active).unwrap_or(u32::MAX);
                let wanted = active.div_ceil(slots.max(1)).clamp(min, max.max(min));
                for _ in self.provisioned_count()..wanted {
                    let worker = self.want_worker(Purpose::Any, slots, turn);
                    self.ask_plan(worker.id, Self::request_of(&worker), turn);
                }
            }
            Pool::PerExecution { max } => self.provision_each(max, turn),
        }
    }

    fn provision_each(&mut self, max: u32, turn: &mut Turn<'_>) {
        let room = max.saturating_sub(self.provisioned_count()) as usize;
        let waiting: Vec<Place> = self.line.ready().iter().copied().take(room).collect();
        let without = self.line.ready().len().saturating_sub(room);
        for place in waiting {
            // The one before may have taken the last room under their key.
            let ready = self.line.ready().contains(&place);
            let Some(mut execution) = self.executions.get(&place.1).filter(|_| ready).cloned() else {
                continue;
            };
            let request = self.policy.own_machine(&execution, turn.now.wall);
            let purpose = Purpose::Workflow {
                workflow: execution.workflow_id,
                request: Box::new(request.clone()),
                keep_warm: execution.keep_warm,
            };
            let worker = self.want_worker(purpose, request.slots, turn).id;
            self.ask_plan(worker, request, turn);
            let since = turn.now.wall;
            Arc::make_mut(&mut execution).state = ExecutionState::Provisioning { worker, since };
            turn.record_execution(
                EventKind::ExecutionProvisioning,
                &execution,
                "a worker is launched for it",
            );
            self.put_execution(execution, turn);
        }
        self.make_room(without, turn);
    }

    /// Machines that are kept warm go when others have to wait for a machine: those here fit none of them.
    fn make_room(&mut self, wanted: usize, turn: &mut Turn<'_>) {
        if wanted == 0 {
            return;
        }
        let ending = |worker: &&Arc<Worker>| match worker.state {
            WorkerState::Draining { .. } | WorkerState::Terminating { .. } => true,
            WorkerState::Planning { .. }
            | WorkerState::Launching { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Idle { .. }
            | WorkerState::Busy { .. }
            | WorkerState::Terminated { .. } => false,
        };
        let coming = self.workers.values().filter(ending).count();
        let idle: Vec<WorkerId> = self
            .free_slots(turn.now.mono)
            .into_keys()
            .filter(|(load, id)| *load == 0 && self.workers.get(id).is_some_and(|it| self.is_warm(it)))
            .map(|(_, id)| id)
            .take(wanted.saturating_sub(coming))
            .collect();
        for id in idle {
            self.begin_drain(id, TerminationCause::Idle, turn);
        }
    }

    fn is_warm(&self, worker: &Worker) -> bool {
        worker.origin == Origin::Provisioned && matches!(worker.state, WorkerState::Idle { .. })
    }

    /// A worker that nothing was asked for yet.
    pub(super) fn want_worker(&mut self, purpose: Purpose, slots: u32, turn: &mut Turn<'_>) -> Arc<Worker> {
        let now = turn.now.wall;
        let worker = Arc::new(Worker {
            id: WorkerId::generate(now, turn.entropy),
            origin: Origin::Provisioned,
            purpose,
            slots,
            launched: None,
            joined_with: None,
            facts: None,
            state: WorkerState::Planning { since: now },
            created_at: now,
        });
        self.put_worker(Arc::clone(&worker), turn);
        worker
    }

    /// What was asked for when the worker was wanted; the same again after a restart.
    pub(super) fn request_of(worker: &Worker) -> MachineRequest {
        match &worker.purpose {
            Purpose::Any => Policy::shared_machine(worker.slots),
            Purpose::Workflow { request, .. } => MachineRequest::clone(request),
        }
    }

    /// Lets go of workers that were idle for long enough.
    pub(super) fn release_idle(&mut self, turn: &mut Turn<'_>) {
        let mut spare = match self.policy.pool {
            Pool::None => return,
            Pool::Shared { min, .. } => self.provisioned_count().saturating_sub(min),
            Pool::PerExecution { .. } => u32::MAX,
        };
        let idle: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|worker| self.idle_until(worker).is_some_and(|until| until <= turn.now.wall))
            .map(|worker| worker.id)
            .collect();
        for id in idle {
            if spare == 0 {
                return;
            }
            spare -= 1;
            self.begin_drain(id, TerminationCause::Idle, turn);
        }
    }

    /// Whether the pool has more workers than it keeps ahead of need.
    pub(super) fn may_release(&self, worker: &Worker) -> bool {
        match (&worker.purpose, &self.policy.pool) {
            (Purpose::Any, Pool::Shared { min, .. }) => self.provisioned_count() > *min,
            (Purpose::Workflow { .. }, _) | (Purpose::Any, Pool::None | Pool::PerExecution { .. }) => true,
        }
    }

    /// Until when an idle worker that we started is kept, if nothing comes.
    pub(super) fn idle_until(&self, worker: &Worker) -> Option<crate::time::Timestamp> {
        let WorkerState::Idle { since, .. } = worker.state else {
            return None;
        };
        if worker.origin == Origin::Joined {
            return None;
        }
        let keep = match (&worker.purpose, &self.policy.pool) {
            (Purpose::Workflow { keep_warm, .. }, _) => *keep_warm,
            (Purpose::Any, Pool::Shared { idle, .. }) => *idle,
            // The pool was changed since: nobody asks for this worker any more.
            (Purpose::Any, Pool::None | Pool::PerExecution { .. }) => std::time::Duration::ZERO,
        };
        Some(since.after(keep))
    }
}

pub(super) fn provisioning_worker(execution: &Execution) -> Option<WorkerId> {
    match execution.state {
        ExecutionState::Provisioning { worker, .. } => Some(worker),
        ExecutionState::Queued { .. }
        | ExecutionState::Starting { .. }
        | ExecutionState::Running { .. }
        | ExecutionState::Success { .. }
        | ExecutionState::Failed { .. }
        | ExecutionState::Cancelled { .. } => None,
    }
}
