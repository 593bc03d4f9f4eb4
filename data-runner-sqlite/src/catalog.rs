//! The port Catalog.

mod page;
mod prefix;

use std::collections::BTreeMap;

use async_trait::async_trait;
use data_runner_core::artifact::Artifact;
use data_runner_core::execution::{Attempt, Execution, StateName};
use data_runner_core::group::Group;
use data_runner_core::id::{ArtifactId, AttemptId, CommitSequence, ExecutionId, GroupId, Sha256, WorkerId};
use data_runner_core::port::{
    Catalog, EventPosition, EventQuery, ExecutionQuery, IdempotencyRecord, StateError, StoredEvent,
    WorkerWithAttempts,
};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::Worker;
use data_runner_core::workflow::{Repo, Workflow};
use uuid::Uuid;

use crate::body::{ExecutionRow, Key, attempt_id, execution_id, json, made, signed, to_json, unsigned};
use crate::error::{corrupt, store_error};
use crate::store::SqliteStore;

#[async_trait]
impl Catalog for SqliteStore {
    async fn execution(&self, id: ExecutionId) -> Result<Option<Execution>, StateError> {
        let key = id.key();
        let row = sqlx::query_as!(
            ExecutionRow,
            r#"
            SELECT e.id, e.workflow, e.created_at, e.body, s.body AS spec, (
                SELECT '[' || coalesce(group_concat(a.body, ',' ORDER BY a.number), '') || ']'
                FROM attempts AS a WHERE a.execution = e.id
            ) AS "attempts!: String"
            FROM executions AS e CROSS JOIN execution_specs AS s ON s.execution = e.id
            WHERE e.id = ?
            "#,
            key
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(store_error)?;
        row.map(ExecutionRow::decode).transpose()
    }

    async fn executions(&self, query: ExecutionQuery) -> Result<Vec<Execution>, StateError> {
        page::read(&self.readers, &query).await
    }

    async fn executions_by_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<ExecutionId>, StateError> {
        let Some((lowest, highest)) = prefix::range(prefix) else {
            return Ok(Vec::new());
        };
        let (lowest, highest) = (lowest.key(), highest.key());
        let ids = sqlx::query_scalar!(
            "SELECT id FROM executions WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT ?",
            lowest,
            highest,
            limit
        )
        .fetch_all(&self.readers)
        .await
        .map_err(store_error)?;
        ids.iter().map(|id| execution_id(id)).collect()
    }

    async fn group(&self, id: GroupId) -> Result<Option<Group>, StateError> {
        let uuid = id.uuid();
        let key = uuid.as_bytes().as_slice();
        let body = sqlx::query_scalar!("SELECT body FROM groups WHERE id = ?", key)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        body.map(|body| json(&body, || format!("group {id}"))).transpose()
    }

    async fn groups(&self, before: Option<GroupId>, limit: u32) -> Result<Vec<Group>, StateError> {
        let before = before.map_or(Uuid::max(), GroupId::uuid);
        let before = before.as_bytes().as_slice();
        let bodies = sqlx::query_scalar!(
            "SELECT body FROM groups WHERE id < ? ORDER BY id DESC LIMIT ?",
            before,
            limit
        )
        .fetch_all(&self.readers)
        .await
        .map_err(store_error)?;
        bodies.iter().map(|body| json(body, || "group".to_owned())).collect()
    }

    async fn repos(&self) -> Result<Vec<Repo>, StateError> {
        let bodies = sqlx::query_scalar!("SELECT body FROM repos ORDER BY name")
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        bodies.iter().map(|body| json(body, || "repository".to_owned())).collect()
    }

    async fn workflows(&self) -> Result<Vec<Workflow>, StateError> {
        let bodies = sqlx::query_scalar!("SELECT body FROM workflows ORDER BY repo, name, id")
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        bodies.iter().map(|body| json(body, || "workflow".to_owned())).collect()
    }

    async fn workers(&self, terminated: u32) -> Result<Vec<Worker>, StateError> {
        let bodies = sqlx::query_scalar!(
            r#"
            SELECT body AS "body!: String" FROM (
                SELECT id, body FROM workers INDEXED BY workers_live WHERE terminated_at IS NULL
                UNION ALL
                SELECT id, body FROM (
                    SELECT id, body FROM workers INDEXED BY workers_terminated
                    WHERE terminated_at IS NOT NULL ORDER BY id DESC LIMIT ?
                )
            ) ORDER BY id
            "#,
            terminated
        )
        .fetch_all(&self.readers)
        .await
        .map_err(store_error)?;
        bodies.iter().map(|body| json(body, || "worker".to_owned())).collect()
    }

    async fn worker(&self, id: WorkerId) -> Result<Option<Worker>, StateError> {
        let key = id.key();
        let body = sqlx::query_scalar!("SELECT body FROM workers WHERE id = ?", key)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        body.map(|body| json(&body, || format!("worker {id}"))).transpose()
    }

    async fn workers_that_cost(&self, workers: Vec<WorkerId>) -> Result<Vec<WorkerWithAttempts>, StateError> {
        let mut wanted = workers;
        wanted.sort_unstable();
        wanted.dedup();
        let mut found = Vec::new();
        for id in wanted {
            let Some(worker) = self.worker(id).await? else {
                continue;
            };
            if worker.launched.as_ref().is_some_and(|launched| launched.price.is_some()) {
                let attempts = self.attempts_on(id).await?;
                found.push((worker, attempts));
            }
        }
        Ok(found)
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<StoredEvent>, StateError> {
        let (sequence, place) = (signed(query.after.sequence.0), i64::from(query.after.index));
        let rows = match query.execution {
            None => {
                sqlx::query_as!(
                    EventRow,
                    "
                    SELECT sequence, place, body FROM events
                    WHERE (sequence, place) > (?, ?) ORDER BY sequence, place LIMIT ?
                    ",
                    sequence,
                    place,
                    query.limit
                )
                .fetch_all(&self.readers)
                .await
            }
            Some(execution) => {
                let execution = execution.key();
                sqlx::query_as!(
                    EventRow,
                    r#"
                    SELECT sequence AS "sequence!", place AS "place!", body FROM events INDEXED BY events_by_execution
                    WHERE execution = ? AND (sequence, place) > (?, ?) ORDER BY sequence, place LIMIT ?
                    "#,
                    execution,
                    sequence,
                    place,
                    query.limit
                )
                .fetch_all(&self.readers)
                .await
            }
        };
        rows.map_err(store_error)?.into_iter().map(EventRow::decode).collect()
    }

    async fn idempotent(&self, key: &str) -> Result<Option<IdempotencyRecord>, StateError> {
        let row =
            sqlx::query!("SELECT key, body_hash, execution, made, at FROM idempotency WHERE key = ?", key)
                .fetch_optional(&self.readers)
                .await
                .map_err(store_error)?;
        row.map(|row| {
            Ok(IdempotencyRecord {
                key: row.key,
                body: Sha256::try_from(row.body_hash).map_err(|error| corrupt("idempotency key", error))?,
                made: made(&row.made, &row.execution)?,
                at: Timestamp::from_micros(row.at),
            })
        })
        .transpose()
    }

    async fn hook_known(&self, keys: Vec<String>) -> Result<bool, StateError> {
        let keys = to_json(&keys)?;
        let known = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM hooks WHERE key IN (SELECT value FROM json_each(?))) AS "known!: bool""#,
            keys
        )
        .fetch_one(&self.readers)
        .await;
        known.map_err(store_error)
    }

