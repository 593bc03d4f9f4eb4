//! Files that jobs left as REST shows them.

use data_runner_core::artifact as core;
use data_runner_core::id::{ArtifactId, ExecutionId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment;

/// A file that a job left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Artifact {
    /// Its id: what `GET /artifacts/{id}` takes.
    #[schema(value_type = uuid::Uuid)]
    pub id: ArtifactId,
    /// The execution that left it.
    #[schema(value_type = uuid::Uuid)]
    pub execution: ExecutionId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The name that the workflow gives it, and perhaps others of the attempt.
    pub name: String,
    /// Its path in the job's folder.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// The SHA-256 of its bytes.
    pub sha256: String,
    /// When it came.
    pub created_at: Timestamp,
    /// When it is removed.
    pub kept_until: Timestamp,
}

impl From<&core::Artifact> for Artifact {
    fn from(artifact: &core::Artifact) -> Self {
        Self {
            id: artifact.id,
            execution: artifact.attempt.execution,
            attempt: artifact.attempt.number.0,
            name: artifact.name.to_string(),
            path: artifact.path.clone(),
            bytes: artifact.blob.bytes,
            sha256: artifact.blob.hash.to_string(),
            created_at: moment(artifact.created_at),
            kept_until: moment(artifact.kept_until),
        }
    }
}
