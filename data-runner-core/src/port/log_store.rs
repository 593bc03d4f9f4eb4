//! Logs, as chunks.

use async_trait::async_trait;

use super::StateError;
use crate::id::AttemptId;
use crate::log::{Gap, LogChunk, LogPosition};
use crate::message::{LogAck, LogAppend};
use crate::time::Timestamp;

/// Keeps the logs of attempts. Appends never pass through the Orchestrator; this store checks by itself, inside its own
/// transaction, that the claim is the attempt's live one.
///
/// Contract:
/// - `append` stores each chunk that continues its attempt's log exactly where it ended; a chunk that was stored
///   before is acknowledged again and not stored twice; one that starts beyond the end is not stored, and the
///   acknowledgement says where to go on from; a stale lease, or a log that is closed, is `Refused`;
/// - an acknowledgement of `Stored { upto }` means that everything before `upto` is durable;
/// - acknowledgements come in the order of the appends, one each;
/// - `read` gives the chunks of a range in order, found by index: its cost does not grow with the length of the log
///   before the range;
/// - `summary` of an attempt that has no log yet is the empty one.
///
/// Closing a log is a change of state (`Change::CloseLog`), so that it is atomic with the end of the execution.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait LogStore: Send + Sync + 'static {
    /// Stores what continues the logs.
    async fn append(&self, appends: Vec<LogAppend>) -> Result<Vec<LogAck>, StateError>;

    /// At most `limit` chunks of an attempt's log, in order.
    async fn read(
        &self,
        attempt: AttemptId,
        range: LogRange,
        limit: u32,
    ) -> Result<Vec<LogChunk>, StateError>;

    /// How much of an attempt's log is stored, and whether it is complete.
    async fn summary(&self, attempt: AttemptId) -> Result<LogSummary, StateError>;
}

/// Which chunks are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRange {
    /// Those that end after this offset.
    FromOffset(crate::log::LogOffset),
    /// Those that hold bytes of these lines, both included. Lines are numbered from 1.
    Lines {
        /// The first line.
        from: u64,
        /// The last line.
        to: u64,
    },
}

/// How much of an attempt's log is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSummary {
    /// Where the stored log ends.
    pub end: LogPosition,
    /// Whether more may come.
    pub state: LogState,
}

/// Whether more of a log may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogState {
    /// More may come.
    Open,
    /// It is complete.
    Complete {
        /// When it was closed.
        at: Timestamp,
    },
    /// It was closed though something is missing at its end.
    Truncated {
        /// When it was closed.
        at: Timestamp,
        /// What is missing.
        gap: Gap,
    },
}