    async fn artifacts(&self, execution: ExecutionId) -> Result<Vec<Artifact>, StateError> {
        let key = execution.key();
        let bodies = sqlx::query_scalar!(
            "SELECT body FROM artifacts WHERE execution = ? ORDER BY attempt, name, path",
            key
        )
        .fetch_all(&self.readers)
        .await
        .map_err(store_error)?;
        bodies.iter().map(|body| json(body, || "artifact".to_owned())).collect()
    }

    async fn artifact(&self, id: ArtifactId) -> Result<Option<Artifact>, StateError> {
        let key = id.key();
        let body = sqlx::query_scalar!("SELECT body FROM artifacts WHERE id = ?", key)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        body.map(|body| json(&body, || format!("artifact {id}"))).transpose()
    }

    async fn artifacts_over(&self, at: Timestamp, limit: u32) -> Result<Vec<Artifact>, StateError> {
        let at = at.micros();
        let bodies = sqlx::query_scalar!(
            "SELECT body FROM artifacts WHERE kept_until <= ? ORDER BY kept_until, id LIMIT ?",
            at,
            limit
        )
        .fetch_all(&self.readers)
        .await
        .map_err(store_error)?;
        bodies.iter().map(|body| json(body, || "artifact".to_owned())).collect()
    }

    async fn artifact_bytes_needed(&self, hash: &Sha256, at: Timestamp) -> Result<bool, StateError> {
        let (hash, at) = (hash.as_str(), at.micros());
        let needed = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM artifacts WHERE hash = ? AND kept_until > ?) AS "needed!: bool""#,
            hash,
            at
        )
        .fetch_one(&self.readers)
        .await;
        needed.map_err(store_error)
    }

    async fn counts(&self) -> Result<BTreeMap<StateName, u64>, StateError> {
        let rows = sqlx::query!("SELECT state, count FROM execution_counts")
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        rows.into_iter()
            .map(|row| {
                let state = row.state.parse().map_err(|error| corrupt("counter", error))?;
                Ok((state, unsigned(row.count)?))
            })
            .collect()
    }
}

struct EventRow {
    sequence: i64,
    place: i64,
    body: String,
}

impl EventRow {
    fn decode(self) -> Result<StoredEvent, StateError> {
        let index = u32::try_from(self.place).map_err(|error| corrupt("event", error))?;
        let position = EventPosition { sequence: CommitSequence(unsigned(self.sequence)?), index };
        Ok(StoredEvent { position, record: json(&self.body, || "event".to_owned())? })
    }
}

impl SqliteStore {
    async fn attempts_on(&self, worker: WorkerId) -> Result<Vec<(AttemptId, Attempt)>, StateError> {
        let key = worker.to_string();
        let rows = sqlx::query!(
            r#"
            SELECT execution, number AS "number!: i64", body FROM attempts
            WHERE worker = ? ORDER BY execution, number
            "#,
            key
        )
        .fetch_all(&self.readers)
        .await
        .map_err(store_error)?;
        let decode = |execution: &[u8], number: i64, body: &str| {
            let id = attempt_id(execution, number)?;
            Ok((id, json(body, || format!("attempt {id}"))?))
        };
        rows.iter().map(|row| decode(&row.execution, row.number, &row.body)).collect()
    }
}
