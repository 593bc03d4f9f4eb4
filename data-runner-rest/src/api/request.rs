//! The bodies of requests. Unknown fields are refused.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of `POST /workflows`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRepo {
    /// The repository's URL, or the path of a folder on the supervisor's machine.
    pub repo: String,
    /// The branch, tag or other ref to follow; default: what the repository's HEAD names.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Only the workflow in this folder; default: all that the repository has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The repository's name here; default: the last part of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The body of `POST /workflows/{id}/execute`; may be absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Execute {
    /// Parameters: JSON of the declared type, or text that reads as such. What is not given has its default.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub params: serde_json::Map<String, serde_json::Value>,
    /// Another branch, tag or commit than the newest synced one.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Another instance size than the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_size: Option<String>,
}

/// The body of `POST /workflows/{id}/backfill`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Backfill {
    /// The first date.
    #[schema(value_type = String, format = Date)]
    pub from: jiff::civil::Date,
    /// The last date.
    #[schema(value_type = String, format = Date)]
    pub to: jiff::civil::Date,
    /// How many executions may be active at one time. Default: what the workflow's matrix says, else one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u16>, minimum = 1)]
    pub max_parallel: Option<std::num::NonZeroU16>,
    /// Parameters for all of them; what is not given has its default for each date.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub params: serde_json::Map<String, serde_json::Value>,
    /// Whether only to tell what would run.
    #[serde(default)]
    pub dry_run: bool,
}

/// The body of `POST /executions/{id}/cancel`, `/retry` and `/rerun`, of `POST /groups/{id}/…` and of `POST /workers/{id}/drain`: an empty
/// object; may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Repeat {}

/// The body of `PATCH /workflows/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchWorkflow {
    /// Whether its schedules stop. Runs by hand go on.
    pub paused: bool,
}

/// The body of `POST /repos/sync`; may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncRepos {
    /// The repository; default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
}

/// The body of `POST /validate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Validate {
    /// The text of a `config.yaml`.
    pub config: String,
    /// The names of the files beside it. If given, what the configuration names must be among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
}
