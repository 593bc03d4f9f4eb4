//! State, logs and catalogue in memory.
//!
//! Every call has a synchronous twin (`…_now`) for simulations that run without an async runtime.

mod faults;
mod logs;
mod queries;
mod tables;
mod tokens;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use data_runner_core::artifact::Artifact;
use data_runner_core::event::{Change, Snapshot};
use data_runner_core::execution::{Execution, StateName};
use data_runner_core::group::Group;
use data_runner_core::id::{
    ArtifactId, AttemptId, CommitSequence, Epoch, ExecutionId, GroupId, Sha256, WorkerId,
};
use data_runner_core::log::LogChunk;
use data_runner_core::message::{LogAck, LogAppend};
use data_runner_core::port::{
    Catalog, EventQuery, ExecutionQuery, IdempotencyRecord, LogRange, LogStore, LogSummary, StateError,
    StateStore, StoredEvent, WorkerWithAttempts,
};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::Worker;
use data_runner_core::workflow::{Repo, Workflow};

use faults::Faults;
pub use faults::StoreFault;
use tables::Tables;

/// [`StateStore`], [`LogStore`], [`Catalog`] and `TokenStore` on nothing but memory. Clones are handles of the same store, which
/// keeps what is committed for as long as one handle lives: it stands for the disk that outlives its supervisor.
///
/// Nothing in it depends on time, randomness or the order of a hash.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    tables: Tables,
    tenure: Tenure,
    faults: Faults,
}

/// Whether a supervisor holds the store.
#[derive(Debug, Default)]
enum Tenure {
    #[default]
    Free,
    Held(Epoch),
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the tenure up, as the death of the supervisor's process does. Its epoch stays the highest until the next
    /// [`StateStore::acquire`].
    pub fn release(&self) {
        self.lock().tenure = Tenure::Free;
    }

    /// Makes the commit that follows fail so; several calls line up.
    pub fn fail_next_commit(&self, fault: StoreFault) {
        self.lock().faults.commits.push_back(fault);
    }

    /// Makes the append that follows fail so; several calls line up.
    pub fn fail_next_append(&self, fault: StoreFault) {
        self.lock().faults.appends.push_back(fault);
    }

    /// Makes the load that follows fail so; several calls line up.
    pub fn fail_next_load(&self, fault: StoreFault) {
        self.lock().faults.loads.push_back(fault);
    }

    /// How many events are stored.
    pub fn event_count(&self) -> usize {
        self.lock().tables.events.len()
    }

    /// [`StateStore::acquire`], at once.
    ///
    /// # Errors
    /// `Held` until [`MemoryStore::release`].
    pub fn acquire_now(&self) -> Result<Epoch, StateError> {
        let mut shared = self.lock();
        if let Tenure::Held(epoch) = shared.tenure {
            return Err(StateError::Held { holder: format!("the supervisor of epoch {epoch}") });
        }
        shared.tables.epoch.0 += 1;
        let epoch = shared.tables.epoch;
        shared.tenure = Tenure::Held(epoch);
        Ok(epoch)
    }

    /// [`StateStore::load`], at once.
    ///
    /// # Errors
    /// As the port's.
    pub fn load_now(&self, epoch: Epoch) -> Result<Snapshot, StateError> {
        let mut shared = self.lock();
        let Shared { tables, faults, .. } = &mut *shared;
        tables.check(epoch)?;
        Faults::around(&mut faults.loads, || tables.snapshot())
    }

    /// [`StateStore::commit`], at once.
    ///
    /// # Errors
    /// As the port's.
    pub fn commit_now(
        &self,
        epoch: Epoch,
        at: Timestamp,
        changes: Vec<Change>,
    ) -> Result<CommitSequence, StateError> {
        let mut shared = self.lock();
        let Shared { tables, faults, .. } = &mut *shared;
        tables.check(epoch)?;
        if changes.is_empty() {
            return Ok(tables.sequence);
        }
        Faults::around(&mut faults.commits, || tables.apply(at, changes))
    }

    /// [`LogStore::append`], at once.
    ///
    /// # Errors
    /// Injected ones only.
    pub fn append_now(&self, appends: Vec<LogAppend>) -> Result<Vec<LogAck>, StateError> {
        let mut shared = self.lock();
        let Shared { tables, faults, .. } = &mut *shared;
        Faults::around(&mut faults.appends, || {
            appends.into_iter().map(|append| tables.append(append)).collect()
        })
    }

    /// [`LogStore::read`], at once.
    pub fn read_now(&self, attempt: AttemptId, range: LogRange, limit: u32) -> Vec<LogChunk> {
        self.lock().tables.read(attempt, range, limit)
    }

    /// [`LogStore::summary`], at once.
    pub fn summary_now(&self, attempt: AttemptId) -> LogSummary {
        self.lock().tables.summary(attempt)
    }

    /// [`Catalog::execution`], at once.
    pub fn execution_now(&self, id: ExecutionId) -> Option<Execution> {
        self.lock().tables.executions.get(&id).map(|execution| Execution::clone(execution))
    }

    /// [`Catalog::worker`], at once.
    pub fn worker_now(&self, id: WorkerId) -> Option<Worker> {
        self.lock().tables.workers.get(&id).map(|worker| Worker::clone(worker))
    }

    /// [`Catalog::events`], at once.
    pub fn events_now(&self, query: EventQuery) -> Vec<StoredEvent> {
        self.lock().tables.events(query)
    }

    /// Every execution, in order of the ids, terminal ones too: what a simulation's checks look at.
    pub fn executions_now(&self) -> Vec<Arc<Execution>> {
        self.lock().tables.executions.values().cloned().collect()
    }

