//! Watched repositories as REST shows them.

use data_runner_core::workflow as core;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment;

/// A repository that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repo {
    /// Its name, unique in the installation.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// The branch, tag or other ref that is followed.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The folders that the registration is restricted to; empty: all workflows.
    pub only: Vec<String>,
    /// The newest revision that was synced.
    pub head: Option<String>,
    /// When the last sync ended well.
    pub synced_at: Option<Timestamp>,
    /// Why the last try failed, if it did.
    pub error: Option<String>,
}

impl From<&core::Repo> for Repo {
    fn from(repo: &core::Repo) -> Self {
        Self {
            name: repo.name.to_string(),
            url: repo.url.clone(),
            reference: repo.reference.clone(),
            only: repo.only.clone(),
            head: repo.head.as_ref().map(ToString::to_string),
            synced_at: repo.synced_at.map(moment),
            error: repo.error.clone(),
        }
    }
}

/// What became of a sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Synced {
    /// One entry for each repository that was asked.
    pub items: Vec<SyncResult>,
}

/// What became of the sync of one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncResult {
    /// The repository.
    pub repo: String,
    /// The revision that it is at now, if it could be synced.
    pub revision: Option<String>,
    /// Why it could not be synced.
    pub error: Option<String>,
}
