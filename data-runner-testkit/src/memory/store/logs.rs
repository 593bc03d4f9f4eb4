//! Logs: one per attempt.

use data_runner_core::id::{AttemptId, Claim, Lease};
use data_runner_core::log::{Gap, LogChunk, LogPosition};
use data_runner_core::message::{LogAck, LogAppend, LogOutcome};
use data_runner_core::port::{LogRange, LogState, LogSummary};
use data_runner_core::time::Timestamp;

use super::tables::Tables;

/// The log of one attempt.
#[derive(Debug)]
pub(super) struct Log {
    /// Who may append; `None` for a log that was closed before it was ever opened.
    lease: Option<Lease>,
    pub(super) end: LogPosition,
    state: LogState,
    chunks: Vec<LogChunk>,
}

impl Default for Log {
    fn default() -> Self {
        Self { lease: None, end: LogPosition::START, state: LogState::Open, chunks: Vec::new() }
    }
}

impl Log {
    pub(super) fn open(&mut self, lease: Lease) {
        self.lease = Some(lease);
        self.state = LogState::Open;
    }

    /// The first close stands: a repeated one must not move its time.
    pub(super) fn close(&mut self, at: Timestamp, gap: Option<Gap>) {
        if self.state == LogState::Open {
            self.state = match gap {
                None => LogState::Complete { at },
                Some(gap) => LogState::Truncated { at, gap },
            };
        }
    }

    pub(super) fn open_claim(&self, attempt: AttemptId) -> Option<Claim> {
        let lease = self.lease.filter(|_| self.state == LogState::Open)?;
        Some(Claim { attempt, lease })
    }

    fn append(&mut self, chunk: LogChunk) -> LogOutcome {
        let (start, end) = (chunk.start.offset, chunk.end.offset);
        if end < start {
            return LogOutcome::Refused;
        }
        if start == self.end.offset && self.chunks.last() != Some(&chunk) {
            // The same offset with other lines is not a continuation of this log: it will never fit.
            if chunk.start != self.end {
                return LogOutcome::Refused;
            }
            self.end = chunk.end;
            self.chunks.push(chunk);
            return LogOutcome::Stored { upto: end };
        }
        // Stored before, or beyond the end: either way it goes on from the end.
        LogOutcome::Stored { upto: self.end.offset }
    }

    fn read(&self, range: LogRange, limit: u32) -> Vec<LogChunk> {
        let wanted = |chunk: &&LogChunk| match range {
            LogRange::FromOffset(offset) => chunk.end.offset > offset,
            LogRange::Lines { from, to } => chunk.lowest_line() <= to && chunk.end.next_line > from,
        };
        self.chunks.iter().filter(wanted).take(limit as usize).cloned().collect()
    }
}

impl Tables {
    pub(super) fn append(&mut self, append: LogAppend) -> LogAck {
        let claim = append.claim;
        let outcome = match self.logs.get_mut(&claim.attempt) {
            Some(log) if log.open_claim(claim.attempt) == Some(claim) => log.append(append.chunk),
            Some(_) | None => LogOutcome::Refused,
        };
        LogAck { claim, outcome }
    }

    pub(super) fn read(&self, attempt: AttemptId, range: LogRange, limit: u32) -> Vec<LogChunk> {
        self.logs.get(&attempt).map_or_else(Vec::new, |log| log.read(range, limit))
    }

    pub(super) fn summary(&self, attempt: AttemptId) -> LogSummary {
        self.logs.get(&attempt).map_or(LogSummary { end: LogPosition::START, state: LogState::Open }, |log| {
            LogSummary { end: log.end, state: log.state }
        })
    }
}
