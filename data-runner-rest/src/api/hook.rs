//! Webhooks as REST answers them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was done for a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hooked {
    /// What was done.
    pub outcome: HookOutcome,
    /// The same in a sentence, for those who look at deliveries at the sender's.
    pub message: String,
    /// The repositories that are looked at.
    pub repos: Vec<String>,
}

/// What is done for webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookOutcome {
    /// Its repositories are looked at now.
    Looking,
    /// Nothing: the same delivery came before.
    Repeated,
    /// Nothing: it tells of something else than a push.
    Ignored,
    /// Nothing: it was a trial, and it came through.
    Pong,
}
