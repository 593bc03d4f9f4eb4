//! How an execution stands in line.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What decides when an execution has its turn; fixed at its submission.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Queueing {
    /// What it is worth to wait for it.
    #[serde(default)]
    pub priority: Priority,
}

impl Queueing {
    /// The place in line of an execution that was created then: who has the earliest is next. It never changes, and what
    /// comes more than [`Priority::MAX`] minutes later never stands before it, so everything has its turn.
    pub fn rank(&self, created_at: Timestamp) -> Timestamp {
        created_at.before(self.priority.head_start())
    }
}

/// From 0 to 100: each point counts as a minute of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(u8);

impl Priority {
    /// The highest.
    pub const MAX: Self = Self(100);

    /// That of a number; what is beyond the highest is the highest.
    pub const fn new(points: u8) -> Self {
        if points > Self::MAX.0 { Self::MAX } else { Self(points) }
    }

    /// The number.
    pub const fn points(self) -> u8 {
        self.0
    }

    /// For how much waiting it counts.
    fn head_start(self) -> Duration {
        Duration::from_secs(60 * u64::from(self.0))
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(50)
    }
}
