//! The changes of a group of commits, brought together so that each table is written once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use data_runner_core::delivery::Delivery;
use data_runner_core::event::{Change, EventRecord};
use data_runner_core::execution::Execution;
use data_runner_core::group::Group;
use data_runner_core::hook::HookRecord;
use data_runner_core::id::{
    AttemptId, Claim, CommitSequence, DeliveryId, ExecutionId, GroupId, RepoName, WorkerId, WorkflowId,
};
use data_runner_core::log::Gap;
use data_runner_core::port::{IdempotencyRecord, StateError};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::Worker;
use data_runner_core::workflow::{NeedsProgress, Repo, ScheduleId, ScheduleProgress, Workflow};
use sqlx::SqliteConnection;

use super::artifacts::ArtifactChange;
use super::rows;
use crate::body::{Key, execution_id, signed, to_json};
use crate::error::store_error;

/// Of several values for one key the last one counts, as if they had been written one after the other.
#[derive(Default)]
pub(super) struct Batch {
    executions: BTreeMap<ExecutionId, Arc<Execution>>,
    workers: BTreeMap<WorkerId, Arc<Worker>>,
    workflows: BTreeMap<WorkflowId, Arc<Workflow>>,
    repos: BTreeMap<RepoName, Arc<Repo>>,
    schedules: BTreeMap<ScheduleId, Arc<ScheduleProgress>>,
    needs: BTreeMap<WorkflowId, Arc<NeedsProgress>>,
    groups: BTreeMap<GroupId, Arc<Group>>,
    deliveries: BTreeMap<DeliveryId, Arc<Delivery>>,
    idempotency: BTreeMap<String, IdempotencyRecord>,
    hooks: Vec<HookChange>,
    artifacts: Vec<ArtifactChange>,
    logs: Vec<LogChange>,
    events: Vec<(CommitSequence, u32, EventRecord)>,
}

enum HookChange {
    Put(HookRecord),
    Forget { before: Timestamp },
}

enum LogChange {
    Open(Claim),
    Close { attempt: AttemptId, at: Timestamp, gap: Option<Gap> },
}

impl Batch {
    /// Adds one commit.
    pub(super) fn add(&mut self, sequence: CommitSequence, at: Timestamp, changes: &[Change]) {
        let mut place = 0;
        for change in changes {
            match change {
                Change::PutExecution(execution) => {
                    self.executions.insert(execution.id, Arc::clone(execution));
                }
                Change::PutWorker(worker) => {
                    self.workers.insert(worker.id, Arc::clone(worker));
                }
                Change::PutWorkflow(workflow) => {
                    self.workflows.insert(workflow.id, Arc::clone(workflow));
                }
                Change::PutRepo(repo) => {
                    self.repos.insert(repo.name.clone(), Arc::clone(repo));
                }
                Change::PutSchedule(progress) => {
                    self.schedules.insert(progress.id.clone(), Arc::clone(progress));
                }
                Change::PutNeeds(progress) => {
                    self.needs.insert(progress.workflow, Arc::clone(progress));
                }
                Change::PutGroup(group) => {
                    self.groups.insert(group.id, Arc::clone(group));
                }
                Change::PutDelivery(delivery) => {
                    self.deliveries.insert(delivery.id, Arc::clone(delivery));
                }
                Change::PutIdempotency(record) => {
                    self.idempotency.insert(record.key.clone(), record.clone());
                }
                Change::PutHook(record) => self.hooks.push(HookChange::Put(record.clone())),
                Change::ForgetHooks { before } => self.hooks.push(HookChange::Forget { before: *before }),
                Change::PutArtifact(artifact) => self.artifacts.push(ArtifactChange::Put(artifact.clone())),
                Change::ForgetArtifacts { artifacts, before } => {
                    let (artifacts, before) = (artifacts.clone(), *before);
                    self.artifacts.push(ArtifactChange::Forget { artifacts, before });
                }
                Change::OpenLog(claim) => self.logs.push(LogChange::Open(*claim)),
                Change::CloseLog { attempt, gap } => {
                    self.logs.push(LogChange::Close { attempt: *attempt, at, gap: *gap });
                }
                Change::Record(record) => {
                    self.events.push((sequence, place, record.clone()));
                    place += 1;
                }
            }
        }
    }

    /// Writes everything within the caller's transaction.
    pub(super) async fn write(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        if !self.executions.is_empty() {
            self.write_executions(connection).await?;
        }
        if !self.workers.is_empty() {
            self.write_workers(connection).await?;
        }
        if !self.workflows.is_empty() || !self.repos.is_empty() {
            self.write_registry(connection).await?;
        }
        if !self.schedules.is_empty() {
            self.write_schedules(connection).await?;
        }
        if !self.needs.is_empty() {
            self.write_needs(connection).await?;
        }
        if !self.groups.is_empty() {
            self.write_groups(connection).await?;
        }
        if !self.deliveries.is_empty() {
            self.write_deliveries(connection).await?;
        }
        if !self.idempotency.is_empty() {
            self.write_idempotency(connection).await?;
        }
        for change in &self.hooks {
            change.write(connection).await?;
        }
        for change in &self.artifacts {
            change.write(connection).await?;
        }
        for change in &self.logs {
            change.write(connection).await?;
        }
        if !self.events.is_empty() {
            self.write_events(connection).await?;
        }
        Ok(())
    }

