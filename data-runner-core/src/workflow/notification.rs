//! Whom to tell of what.

use serde::{Deserialize, Serialize};

use super::SecretRef;

/// One rule of a workflow: tell this address of these events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The events.
    pub on: Vec<NotifyOn>,
    /// Where to: a reference that the supervisor resolves to an https URL (an address often is a secret).
    pub webhook: SecretRef,
}

/// What somebody can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyOn {
    /// An execution failed and is not tried again.
    Failure,
}
