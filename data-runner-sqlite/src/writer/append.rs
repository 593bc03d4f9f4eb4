//! Transactions of the logs.

use std::collections::BTreeMap;

use data_runner_core::id::{AttemptId, Lease};
use data_runner_core::log::{LogChunk, LogOffset, LogPosition};
use data_runner_core::message::{LogAck, LogAppend, LogOutcome};
use data_runner_core::port::StateError;
use sqlx::{Connection, SqliteConnection};

use crate::body::{Key, lease, signed};
use crate::error::store_error;
use crate::logs::{ChunkRow, codec_name, position};

/// The end of one log, as this transaction sees it.
struct Head {
    log: i64,
    /// Who may append; `None`: nobody (any more).
    lease: Option<Lease>,
    end: LogPosition,
    moved: bool,
}

/// Stores what continues the logs, all in one transaction: an acknowledgement is true as soon as this returns.
pub(super) async fn append<'a>(
    connection: &mut SqliteConnection,
    appends: impl Iterator<Item = &'a LogAppend>,
) -> Result<Vec<LogAck>, StateError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
    let mut heads: BTreeMap<AttemptId, Option<Head>> = BTreeMap::new();
    let mut acks = Vec::new();
    for LogAppend { claim, chunk } in appends {
        let head = match heads.entry(claim.attempt) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(unknown) => {
                unknown.insert(head(&mut transaction, claim.attempt).await?)
            }
        };
        let outcome = match head {
            Some(head) if head.lease == Some(claim.lease) => store(&mut transaction, head, chunk).await?,
            Some(_) | None => LogOutcome::Refused,
        };
        acks.push(LogAck { claim: *claim, outcome });
    }
    for head in heads.into_values().flatten().filter(|head| head.moved) {
        move_end(&mut transaction, &head).await?;
    }
    transaction.commit().await.map_err(store_error)?;
    Ok(acks)
}

async fn store(
    connection: &mut SqliteConnection,
    head: &mut Head,
    chunk: &LogChunk,
) -> Result<LogOutcome, StateError> {
    let (start, end) = (chunk.start.offset, chunk.end.offset);
    if end < start || !countable(chunk) {
        return Ok(LogOutcome::Refused);
    }
    if start == head.end.offset && !(start == end && is_last(connection, head, chunk).await?) {
        // The same offset with other lines is not a continuation of this log: it will never fit.
        if chunk.start != head.end {
            return Ok(LogOutcome::Refused);
        }
        insert(connection, head.log, chunk).await?;
        head.end = chunk.end;
        head.moved = true;
    }
    // Stored now, stored before, or beyond the end: it goes on from the end.
    Ok(LogOutcome::Stored { upto: head.end.offset })
}

/// Whether its numbers fit into SQLite's. No real log has more than 2⁶³ bytes; what claims so is not stored.
fn countable(chunk: &LogChunk) -> bool {
    let limit = i64::MAX.unsigned_abs();
    let fits = |position: &LogPosition| {
        position.offset <= LogOffset(limit)
            && position.next_line <= limit
            && position.open_stdout.is_none_or(|line| line <= limit)
            && position.open_stderr.is_none_or(|line| line <= limit)
    };
    fits(&chunk.start) && fits(&chunk.end)
}

async fn head(connection: &mut SqliteConnection, attempt: AttemptId) -> Result<Option<Head>, StateError> {
    let execution = attempt.execution.key();
    let number = i64::from(attempt.number.0);
    let row = sqlx::query!(
        "
        SELECT id, lease, end_offset, end_line, open_stdout, open_stderr, closed_at
        FROM logs WHERE execution = ? AND number = ?
        ",
        execution,
        number
    )
    .fetch_optional(connection)
    .await
    .map_err(store_error)?;
    let Some(row) = row else { return Ok(None) };
    let holder = match (row.closed_at, row.lease) {
        (None, Some(bytes)) => Some(lease(&bytes)?),
        (Some(_), _) | (None, None) => None,
    };
    let end = position(row.end_offset, row.end_line, row.open_stdout, row.open_stderr)?;
    Ok(Some(Head { log: row.id, lease: holder, end, moved: false }))
}

/// A chunk that only says that an unknown number of bytes is missing ends where it starts, so its offset does not tell
/// whether it was stored.
async fn is_last(
    connection: &mut SqliteConnection,
    head: &Head,
    chunk: &LogChunk,
) -> Result<bool, StateError> {
    let row = sqlx::query_as!(
        ChunkRow,
        "
        SELECT start_offset, start_line, start_open_stdout, start_open_stderr,
            end_offset, end_line, end_open_stdout, end_open_stderr, first_at, last_at, codec, payload
        FROM log_chunks INDEXED BY log_chunks_by_offset
        WHERE log = ? ORDER BY end_offset DESC, id DESC LIMIT 1
        ",
        head.log
    )
    .fetch_optional(connection)
    .await
    .map_err(store_error)?;
    Ok(match row {
        Some(row) => row.decode()? == *chunk,
        None => false,
    })
}

async fn insert(connection: &mut SqliteConnection, log: i64, chunk: &LogChunk) -> Result<(), StateError> {
    let start = Columns::of(&chunk.start);
    let end = Columns::of(&chunk.end);
    let lowest_line = signed(chunk.lowest_line());
    let (first_at, last_at) = (chunk.first_at.micros(), chunk.last_at.micros());
    let codec = codec_name(chunk.codec);
    let payload = &*chunk.payload;
    sqlx::query!(
        "
        INSERT INTO log_chunks (
            log, lowest_line, start_offset, start_line, start_open_stdout, start_open_stderr,
            end_offset, end_line, end_open_stdout, end_open_stderr, first_at, last_at, codec, payload
        ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ",
        log,
        lowest_line,
        start.offset,
        start.line,
        start.open_stdout,
        start.open_stderr,
        end.offset,
        end.line,
        end.open_stdout,
        end.open_stderr,
        first_at,
        last_at,
        codec,
        payload
    )
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(())
}

async fn move_end(connection: &mut SqliteConnection, head: &Head) -> Result<(), StateError> {
    let end = Columns::of(&head.end);
    sqlx::query!(
        "UPDATE logs SET end_offset = ?, end_line = ?, open_stdout = ?, open_stderr = ? WHERE id = ?",
        end.offset,
        end.line,
        end.open_stdout,
        end.open_stderr,
        head.log
    )
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(())
}

/// A position as SQLite has it.
struct Columns {
    offset: i64,
    line: i64,
    open_stdout: Option<i64>,
    open_stderr: Option<i64>,
}

impl Columns {
    fn of(position: &LogPosition) -> Self {
        Self {
            offset: signed(position.offset.0),
            line: signed(position.next_line),
            open_stdout: position.open_stdout.map(signed),
            open_stderr: position.open_stderr.map(signed),
        }
    }
}
