//! What the server says of itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to `GET /version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// `data-runner`.
    pub name: String,
    /// The server's version.
    pub version: String,
}

/// The answer to `GET /healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `alive`.
    pub status: String,
}

/// The answer to `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// `serving`, `draining`, `recovering` or `ended`; the latter two come with status 503.
    pub stage: String,
    /// How many executions are active.
    pub active_executions: u64,
    /// How many workers exist.
    pub workers: u64,
}
