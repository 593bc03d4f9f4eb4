//! Chunks as they travel and as they are stored.
//!
//! The payload, once decompressed, is a sequence of records; integers are unsigned LEB128:
//!
//! ```text
//! record  = tag elapsed length bytes      tag 0 = stdout, 1 = stderr
//!         | 2 elapsed reason missing      a gap; missing = 0: unknown, n + 1: n bytes
//! elapsed = microseconds since the previous record of the chunk, or since the chunk's first time
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::reader::CorruptChunk;
use super::{Gap, GapReason, LogOffset, Stream};
use crate::time::Timestamp;

/// The most that one chunk may hold once decompressed; a larger claim is refused as corrupt.
pub(super) const MAX_PAYLOAD: usize = 4 << 20;

/// Below this, compression costs more than it saves.
const COMPRESS_FROM: usize = 512;

/// A piece of an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// Where it starts.
    pub start: LogPosition,
    /// Where it ends: where the next one starts.
    pub end: LogPosition,
    /// When its first byte was read, by the worker's clock.
    pub first_at: Timestamp,
    /// When its last byte was read.
    pub last_at: Timestamp,
    /// How the payload is compressed.
    pub codec: Codec,
    /// The records.
    pub payload: Bytes,
}

impl LogChunk {
    /// The lowest line that has bytes in this chunk, or would have. It never falls from one chunk to the next, and
    /// neither does `end.next_line`; so the chunks of a range of lines are neighbours.
    pub fn lowest_line(&self) -> u64 {
        self.start.lowest_line()
    }
}

/// How a payload is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Not at all.
    Plain,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// A place in a log, with all that numbering lines needs to know there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogPosition {
    /// How many bytes come before.
    pub offset: LogOffset,
    /// The number that the next line to start will get; the first line is 1.
    pub next_line: u64,
    /// The line of standard output that has begun and has had no newline yet.
    pub open_stdout: Option<u64>,
    /// The same of standard error.
    pub open_stderr: Option<u64>,
}

impl LogPosition {
    /// The beginning of a log.
    pub const START: Self = Self { offset: LogOffset(0), next_line: 1, open_stdout: None, open_stderr: None };

    pub(super) fn lowest_line(&self) -> u64 {
        self.next_line.min(self.open_stdout.unwrap_or(u64::MAX)).min(self.open_stderr.unwrap_or(u64::MAX))
    }

    pub(super) fn open(&mut self, stream: Stream) -> &mut Option<u64> {
        match stream {
            Stream::Stdout => &mut self.open_stdout,
            Stream::Stderr => &mut self.open_stderr,
        }
    }

    /// Passes `bytes` of `stream`: counts them and the lines that start in them.
    fn pass(&mut self, stream: Stream, bytes: &[u8]) {
        let newlines = memchr::memchr_iter(b'\n', bytes).count() as u64;
        let ends_open = bytes.last().is_some_and(|&last| last != b'\n');
        let was_open = self.open(stream).is_some();
        let started = newlines + u64::from(ends_open) - u64::from(was_open && !bytes.is_empty());
        self.next_line += started;
        if !bytes.is_empty() {
            let last_line = if started == 0 { *self.open(stream) } else { Some(self.next_line - 1) };
            *self.open(stream) = if ends_open { last_line } else { None };
        }
        self.offset.0 += bytes.len() as u64;
    }

    /// Passes a gap. What follows it starts a line of its own: the gap may have held the end of any open line.
    pub(super) fn pass_gap(&mut self, gap: Gap) {
        self.offset.0 += gap.bytes.unwrap_or(0);
        self.open_stdout = None;
        self.open_stderr = None;
    }
}

/// Makes chunks out of what is read from a job's pipes.
#[derive(Debug)]
pub struct ChunkBuilder {
    start: LogPosition,
    here: LogPosition,
    times: Option<(Timestamp, Timestamp)>,
    records: Vec<u8>,
}

impl ChunkBuilder {
    /// Goes on from `position`.
    pub fn resume(position: LogPosition) -> Self {
        Self { start: position, here: position, times: None, records: Vec::new() }
    }

    /// Where the next byte will stand.
    pub fn position(&self) -> LogPosition {
        self.here
    }

    /// How many bytes of records wait to be made a chunk.
    pub fn pending(&self) -> usize {
        self.records.len()
    }

    /// When the first of them was read.
    pub fn pending_since(&self) -> Option<Timestamp> {
        self.times.map(|(first, _)| first)
    }

    /// Adds bytes of one read. A read of more than a chunk may hold must be split by the caller into chunks;
    /// 64 KiB reads are meant.
    pub fn push(&mut self, stream: Stream, at: Timestamp, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.record_header(stream as u8, at);
        put_varint(&mut self.records, bytes.len() as u64);
        self.records.extend_from_slice(bytes);
        self.here.pass(stream, bytes);
    }

    /// Adds a record of missing bytes.
    pub fn push_gap(&mut self, at: Timestamp, gap: Gap) {
        self.record_header(2, at);
        self.records.push(gap_code(gap.reason));
        put_varint(&mut self.records, gap.bytes.map_or(0, |bytes| bytes.saturating_add(1)));
        self.here.pass_gap(gap);
    }

    /// The chunk of everything added since the last one; `None` if that is nothing.
    pub fn finish(&mut self) -> Option<LogChunk> {
        let (first_at, last_at) = self.times.take()?;
        let records = std::mem::take(&mut self.records);
        let (codec, payload) = compress(records);
        let start = std::mem::replace(&mut self.start, self.here);
        Some(LogChunk { start, end: self.here, first_at, last_at, codec, payload: payload.into() })
    }

    fn record_header(&mut self, tag: u8, at: Timestamp) {
        let (first, previous) = self.times.unwrap_or((at, at));
        // A wall clock that steps back must not make a record older than the one before it.
        let at = at.max(previous);
        self.times = Some((first, at));
        self.records.push(tag);
        put_varint(&mut self.records, u64::try_from(at.since(previous).as_micros()).unwrap_or(u64::MAX));
    }
}

fn compress(records: Vec<u8>) -> (Codec, Vec<u8>) {
    if records.len() < COMPRESS_FROM {
        return (Codec::Plain, records);
    }
    match zstd::bulk::compress(&records, 1) {
        Ok(smaller) if smaller.len() < records.len() => (Codec::Zstd, smaller),
        // What does not shrink travels as it is; the same for a compressor that finds no memory.
        Ok(_) | Err(_) => (Codec::Plain, records),
    }
}

pub(super) fn gap_code(reason: GapReason) -> u8 {
    match reason {
        GapReason::Quota => 0,
        GapReason::WorkerLost => 1,
        GapReason::NotDelivered => 2,
        GapReason::DiskFull => 3,
    }
}

pub(super) fn gap_reason(code: u8) -> Result<GapReason, CorruptChunk> {
    match code {
        0 => Ok(GapReason::Quota),
        1 => Ok(GapReason::WorkerLost),
        2 => Ok(GapReason::NotDelivered),
        3 => Ok(GapReason::DiskFull),
        _ => Err(CorruptChunk("unknown gap reason")),
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
