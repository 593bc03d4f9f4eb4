//! Why an execution failed, in terms that retries, hints and people can act on.

use serde::{Deserialize, Serialize};

/// The reason of a failure. Retries are configured per cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// The job's own code ended with a non-zero code or a signal.
    UserError,
    /// The job was killed for its memory.
    OutOfMemory,
    /// It ran longer than its `timeout`.
    Timeout,
    /// No machine could be had.
    NoCapacity,
    /// The machine was taken away (spot), or its operator stopped it.
    Interrupted,
    /// The job's environment (packages, interpreter, DuckDB) could not be made.
    Environment,
    /// The code could not be delivered or read.
    Source,
    /// The worker vanished.
    WorkerLost,
    /// Policy forbids it.
    Rejected,
    /// It would cost, or has cost, more than its budget.
    Budget,
}

impl FailureCause {
    /// Every cause, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::UserError,
        Self::OutOfMemory,
        Self::Timeout,
        Self::NoCapacity,
        Self::Interrupted,
        Self::Environment,
        Self::Source,
        Self::WorkerLost,
        Self::Rejected,
        Self::Budget,
    ];

    /// The name as it stands in configuration, REST and CLI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserError => "user_error",
            Self::OutOfMemory => "out_of_memory",
            Self::Timeout => "timeout",
            Self::NoCapacity => "no_capacity",
            Self::Interrupted => "interrupted",
            Self::Environment => "environment",
            Self::Source => "source",
            Self::WorkerLost => "worker_lost",
            Self::Rejected => "rejected",
            Self::Budget => "budget",
        }
    }
}

/// A failure as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its cause.
    pub cause: FailureCause,
    /// What happened.
    pub message: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(cause: FailureCause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hinting(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
