//! How an attempt ended: what the agent reports, and what is kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Failure, FailureCause, SqlReport};
use crate::log::LogOffset;

/// What the agent reports once the job and its whole process tree are gone. Repeated until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinishReport {
    /// How it ended.
    pub ending: Ending,
    /// What it used.
    pub usage: Usage,
    /// What it wrote to `DATA_RUNNER_OUTPUT`, if that was JSON.
    pub output: Option<serde_json::Value>,
    /// What people should know of it that changes nothing of how it ended: sentences, the first
    /// [`WARNINGS`](Self::WARNINGS) of them.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Where its log ends: the supervisor closes the execution when it has stored that much.
    pub log_end: LogOffset,
    /// How long the user's code ran, by the agent's monotonic clock.
    pub ran_for: Duration,
    /// What the engine told of an SQL script, if it was one.
    #[serde(default)]
    pub sql: Option<Box<SqlReport>>,
}

impl FinishReport {
    /// How many warnings are kept.
    pub const WARNINGS: usize = 20;
    /// How long each may be, in characters.
    pub const WARNING_LENGTH: usize = 1_000;

    /// Leaves out what is too much of its warnings, whoever made it.
    pub fn bound_warnings(&mut self) {
        self.warnings.truncate(Self::WARNINGS);
        for warning in &mut self.warnings {
            if let Some((end, _)) = warning.char_indices().nth(Self::WARNING_LENGTH) {
                warning.truncate(end);
                warning.push('…');
            }
        }
    }
}

/// How an attempt ended. The cause is kept apart from the code: a job that is told to stop may still exit with 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Ending {
    /// It ended by itself with this code.
    Exited {
        /// The exit code, 0 to 255.
        code: u8,
    },
    /// A signal that was not ours ended it.
    Signalled {
        /// The signal's number.
        signal: u8,
    },
    /// The kernel, or a limit of ours, killed it for its memory.
    OutOfMemory {
        /// What it was allowed, in bytes, where that is known.
        limit_bytes: Option<u64>,
    },
    /// We stopped it.
    Stopped {
        /// Why.
        reason: StopReason,
    },
    /// It never started; the failure says why (environment or source).
    NeverStarted {
        /// Why.
        failure: Failure,
    },
    /// The agent finds no trace of it: the machine was restarted, or its run folder is gone.
    Vanished {
        /// What the agent found.
        message: String,
    },
}

/// Why a job was stopped by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Somebody cancelled the execution.
    Cancelled,
    /// It ran longer than its `timeout`.
    Timeout,
    /// The machine is being taken away, or its operator stopped it at once.
    Interrupted,
    /// The supervisor no longer knows the attempt, or gave it up.
    Disowned,
}

/// What an attempt used. What could not be measured is `None`, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// The most memory that the whole process tree held at one time, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// User and system time of the whole process tree.
    pub cpu_time: Duration,
    /// What the whole process tree moved between memory and disks. What the page cache held already was not read, and
    /// what was removed before it was written counts as written.
    #[serde(default)]
    pub storage: Option<StorageBytes>,
    /// The most that its code, what it wrote beside it, and its temporary files took of the disk, in bytes, as samples
    /// found it: never more than what was there.
    #[serde(default)]
    pub peak_folder_bytes: Option<u64>,
    /// The most that the engine put on disk for want of memory, in bytes.
    #[serde(default)]
    pub peak_spill_bytes: Option<u64>,
    /// What the machine's interfaces carried meanwhile, where the job had the machine to itself.
    #[serde(default)]
    pub network: Option<NetworkBytes>,
}

/// Bytes between memory and disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StorageBytes {
    /// Read.
    pub read: u64,
    /// Written.
    pub written: u64,
}

/// Bytes over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetworkBytes {
    /// Received.
    pub received: u64,
    /// Sent; the job's log is among them.
    pub sent: u64,
}

/// How an attempt ended, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AttemptEnd {
    /// The agent reported it.
    Reported(FinishReport),
    /// No agent reported; the worker was proved gone.
    Lost(Failure),
}

impl AttemptEnd {
    /// Why the attempt failed; `None` if it ended with 0 or was cancelled.
    pub fn failure(&self) -> Option<Failure> {
        match self {
            Self::Reported(report) => report.ending.failure(report.ran_for),
            Self::Lost(failure) => Some(failure.clone()),
        }
    }

    /// The exit code as a shell would tell it: 128 + n for a signal.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Lost(_) => None,
            Self::Reported(report) => match report.ending {
                Ending::Exited { code } => Some(i32::from(code)),
                Ending::Signalled { signal } => Some(128 + i32::from(signal)),
                Ending::OutOfMemory { .. }
                | Ending::Stopped { .. }
                | Ending::NeverStarted { .. }
                | Ending::Vanished { .. } => None,
            },
        }
    }
}

impl Ending {
    /// What kind of failure this is; `None` for an exit with 0 and for a stop that somebody asked for.
    pub fn failure(&self, ran_for: Duration) -> Option<Failure> {
        use FailureCause::{Interrupted, OutOfMemory, Timeout, UserError, WorkerLost};
        match self {
            Self::Exited { code: 0 } | Self::Stopped { reason: StopReason::Cancelled } => None,
            Self::Exited { code } => {
                Some(Failure::new(UserError, format!("the job exited with code {code}")))
            }
            Self::Signalled { signal } => {
                Some(Failure::new(UserError, format!("the job was ended by signal {signal}")))
            }
            Self::OutOfMemory { limit_bytes } => Some(out_of_memory(OutOfMemory, *limit_bytes)),
            Self::Stopped { reason: StopReason::Timeout } => Some(
                Failure::new(
                    Timeout,
                    format!("the job was stopped by its timeout after {} s", ran_for.as_secs()),
                )
                .hinting("raise `timeout` in config.yaml if the job needs longer"),
            ),
            Self::Stopped { reason: StopReason::Interrupted } => {
                Some(Failure::new(Interrupted, "the job was interrupted: its worker had to go"))
            }
            Self::Stopped { reason: StopReason::Disowned } => {
                Some(Failure::new(Interrupted, "the job was stopped because the supervisor gave it up"))
            }
            Self::NeverStarted { failure } => Some(failure.clone()),
            Self::Vanished { message } => Some(Failure::new(WorkerLost, message.clone())),
        }
    }
}

fn out_of_memory(cause: FailureCause, limit_bytes: Option<u64>) -> Failure {
    let message = match limit_bytes {
        Some(limit) => format!("the job needed more than the {} MiB of memory that it may use", limit >> 20),
        None => "the job was killed for its memory".to_owned(),
    };
    Failure::new(cause, message)
        .hinting("choose a larger `instance_size`, or make the job need less memory at a time")
}