    /// Every worker, in order of the ids, terminated ones too.
    pub fn workers_now(&self) -> Vec<Arc<Worker>> {
        self.lock().tables.workers.values().cloned().collect()
    }

    /// [`Catalog::hook_known`], at once.
    pub fn hook_known_now(&self, keys: &[String]) -> bool {
        let inner = self.lock();
        keys.iter().any(|key| inner.tables.hooks.contains_key(key))
    }

    /// Every group, in order of the ids, ended ones too.
    pub fn groups_now(&self) -> Vec<Arc<Group>> {
        self.lock().tables.groups.values().cloned().collect()
    }

    /// [`Catalog::idempotent`], at once.
    pub fn idempotent_now(&self, key: &str) -> Option<IdempotencyRecord> {
        self.lock().tables.idempotency.get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A test that panicked while it held the lock has failed already; the others may look on.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn acquire(&self, _at: Timestamp) -> Result<Epoch, StateError> {
        self.acquire_now()
    }

    async fn load(&self, epoch: Epoch) -> Result<Snapshot, StateError> {
        self.load_now(epoch)
    }

    async fn commit(
        &self,
        epoch: Epoch,
        at: Timestamp,
        changes: Vec<Change>,
    ) -> Result<CommitSequence, StateError> {
        self.commit_now(epoch, at, changes)
    }
}

#[async_trait]
impl LogStore for MemoryStore {
    async fn append(&self, appends: Vec<LogAppend>) -> Result<Vec<LogAck>, StateError> {
        self.append_now(appends)
    }

    async fn read(
        &self,
        attempt: AttemptId,
        range: LogRange,
        limit: u32,
    ) -> Result<Vec<LogChunk>, StateError> {
        Ok(self.read_now(attempt, range, limit))
    }

    async fn summary(&self, attempt: AttemptId) -> Result<LogSummary, StateError> {
        Ok(self.summary_now(attempt))
    }
}

#[async_trait]
impl Catalog for MemoryStore {
    async fn execution(&self, id: ExecutionId) -> Result<Option<Execution>, StateError> {
        Ok(self.execution_now(id))
    }

    async fn executions(&self, query: ExecutionQuery) -> Result<Vec<Execution>, StateError> {
        Ok(self.lock().tables.page(&query))
    }

    async fn executions_by_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<ExecutionId>, StateError> {
        Ok(self.lock().tables.by_prefix(prefix, limit))
    }

    async fn group(&self, id: GroupId) -> Result<Option<Group>, StateError> {
        Ok(self.lock().tables.groups.get(&id).map(|group| Group::clone(group)))
    }

    async fn groups(&self, before: Option<GroupId>, limit: u32) -> Result<Vec<Group>, StateError> {
        let shared = self.lock();
        let older = shared.tables.groups.values().rev().filter(|it| before.is_none_or(|id| it.id < id));
        Ok(older.take(limit as usize).map(|group| Group::clone(group)).collect())
    }

    async fn repos(&self) -> Result<Vec<Repo>, StateError> {
        Ok(self.lock().tables.repos.values().map(|repo| Repo::clone(repo)).collect())
    }

    async fn workflows(&self) -> Result<Vec<Workflow>, StateError> {
        Ok(self.lock().tables.workflows_by_name())
    }

    async fn workers(&self, terminated: u32) -> Result<Vec<Worker>, StateError> {
        Ok(self.lock().tables.workers_with(terminated))
    }

    async fn worker(&self, id: WorkerId) -> Result<Option<Worker>, StateError> {
        Ok(self.worker_now(id))
    }

    async fn workers_that_cost(&self, workers: Vec<WorkerId>) -> Result<Vec<WorkerWithAttempts>, StateError> {
        Ok(self.lock().tables.workers_that_cost(&workers))
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<StoredEvent>, StateError> {
        Ok(self.events_now(query))
    }

    async fn hook_known(&self, keys: Vec<String>) -> Result<bool, StateError> {
        Ok(self.hook_known_now(&keys))
    }

    async fn idempotent(&self, key: &str) -> Result<Option<IdempotencyRecord>, StateError> {
        Ok(self.idempotent_now(key))
    }

    async fn artifacts(&self, execution: ExecutionId) -> Result<Vec<Artifact>, StateError> {
        let shared = self.lock();
        let of = shared.tables.artifacts.values().filter(|it| it.attempt.execution == execution);
        let mut found: Vec<Artifact> = of.cloned().collect();
        found.sort_by(|a, b| (a.attempt, &a.name, &a.path).cmp(&(b.attempt, &b.name, &b.path)));
        Ok(found)
    }

    async fn artifact(&self, id: ArtifactId) -> Result<Option<Artifact>, StateError> {
        Ok(self.lock().tables.artifacts.get(&id).cloned())
    }

    async fn artifacts_over(&self, at: Timestamp, limit: u32) -> Result<Vec<Artifact>, StateError> {
        let shared = self.lock();
        let mut over: Vec<Artifact> =
            shared.tables.artifacts.values().filter(|it| it.kept_until <= at).cloned().collect();
        over.sort_by_key(|it| (it.kept_until, it.id));
        over.truncate(limit as usize);
        Ok(over)
    }

    async fn artifact_bytes_needed(&self, hash: &Sha256, at: Timestamp) -> Result<bool, StateError> {
        let shared = self.lock();
        Ok(shared.tables.artifacts.values().any(|it| it.blob.hash == *hash && it.kept_until > at))
    }

    async fn counts(&self) -> Result<BTreeMap<StateName, u64>, StateError> {
        Ok(self.lock().tables.counts())
    }
}
