//! Pieces of log and their acknowledgements.

use bytes::Bytes;
use data_runner_core::log::{Codec, LogChunk, LogOffset, LogPosition};
use data_runner_core::message::{LogAck, LogAppend, LogOutcome};
use data_runner_core::time::Timestamp;

use super::proto;
use super::value::{FromWire, NotUnderstood, Numbered as _, required};

/// The most bytes that the payload of one piece of log may have.
const MAX_PAYLOAD: usize = 4 << 20;

impl From<LogAppend> for proto::LogAppend {
    fn from(append: LogAppend) -> Self {
        let chunk = append.chunk;
        Self {
            claim: Some(append.claim.into()),
            start: Some(chunk.start.into()),
            end: Some(chunk.end.into()),
            first_at_micros: chunk.first_at.micros(),
            last_at_micros: chunk.last_at.micros(),
            codec: chunk.codec.number(),
            payload: chunk.payload,
        }
    }
}

impl FromWire<proto::LogAppend> for LogAppend {
    fn from_wire(wire: proto::LogAppend) -> Result<Self, NotUnderstood> {
        Ok(Self {
            claim: required(wire.claim, "LogAppend.claim")?,
            chunk: LogChunk {
                start: required(wire.start, "LogAppend.start")?,
                end: required(wire.end, "LogAppend.end")?,
                first_at: Timestamp::from_micros(wire.first_at_micros),
                last_at: Timestamp::from_micros(wire.last_at_micros),
                codec: Codec::numbered(wire.codec)?,
                payload: bounded(wire.payload)?,
            },
        })
    }
}

fn bounded(payload: Bytes) -> Result<Bytes, NotUnderstood> {
    if payload.len() > MAX_PAYLOAD {
        return Err(NotUnderstood::new(format!("LogAppend.payload has {} bytes", payload.len())));
    }
    Ok(payload)
}

impl From<LogPosition> for proto::LogPosition {
    fn from(position: LogPosition) -> Self {
        Self {
            offset: position.offset.0,
            next_line: position.next_line,
            open_stdout: position.open_stdout,
            open_stderr: position.open_stderr,
        }
    }
}

impl FromWire<proto::LogPosition> for LogPosition {
    fn from_wire(wire: proto::LogPosition) -> Result<Self, NotUnderstood> {
        Ok(Self {
            offset: LogOffset(wire.offset),
            next_line: wire.next_line,
            open_stdout: wire.open_stdout,
            open_stderr: wire.open_stderr,
        })
    }
}

impl From<LogAck> for proto::LogAck {
    fn from(ack: LogAck) -> Self {
        use proto::log_ack::Outcome;
        let outcome = match ack.outcome {
            LogOutcome::Stored { upto } => Outcome::StoredUpto(upto.0),
            LogOutcome::Refused => Outcome::Refused(proto::LogRefused {}),
        };
        Self { claim: Some(ack.claim.into()), outcome: Some(outcome) }
    }
}

impl FromWire<proto::LogAck> for LogAck {
    fn from_wire(wire: proto::LogAck) -> Result<Self, NotUnderstood> {
        use proto::log_ack::Outcome;
        let outcome = match wire.outcome.ok_or_else(|| NotUnderstood::missing("LogAck.outcome"))? {
            Outcome::StoredUpto(upto) => LogOutcome::Stored { upto: LogOffset(upto) },
            Outcome::Refused(proto::LogRefused {}) => LogOutcome::Refused,
        };
        Ok(Self { claim: required(wire.claim, "LogAck.claim")?, outcome })
    }
}
