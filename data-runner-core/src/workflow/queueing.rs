//! How a workflow's executions stand in line.

use serde::{Deserialize, Serialize};

use crate::execution::{Priority, Queueing};

/// What a configuration says of it; with an execution's parameters it becomes that one's [`Queueing`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueueingRules {
    /// What it is worth to wait for them.
    #[serde(default)]
    pub priority: Priority,
}

impl QueueingRules {
    /// That of one execution.
    pub fn resolve(&self) -> Queueing {
        Queueing { priority: self.priority }
    }
}
