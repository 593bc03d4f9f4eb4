//! The port StateStore.

use async_trait::async_trait;
use data_runner_core::event::{Change, Snapshot};
use data_runner_core::execution::Execution;
use data_runner_core::id::{Claim, CommitSequence, Epoch};
use data_runner_core::log::LogOffset;
use data_runner_core::port::{StateError, StateStore};
use data_runner_core::time::Timestamp;
use sqlx::SqliteConnection;

use crate::body::{ExecutionRow, attempt_id, json, lease, unsigned};
use crate::error::store_error;
use crate::store::SqliteStore;

#[async_trait]
impl StateStore for SqliteStore {
    async fn acquire(&self, _at: Timestamp) -> Result<Epoch, StateError> {
        self.take_lock()?;
        let epoch = self.writer.acquire().await;
        if epoch.is_err() {
            self.release();
        }
        epoch
    }

    async fn load(&self, epoch: Epoch) -> Result<Snapshot, StateError> {
        // One transaction: all of it is of one commit.
        let mut transaction = self.readers.begin().await.map_err(store_error)?;
        let tenure = sqlx::query!("SELECT epoch, sequence FROM tenure")
            .fetch_one(&mut *transaction)
            .await
            .map_err(store_error)?;
        let current = Epoch(unsigned(tenure.epoch)?);
        if epoch != current {
            return Err(StateError::Fenced { ours: epoch, current });
        }
        Ok(Snapshot {
            sequence: CommitSequence(unsigned(tenure.sequence)?),
            executions: executions(&mut transaction).await?,
            workers: workers(&mut transaction).await?,
            workflows: workflows(&mut transaction).await?,
            repos: repos(&mut transaction).await?,
            schedules: schedules(&mut transaction).await?,
            needs: needs(&mut transaction).await?,
            groups: groups(&mut transaction).await?,
            deliveries: deliveries(&mut transaction).await?,
            logs: logs(&mut transaction).await?,
        })
    }

    async fn commit(
        &self,
        epoch: Epoch,
        at: Timestamp,
        changes: Vec<Change>,
    ) -> Result<CommitSequence, StateError> {
        self.writer.commit(epoch, at, changes).await
    }
}

async fn executions(connection: &mut SqliteConnection) -> Result<Vec<Execution>, StateError> {
    let rows = sqlx::query_as!(
        ExecutionRow,
        r#"
        SELECT e.id, e.workflow, e.created_at, e.body, s.body AS spec, (
            SELECT '[' || coalesce(group_concat(a.body, ',' ORDER BY a.number), '') || ']'
            FROM attempts AS a WHERE a.execution = e.id
        ) AS "attempts!: String"
        FROM executions AS e INDEXED BY executions_active
        CROSS JOIN execution_specs AS s ON s.execution = e.id
        WHERE e.finished_at IS NULL
        ORDER BY e.id
        "#
    )
    .fetch_all(connection)
    .await
    .map_err(store_error)?;
    rows.into_iter().map(ExecutionRow::decode).collect()
}

async fn workers(
    connection: &mut SqliteConnection,
) -> Result<Vec<data_runner_core::worker::Worker>, StateError> {
    let bodies = sqlx::query_scalar!(
        "SELECT body FROM workers INDEXED BY workers_live WHERE terminated_at IS NULL ORDER BY id"
    )
    .fetch_all(connection)
    .await
    .map_err(store_error)?;
    bodies.iter().map(|body| json(body, || "worker".to_owned())).collect()
}

async fn workflows(
    connection: &mut SqliteConnection,
) -> Result<Vec<data_runner_core::workflow::Workflow>, StateError> {
    let bodies = sqlx::query_scalar!("SELECT body FROM workflows ORDER BY id")
        .fetch_all(connection)
        .await
        .map_err(store_error)?;
    bodies.iter().map(|body| json(body, || "workflow".to_owned())).collect()
}

async fn repos(
    connection: &mut SqliteConnection,
) -> Result<Vec<data_runner_core::workflow::Repo>, StateError> {
    let bodies = sqlx::query_scalar!("SELECT body FROM repos ORDER BY name")
        .fetch_all(connection)
        .await
        .map_err(store_error)?;
    bodies.iter().map(|body| json(body, || "repository".to_owned())).collect()
}

async fn schedules(
    connection: &mut SqliteConnection,
) -> Result<Vec<data_runner_core::workflow::ScheduleProgress>, StateError> {
    // In the order of the key, which is that of the domain's ids.
    let bodies = sqlx::query_scalar!("SELECT body FROM schedules ORDER BY workflow, cron, timezone")
        .fetch_all(connection)
        .await
        .map_err(store_error)?;
    bodies.iter().map(|body| json(body, || "schedule".to_owned())).collect()
}

async fn needs(
    connection: &mut SqliteConnection,
) -> Result<Vec<data_runner_core::workflow::NeedsProgress>, StateError> {
    let bodies = sqlx::query_scalar!("SELECT body FROM needs ORDER BY workflow")
        .fetch_all(connection)
        .await
        .map_err(store_error)?;
    bodies.iter().map(|body| json(body, || "progress of needs".to_owned())).collect()
}

async fn groups(
    connection: &mut SqliteConnection,
) -> Result<Vec<data_runner_core::group::Group>, StateError> {
    let bodies = sqlx::query_scalar!(
        "SELECT body FROM groups INDEXED BY groups_active WHERE ended_at IS NULL ORDER BY id"
    )
    .fetch_all(connection)
    .await
    .map_err(store_error)?;
    bodies.iter().map(|body| json(body, || "group".to_owned())).collect()
}

async fn deliveries(
    connection: &mut SqliteConnection,
) -> Result<Vec<data_runner_core::delivery::Delivery>, StateError> {
    let bodies = sqlx::query_scalar!(
        "SELECT body FROM deliveries INDEXED BY deliveries_pending WHERE settled_at IS NULL ORDER BY id"
    )
    .fetch_all(connection)
    .await
    .map_err(store_error)?;
    bodies.iter().map(|body| json(body, || "delivery".to_owned())).collect()
}

async fn logs(connection: &mut SqliteConnection) -> Result<Vec<(Claim, LogOffset)>, StateError> {
    let rows = sqlx::query!(
        r#"
        SELECT execution, number, lease AS "lease!", end_offset
        FROM logs INDEXED BY logs_open
        WHERE closed_at IS NULL AND lease IS NOT NULL
        ORDER BY execution, number
        "#
    )
    .fetch_all(connection)
    .await
    .map_err(store_error)?;
    rows.into_iter()
        .map(|row| {
            let attempt = attempt_id(&row.execution, row.number)?;
            let claim = Claim { attempt, lease: lease(&row.lease)? };
            Ok((claim, LogOffset(unsigned(row.end_offset)?)))
        })
        .collect()
}