    async fn write_executions(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        let new = self.new_executions(connection).await?;
        let list = json_list(self.executions.values().map(|execution| rows::execution(execution)))?;
        sqlx::query!(
            "
            INSERT INTO executions (id, workflow, created_at, finished_at, state, body)
            SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5
            FROM json_each(?) WHERE true
            ON CONFLICT (id) DO UPDATE SET
                finished_at = excluded.finished_at, state = excluded.state, body = excluded.body
            ",
            list
        )
        .execute(&mut *connection)
        .await
        .map_err(store_error)?;
        let new = self.executions.values().filter(|execution| new.contains(&execution.id));
        write_specs(connection, new).await?;
        let attempts = self
            .executions
            .values()
            .flat_map(|execution| execution.attempts.iter().map(|attempt| rows::attempt(execution, attempt)));
        let list = json_list(attempts)?;
        sqlx::query!(
            "
            INSERT INTO attempts (execution, number, body)
            SELECT unhex(value ->> 0), value ->> 1, value ->> 2 FROM json_each(?) WHERE true
            ON CONFLICT (execution, number) DO UPDATE SET body = excluded.body WHERE body <> excluded.body
            ",
            list
        )
        .execute(connection)
        .await
        .map_err(store_error)?;
        Ok(())
    }

    /// Those that the store has not seen yet.
    async fn new_executions(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<BTreeSet<ExecutionId>, StateError> {
        let list = to_json(&self.executions.keys().map(|id| rows::id(*id)).collect::<Vec<_>>())?;
        let new = sqlx::query_scalar!(
            r#"
            SELECT unhex(value) AS "id!: Vec<u8>" FROM json_each(?)
            WHERE NOT EXISTS (SELECT 1 FROM executions WHERE id = unhex(value))
            "#,
            list
        )
        .fetch_all(connection)
        .await
        .map_err(store_error)?;
        new.iter().map(|id| execution_id(id)).collect()
    }

    async fn write_workers(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        let list = json_list(self.workers.values().map(|worker| rows::worker(worker)))?;
        sqlx::query!(
            "
            INSERT INTO workers (id, terminated_at, body)
            SELECT unhex(value ->> 0), value ->> 1, value ->> 2 FROM json_each(?) WHERE true
            ON CONFLICT (id) DO UPDATE SET terminated_at = excluded.terminated_at, body = excluded.body
            ",
            list
        )
        .execute(connection)
        .await
        .map_err(store_error)?;
        Ok(())
    }

    async fn write_registry(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        let list = json_list(self.workflows.values().map(|workflow| rows::workflow(workflow)))?;
        sqlx::query!(
            "
            INSERT INTO workflows (id, repo, name, body)
            SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE true
            ON CONFLICT (id) DO UPDATE SET repo = excluded.repo, name = excluded.name, body = excluded.body
            ",
            list
        )
        .execute(&mut *connection)
        .await
        .map_err(store_error)?;
        let list = json_list(self.repos.values().map(|repo| rows::repo(repo)))?;
        sqlx::query!(
            "
            INSERT INTO repos (name, body)
            SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE true
            ON CONFLICT (name) DO UPDATE SET body = excluded.body
            ",
            list
        )
        .execute(connection)
        .await
        .map_err(store_error)?;
        Ok(())
    }

    async fn write_schedules(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        let list = json_list(self.schedules.values().map(|progress| rows::schedule(progress)))?;
        sqlx::query!(
            "
            INSERT INTO schedules (workflow, cron, timezone, body)
            SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE true
            ON CONFLICT (workflow, cron, timezone) DO UPDATE SET body = excluded.body
            ",
            list
        )
        .execute(connection)
        .await
        .map_err(store_error)?;
        Ok(())
    }

    async fn write_needs(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        let list = json_list(self.needs.values().map(|progress| rows::needs(progress)))?;
        sqlx::query!(
            "
            INSERT INTO needs (workflow, body)
            SELECT unhex(value ->> 0), value ->> 1 FROM json_each(?) WHERE true
            ON CONFLICT (workflow) DO UPDATE SET body = excluded.body
            ",
            list
        )
        .execute(connection)
        .await
        .map_err(store_error)?;
        Ok(())
    }

    async fn write_groups(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        let list = json_list(self.groups.values().map(|group| rows::group(group)))?;
        sqlx::query!(
            "
            INSERT INTO groups (id, ended_at, body)
            SELECT unhex(value ->> 0), value ->> 1, value ->> 2 FROM json_each(?) WHERE true
            ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, body = excluded.body
            ",
            list
        )
        .execute(connection)
        .await
        .map_err(store_error)?;
        Ok(())
    }

    async fn write_deliveries(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        let list = json_list(self.deliveries.values().map(|delivery| rows::delivery(delivery)))?;
        sqlx::query!(
            "
            INSERT INTO deliveries (id, execution, settled_at, body)
            SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3 FROM json_each(?) WHERE true
            ON CONFLICT (id) DO UPDATE SET settled_at = excluded.settled_at, body = excluded.body
            ",
            list
        )
        .execute(connection)
        .await
        .map_err(store_error)?;
        Ok(())
    }

    async fn write_idempotency(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        let list = json_list(self.idempotency.values().map(|record| Ok(rows::idempotency(record))))?;
        sqlx::query!(
            "
            INSERT INTO idempotency (key, body_hash, execution, made, at)
            SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4 FROM json_each(?) WHERE true
            ON CONFLICT (key) DO UPDATE SET
                body_hash = excluded.body_hash, execution = excluded.execution, made = excluded.made, at = excluded.at
            ",
            list
        )
        .execute(connection)
        .await
        .map_err(store_error)?;
        Ok(())
    }

    async fn write_events(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        let rows = self.events.iter().map(|(sequence, place, record)| rows::event(*sequence, *place, record));
        let list = json_list(rows)?;
        sqlx::query!(
            "
            INSERT INTO events (sequence, place, execution, body)
            SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3 FROM json_each(?)
            ",
            list
        )
        .execute(connection)
        .await
        .map_err(store_error)?;
        Ok(())
    }
}

async fn write_specs<'a>(
    connection: &mut SqliteConnection,
    new: impl Iterator<Item = &'a Arc<Execution>> + Clone,
) -> Result<(), StateError> {
    let list = json_list(new.clone().map(|execution| rows::spec(execution)))?;
    sqlx::query!(
        "
        INSERT INTO execution_specs (execution, body)
        SELECT unhex(value ->> 0), value ->> 1 FROM json_each(?)
        ",
        list
    )
    .execute(&mut *connection)
    .await
    .map_err(store_error)?;
    let labels =
        new.flat_map(|execution| execution.labels.iter().map(|label| Ok(rows::label(execution, label))));
    let list = json_list(labels)?;
    sqlx::query!(
        "
        INSERT INTO execution_labels (key, value, execution)
        SELECT value ->> 0, value ->> 1, unhex(value ->> 2) FROM json_each(?)
        ",
        list
    )
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(())
}

