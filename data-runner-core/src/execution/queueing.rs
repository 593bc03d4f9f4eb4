//! How an execution stands in line.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::WorkflowId;
use crate::time::Timestamp;

/// What decides when an execution has its turn; fixed at its submission.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Queueing {
    /// What it is worth to wait for it.
    #[serde(default)]
    pub priority: Priority,
    /// With which others it may not run at one time.
    #[serde(default)]
    pub concurrency: Option<Concurrency>,
    /// How long it may wait to be started, whatever for, before it fails.
    #[serde(default)]
    pub start_within: Option<Duration>,
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

/// How many executions of a workflow that have the same key may run at one time.
///
/// An execution runs from its first launch or assignment until it has ended, so until its last attempt is fenced; also
/// while it waits to be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// It starts only while fewer than this run under its key.
    pub limit: NonZeroU32,
    /// The key: those of the same workflow and key count together.
    pub key: String,
    /// What happens if it can't start at once.
    pub on_conflict: OnConflict,
}

/// What happens to an execution while as many run under its key as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// It waits for its turn.
    #[default]
    Queue,
    /// It is not made.
    Skip,
    /// The oldest ones are cancelled, and it waits until they are gone.
    CancelRunning,
}

impl OnConflict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Skip, Self::CancelRunning];

    /// The name as it stands in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Skip => "skip",
            Self::CancelRunning => "cancel_running",
        }
    }
}

/// Where executions count together for [`Concurrency`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConcurrencyKey {
    /// The workflow.
    pub workflow: WorkflowId,
    /// The key's text.
    pub key: String,
}
