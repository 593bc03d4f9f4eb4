//! Logs: the bytes that a job writes, in the order in which they were read, numbered by line.
//!
//! Bytes are the unit, not lines: a job may print binary data, `\r`, or a line of ten megabytes. One attempt has one
//! sequence; [`LogOffset`] counts its bytes over both streams. A [`LogChunk`] is a piece of that sequence and can be
//! read by itself: it says at which offset and line it starts, and which lines are open there.

mod chunk;
mod reader;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use chunk::{ChunkBuilder, Codec, LogChunk, LogPosition};
pub use reader::{CorruptChunk, LinePiece, PieceKind, Segment};

/// A place in an attempt's log: how many bytes, over both streams, come before it. Missing bytes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogOffset(pub u64);

impl fmt::Display for LogOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a job wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The name as REST and CLI have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Why bytes of a log are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The attempt printed more than its quota.
    Quota,
    /// The worker was gone before everything was handed over; how much is missing cannot be known.
    WorkerLost,
    /// The worker reported its end, but the rest did not come in time.
    NotDelivered,
    /// The worker's disk did not take it.
    DiskFull,
}

impl GapReason {
    /// The name as REST and CLI have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::WorkerLost => "worker_lost",
            Self::NotDelivered => "not_delivered",
            Self::DiskFull => "disk_full",
        }
    }
}

/// An explicit record that bytes are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// How many bytes, over both streams; `None`: it cannot be known.
    pub bytes: Option<u64>,
    /// Why.
    pub reason: GapReason,
}
