//! Writing what is known of files that jobs left.

use data_runner_core::artifact::Artifact;
use data_runner_core::id::ArtifactId;
use data_runner_core::port::StateError;
use data_runner_core::time::Timestamp;
use sqlx::SqliteConnection;

use crate::body::{Key as _, to_json};
use crate::error::store_error;

/// One change, to be written in its turn.
pub(super) enum ArtifactChange {
    Put(Box<Artifact>),
    Forget { artifacts: Vec<ArtifactId>, before: Timestamp },
}

impl ArtifactChange {
    pub(super) async fn write(&self, connection: &mut SqliteConnection) -> Result<(), StateError> {
        match self {
            Self::Put(artifact) => put(artifact, connection).await,
            Self::Forget { artifacts, before } => {
                let ids: Vec<String> = artifacts.iter().map(|id| id.uuid().simple().to_string()).collect();
                let (ids, before) = (to_json(&ids)?, before.micros());
                let forgotten = sqlx::query!(
                    "
                    DELETE FROM artifacts
                    WHERE id IN (SELECT unhex(value) FROM json_each(?)) AND kept_until <= ?
                    ",
                    ids,
                    before
                )
                .execute(connection)
                .await;
                forgotten.map(drop).map_err(store_error)
            }
        }
    }
}

async fn put(artifact: &Artifact, connection: &mut SqliteConnection) -> Result<(), StateError> {
    let (id, execution) = (artifact.id.key(), artifact.attempt.execution.key());
    let (attempt, kept_until) = (i64::from(artifact.attempt.number.0), artifact.kept_until.micros());
    let (name, hash) = (artifact.name.as_str(), artifact.blob.hash.as_str());
    let body = to_json(artifact)?;
    let written = sqlx::query!(
        "
        INSERT INTO artifacts (id, execution, attempt, name, path, hash, kept_until, body)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET
            hash = excluded.hash, kept_until = excluded.kept_until, body = excluded.body
        ",
        id,
        execution,
        attempt,
        name,
        artifact.path,
        hash,
        kept_until,
        body
    )
    .execute(connection)
    .await;
    written.map(drop).map_err(store_error)
}
