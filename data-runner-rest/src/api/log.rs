//! Logs as REST shows them: in an execution, and line by line.

use data_runner_core::execution::StateName;
use data_runner_core::log::{self as core, Stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What there is of an execution's log: that of its newest attempt.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LogOverview {
    /// How many bytes, over both streams; missing ones count where their number is known.
    pub bytes: u64,
    /// How many lines.
    pub lines: u64,
    /// Whether something is missing at its end.
    pub truncated: bool,
    /// The last lines, read as UTF-8 as far as possible.
    pub tail: Vec<String>,
}

/// One line of a log: a record of `application/x-ndjson`, the data of a server-sent event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// The line's number within its attempt, from 1, over both streams in the order in which lines started.
    pub line: u64,
    /// Where the job wrote it.
    #[schema(schema_with = super::schema::stream)]
    pub stream: Stream,
    /// When its first byte was read, by the worker's clock.
    pub at: Timestamp,
    /// Its text without the newline; bytes that are no UTF-8 are replaced by U+FFFD.
    pub text: String,
    /// The attempt that printed it.
    pub attempt: u32,
    /// Present and true: the line is longer than 64 KiB and its next record goes on with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
}

/// A record in place of lines: bytes are missing here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogGap {
    /// What is missing.
    pub gap: Gap,
    /// When that was found.
    pub at: Timestamp,
    /// The attempt whose log it is.
    pub attempt: u32,
}

/// What is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// How many bytes over both streams; null: it cannot be known.
    pub bytes: Option<u64>,
    /// `quota`, `worker_lost`, `not_delivered` or `disk_full`.
    pub reason: String,
}

impl From<core::Gap> for Gap {
    fn from(gap: core::Gap) -> Self {
        Self { bytes: gap.bytes, reason: gap.reason.as_str().to_owned() }
    }
}

/// The data of the last server-sent event, `end`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEnd {
    /// The execution's state; not a final one if the log was not followed.
    #[schema(schema_with = super::schema::execution_state)]
    pub state: StateName,
    /// The job's exit code; 128 + n if signal n ended it.
    pub exit_code: Option<i32>,
}
