//! The port LogStore: what is read. What is written goes through the writer.

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::id::AttemptId;
use data_runner_core::log::{Codec, Gap, GapReason, LogChunk, LogOffset, LogPosition};
use data_runner_core::message::{LogAck, LogAppend};
use data_runner_core::port::{LogRange, LogState, LogStore, LogSummary, StateError};
use data_runner_core::time::Timestamp;

use crate::body::{Key, signed, unsigned};
use crate::error::{corrupt, store_error};
use crate::store::SqliteStore;

#[async_trait]
impl LogStore for SqliteStore {
    async fn append(&self, appends: Vec<LogAppend>) -> Result<Vec<LogAck>, StateError> {
        if appends.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.append(appends).await
    }

    async fn read(
        &self,
        attempt: AttemptId,
        range: LogRange,
        limit: u32,
    ) -> Result<Vec<LogChunk>, StateError> {
        let rows = match range {
            LogRange::FromOffset(offset) => self.after_offset(attempt, offset, limit).await?,
            LogRange::Lines { from, to } => self.lines(attempt, from, to, limit).await?,
        };
        rows.into_iter().map(ChunkRow::decode).collect()
    }

    async fn summary(&self, attempt: AttemptId) -> Result<LogSummary, StateError> {
        let (execution, number) = (attempt.execution.key(), i64::from(attempt.number.0));
        let row = sqlx::query!(
            "
            SELECT end_offset, end_line, open_stdout, open_stderr, closed_at, gap_reason, gap_bytes
            FROM logs WHERE execution = ? AND number = ?
            ",
            execution,
            number
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(store_error)?;
        let Some(row) = row else {
            return Ok(LogSummary { end: LogPosition::START, state: LogState::Open });
        };
        let at = row.closed_at.map(Timestamp::from_micros);
        let state = match (at, row.gap_reason) {
            (None, _) => LogState::Open,
            (Some(at), None) => LogState::Complete { at },
            (Some(at), Some(reason)) => {
                let bytes = row.gap_bytes.map(unsigned).transpose()?;
                LogState::Truncated { at, gap: Gap { bytes, reason: gap_reason(&reason)? } }
            }
        };
        Ok(LogSummary {
            end: position(row.end_offset, row.end_line, row.open_stdout, row.open_stderr)?,
            state,
        })
    }
}

impl SqliteStore {
    async fn after_offset(
        &self,
        attempt: AttemptId,
        offset: LogOffset,
        limit: u32,
    ) -> Result<Vec<ChunkRow>, StateError> {
        let (execution, number) = (attempt.execution.key(), i64::from(attempt.number.0));
        let offset = signed(offset.0);
        sqlx::query_as!(
            ChunkRow,
            "
            SELECT start_offset, start_line, start_open_stdout, start_open_stderr,
                end_offset, end_line, end_open_stdout, end_open_stderr, first_at, last_at, codec, payload
            FROM log_chunks INDEXED BY log_chunks_by_offset
            WHERE log = (SELECT id FROM logs WHERE execution = ?1 AND number = ?2) AND end_offset > ?3
            ORDER BY end_offset, id LIMIT ?4
            ",
            execution,
            number,
            offset,
            limit
        )
        .fetch_all(&self.readers)
        .await
        .map_err(store_error)
    }

    /// Both ends of the range are found by index: the first chunk whose end lies beyond `from`, and the last one that
    /// begins at or before `to`.
    async fn lines(
        &self,
        attempt: AttemptId,
        from: u64,
        to: u64,
        limit: u32,
    ) -> Result<Vec<ChunkRow>, StateError> {
        let (execution, number) = (attempt.execution.key(), i64::from(attempt.number.0));
        let (from, to) = (signed(from), signed(to));
        sqlx::query_as!(
            ChunkRow,
            "
            WITH of(log) AS MATERIALIZED (SELECT id FROM logs WHERE execution = ?1 AND number = ?2)
            SELECT start_offset, start_line, start_open_stdout, start_open_stderr,
                end_offset, end_line, end_open_stdout, end_open_stderr, first_at, last_at, codec, payload
            FROM log_chunks INDEXED BY log_chunks_by_line
            WHERE log = (SELECT log FROM of) AND end_line > ?3 AND end_line <= (
                SELECT end_line FROM log_chunks INDEXED BY log_chunks_by_lowest_line
                WHERE log = (SELECT log FROM of) AND lowest_line <= ?4
                ORDER BY lowest_line DESC, id DESC LIMIT 1
            ) AND lowest_line <= ?4
            ORDER BY end_line, id LIMIT ?5
            ",
            execution,
            number,
            from,
            to,
            limit
        )
        .fetch_all(&self.readers)
        .await
        .map_err(store_error)
    }
}

/// A chunk as its table has it.
pub(crate) struct ChunkRow {
    pub(crate) start_offset: i64,
    pub(crate) start_line: i64,
    pub(crate) start_open_stdout: Option<i64>,
    pub(crate) start_open_stderr: Option<i64>,
    pub(crate) end_offset: i64,
    pub(crate) end_line: i64,
    pub(crate) end_open_stdout: Option<i64>,
    pub(crate) end_open_stderr: Option<i64>,
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    pub(crate) codec: String,
    pub(crate) payload: Vec<u8>,
}

impl ChunkRow {
    pub(crate) fn decode(self) -> Result<LogChunk, StateError> {
        Ok(LogChunk {
            start: position(
                self.start_offset,
                self.start_line,
                self.start_open_stdout,
                self.start_open_stderr,
            )?,
            end: position(self.end_offset, self.end_line, self.end_open_stdout, self.end_open_stderr)?,
            first_at: Timestamp::from_micros(self.first_at),
            last_at: Timestamp::from_micros(self.last_at),
            codec: codec(&self.codec)?,
            payload: Bytes::from(self.payload),
        })
    }
}

pub(crate) fn position(
    offset: i64,
    next_line: i64,
    open_stdout: Option<i64>,
    open_stderr: Option<i64>,
) -> Result<LogPosition, StateError> {
    Ok(LogPosition {
        offset: LogOffset(unsigned(offset)?),
        next_line: unsigned(next_line)?,
        open_stdout: open_stdout.map(unsigned).transpose()?,
        open_stderr: open_stderr.map(unsigned).transpose()?,
    })
}

pub(crate) fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Plain => "plain",
        Codec::Zstd => "zstd",
    }
}

fn codec(name: &str) -> Result<Codec, StateError> {
    [Codec::Plain, Codec::Zstd]
        .into_iter()
        .find(|codec| codec_name(*codec) == name)
        .ok_or_else(|| corrupt("log chunk", format!("unknown codec {name:?}")))
}

fn gap_reason(name: &str) -> Result<GapReason, StateError> {
    [GapReason::Quota, GapReason::WorkerLost, GapReason::NotDelivered, GapReason::DiskFull]
        .into_iter()
        .find(|reason| reason.as_str() == name)
        .ok_or_else(|| corrupt("log", format!("unknown reason {name:?} of a gap")))
}