fn json_list<T: serde::Serialize>(
    rows: impl Iterator<Item = Result<T, StateError>>,
) -> Result<String, StateError> {
    to_json(&rows.collect::<Result<Vec<T>, StateError>>()?)
}

impl HookChange {
    async fn write(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        let done = match self {
            Self::Put(record) => {
                let at = record.at.micros();
                sqlx::query!(
                    "INSERT INTO hooks (key, at) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET at = excluded.at",
                    record.key,
                    at
                )
                .execute(connection)
                .await
            }
            Self::Forget { before } => {
                let before = before.micros();
                sqlx::query!("DELETE FROM hooks WHERE at < ?", before).execute(connection).await
            }
        };
        done.map(drop).map_err(store_error)
    }
}

impl LogChange {
    async fn write(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        match self {
            Self::Open(claim) => {
                let (execution, number) = key(claim.attempt);
                let lease = claim.lease.key();
                sqlx::query!(
                    "
                    INSERT INTO logs (execution, number, lease) VALUES (?, ?, ?)
                    ON CONFLICT (execution, number) DO UPDATE SET
                        lease = excluded.lease, closed_at = NULL, gap_reason = NULL, gap_bytes = NULL
                    ",
                    execution,
                    number,
                    lease
                )
                .execute(connection)
                .await
                .map_err(store_error)?;
            }
            Self::Close { attempt, at, gap } => {
                let (execution, number) = key(*attempt);
                let at = at.micros();
                let reason = gap.map(|gap| gap.reason.as_str());
                let bytes = gap.and_then(|gap| gap.bytes).map(signed);
                // The first close stands: a repeated one must not move its time.
                sqlx::query!(
                    "
                    INSERT INTO logs (execution, number, closed_at, gap_reason, gap_bytes) VALUES (?, ?, ?, ?, ?)
                    ON CONFLICT (execution, number) DO UPDATE SET
                        closed_at = excluded.closed_at, gap_reason = excluded.gap_reason,
                        gap_bytes = excluded.gap_bytes
                    WHERE closed_at IS NULL
                    ",
                    execution,
                    number,
                    at,
                    reason,
                    bytes
                )
                .execute(connection)
                .await
                .map_err(store_error)?;
            }
        }
        Ok(())
    }
}

fn key(attempt: AttemptId) -> (Vec<u8>, i64) {
    (attempt.execution.key(), i64::from(attempt.number.0))
}
