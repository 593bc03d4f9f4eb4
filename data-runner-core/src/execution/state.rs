//! The states of an execution.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{Failure, FinishReport, StopReason};
use crate::cost::Money;
use crate::id::{AttemptNumber, Claim, Lease, WorkerId};
use crate::time::Timestamp;

/// Where an execution stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ExecutionState {
    /// It waits for a worker, or for the end of its backoff.
    Queued {
        /// Why, and since when.
        waiting: Waiting,
    },
    /// A worker is being launched for it.
    Provisioning {
        /// That worker.
        worker: WorkerId,
        /// Since when.
        since: Timestamp,
    },
    /// It is assigned; the worker prepares code and environment.
    Starting {
        /// The attempt.
        live: LiveAttempt,
        /// A stop that was asked for.
        stop: Option<Stop>,
    },
    /// The user's code runs, or has ended and its log is being completed.
    Running {
        /// The attempt.
        live: LiveAttempt,
        /// How far.
        run: RunState,
    },
    /// The job ended with 0.
    Success {
        /// When.
        at: Timestamp,
    },
    /// It failed, and is not tried again.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        failure: Failure,
    },
    /// Somebody cancelled it, and no process of it is left.
    Cancelled {
        /// When.
        at: Timestamp,
    },
}

/// The attempt that is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveAttempt {
    /// Its number.
    pub number: AttemptNumber,
    /// The worker that has it.
    pub worker: WorkerId,
    /// The lease of its assignment.
    pub lease: Lease,
}

/// How far a started job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunState {
    /// The user's code runs.
    Working,
    /// The user's code runs and was told to stop.
    Stopping(Stop),
    /// The user's code has ended; the store waits for the rest of its log.
    Finishing {
        /// What the agent reported.
        report: Box<FinishReport>,
        /// A stop that was asked for before it ended.
        stop: Option<Stop>,
        /// When the execution is closed with a gap record if the log has not come by then.
        until: Timestamp,
    },
}

/// A stop that was asked for. The job's own end wins if it comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Why.
    pub reason: StopReason,
    /// When it was asked for.
    pub at: Timestamp,
}

/// Why a queued execution does not run yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The reason.
    pub reason: WaitingReason,
    /// Since when.
    pub since: Timestamp,
}

/// Why a queued execution does not run yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum WaitingReason {
    /// No worker that fits is free.
    Worker,
    /// As many workers exist as may, and all are busy.
    WorkerLimit {
        /// That limit.
        limit: u32,
    },
    /// As many of its workflow run under its key as may.
    Concurrency {
        /// The key.
        key: String,
        /// That limit.
        limit: NonZeroU32,
    },
    /// The previous attempt failed; the next one starts at that time.
    Backoff {
        /// When.
        until: Timestamp,
        /// Why the previous attempt failed.
        failure: Failure,
    },
    /// Its workflow would cost more in this month than it may.
    Budget {
        /// What it has cost, with what those that run are expected to.
        used: Money,
        /// What this one is expected to cost.
        needed: Money,
        /// What it may cost.
        limit: Money,
        /// When the next month begins.
        until: Timestamp,
    },
    /// The provisioner cannot start a machine at present.
    Hold {
        /// Its reason.
        message: String,
    },
    /// The supervisor is shutting down; it runs after the next start.
    Draining,
}

/// For people.
impl fmt::Display for WaitingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker => f.write_str("no worker that fits is free"),
            Self::WorkerLimit { limit } => write!(f, "all workers that may exist ({limit}) are busy"),
            Self::Concurrency { key, limit } if key.is_empty() => {
                write!(f, "at most {limit} of its workflow may run at one time")
            }
            Self::Concurrency { key, limit } => {
                write!(f, "at most {limit} of its workflow may run at one time under the key {key:?}")
            }
            Self::Backoff { failure, .. } => write!(f, "the last attempt failed: {}", failure.message),
            Self::Budget { used, needed, limit, .. } => {
                write!(f, "its workflow may cost {limit} a month; {used} are used, and it needs {needed}")
            }
            Self::Hold { message } => f.write_str(message),
            Self::Draining => f.write_str("it runs after the supervisor's next start"),
        }
    }
}

impl ExecutionState {
    /// The state's public name.
    pub const fn name(&self) -> StateName {
        match self {
            Self::Queued { .. } => StateName::Queued,
            Self::Provisioning { .. } => StateName::Provisioning,
            Self::Starting { .. } => StateName::Starting,
            Self::Running { .. } => StateName::Running,
            Self::Success { .. } => StateName::Success,
            Self::Failed { .. } => StateName::Failed,
            Self::Cancelled { .. } => StateName::Cancelled,
        }
    }

    /// The attempt that is alive, if one is.
    pub const fn live(&self) -> Option<LiveAttempt> {
        match self {
            Self::Starting { live, .. } | Self::Running { live, .. } => Some(*live),
            Self::Queued { .. }
            | Self::Provisioning { .. }
            | Self::Success { .. }
            | Self::Failed { .. }
            | Self::Cancelled { .. } => None,
        }
    }

    /// When its backoff ends, if it waits to be tried again.
    pub const fn backoff_until(&self) -> Option<Timestamp> {
        match self {
            Self::Queued { waiting } => match waiting.reason {
                WaitingReason::Backoff { until, .. } => Some(until),
                WaitingReason::Worker
                | WaitingReason::WorkerLimit { .. }
                | WaitingReason::Concurrency { .. }
                | WaitingReason::Budget { .. }
                | WaitingReason::Hold { .. }
                | WaitingReason::Draining => None,
            },
            Self::Provisioning { .. }
            | Self::Starting { .. }
            | Self::Running { .. }
            | Self::Success { .. }
            | Self::Failed { .. }
            | Self::Cancelled { .. } => None,
        }
    }

    /// When it ended, if it has.
    pub const fn finished_at(&self) -> Option<Timestamp> {
        match self {
            Self::Success { at } | Self::Failed { at, .. } | Self::Cancelled { at } => Some(*at),
            Self::Queued { .. }
            | Self::Provisioning { .. }
            | Self::Starting { .. }
            | Self::Running { .. } => None,
        }
    }
}

impl LiveAttempt {
    /// What messages about it bear.
    pub const fn claim(&self, execution: crate::id::ExecutionId) -> Claim {
        Claim { attempt: crate::id::AttemptId { execution, number: self.number }, lease: self.lease }
    }
}

/// The public name of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// See [`ExecutionState::Queued`].
    Queued,
    /// See [`ExecutionState::Provisioning`].
    Provisioning,
    /// See [`ExecutionState::Starting`].
    Starting,
    /// See [`ExecutionState::Running`].
    Running,
    /// See [`ExecutionState::Success`].
    Success,
    /// See [`ExecutionState::Failed`].
    Failed,
    /// See [`ExecutionState::Cancelled`].
    Cancelled,
}

impl StateName {
    /// Every state in the order of an execution's life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Provisioning,
        Self::Starting,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name as REST, CLI and the store have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Provisioning => "provisioning",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether an execution in this state never changes again.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Success | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::Provisioning | Self::Starting | Self::Running => false,
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for StateName {
    type Err = crate::id::InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| crate::id::InvalidId {
            what: "state",
            given: text.to_owned(),
            expected: "queued, provisioning, starting, running, success, failed or cancelled",
        })
    }
}
