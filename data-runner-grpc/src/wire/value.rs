//! Ids, hashes, durations, claims: what every message is made of.

use std::time::Duration;

use bytes::Bytes;
use data_runner_core::execution::{FailureCause, Phase, StopReason};
use data_runner_core::id::{
    AttemptId, AttemptNumber, Claim, ExecutionId, Lease, SessionId, Sha256, WorkerId,
};
use data_runner_core::log::Codec;
use data_runner_core::port::TransportError;
use uuid::Uuid;

use super::proto;

/// A message that is not what `worker.proto` says, or that is from a newer version of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotUnderstood(String);

impl NotUnderstood {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    pub(crate) fn missing(field: &str) -> Self {
        Self(format!("{field} is missing"))
    }
}

impl From<NotUnderstood> for TransportError {
    fn from(error: NotUnderstood) -> Self {
        Self::Protocol { message: error.0 }
    }
}

impl From<NotUnderstood> for tonic::Status {
    fn from(error: NotUnderstood) -> Self {
        Self::invalid_argument(error.0)
    }
}

/// The value of core that a message stands for.
pub(crate) trait FromWire<T>: Sized {
    /// Reads it.
    fn from_wire(wire: T) -> Result<Self, NotUnderstood>;
}

/// What must be there.
pub(super) fn required<W, T: FromWire<W>>(wire: Option<W>, field: &str) -> Result<T, NotUnderstood> {
    T::from_wire(wire.ok_or_else(|| NotUnderstood::missing(field))?)
}

/// Each of a list.
pub(super) fn each<W, T: FromWire<W>>(wire: Vec<W>) -> Result<Vec<T>, NotUnderstood> {
    wire.into_iter().map(T::from_wire).collect()
}

/// A text that core checks.
pub(super) fn text<T>(text: &str, field: &str) -> Result<T, NotUnderstood>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| NotUnderstood(format!("{field}: {error}")))
}

macro_rules! uuid_bytes {
    ($($id:ident $name:literal),*) => {$(
        impl FromWire<Bytes> for $id {
            fn from_wire(wire: Bytes) -> Result<Self, NotUnderstood> {
                match Uuid::from_slice(&wire) {
                    Ok(uuid) => Ok(Self::from_uuid(uuid)),
                    Err(_) => Err(NotUnderstood(format!("{} has {} bytes instead of 16", $name, wire.len()))),
                }
            }
        }
    )*};
}

uuid_bytes!(ExecutionId "an execution id", Lease "a lease", SessionId "a session id", WorkerId "a worker id");

/// The bytes of an id.
pub(super) fn id_bytes(uuid: Uuid) -> Bytes {
    Bytes::copy_from_slice(uuid.as_bytes())
}

/// The bytes of a hash.
pub(crate) fn sha256_bytes(hash: &Sha256) -> Bytes {
    // A Sha256 is hexadecimal of even length, whoever made it; otherwise the receiver would refuse the empty bytes.
    hex::decode(hash.as_str()).map(Bytes::from).unwrap_or_default()
}

/// A hash from its bytes.
pub(crate) fn sha256(wire: &[u8]) -> Result<Sha256, NotUnderstood> {
    text(&hex::encode(wire), "a hash")
}

impl FromWire<proto::Claim> for Claim {
    fn from_wire(wire: proto::Claim) -> Result<Self, NotUnderstood> {
        Ok(Self {
            attempt: AttemptId {
                execution: ExecutionId::from_wire(wire.execution)?,
                number: AttemptNumber(wire.attempt),
            },
            lease: Lease::from_wire(wire.lease)?,
        })
    }
}

impl From<Claim> for proto::Claim {
    fn from(claim: Claim) -> Self {
        Self {
            execution: id_bytes(claim.attempt.execution.uuid()),
            attempt: claim.attempt.number.0,
            lease: id_bytes(claim.lease.uuid()),
        }
    }
}

impl FromWire<prost_types::Duration> for Duration {
    fn from_wire(wire: prost_types::Duration) -> Result<Self, NotUnderstood> {
        match (u64::try_from(wire.seconds), u32::try_from(wire.nanos)) {
            (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Self::new(seconds, nanos)),
            _ => Err(NotUnderstood(format!("{} s + {} ns is not a duration", wire.seconds, wire.nanos))),
        }
    }
}

/// A duration; one beyond 2⁶³ seconds is as long as one of 2⁶³ seconds.
pub(super) fn duration(duration: Duration) -> Option<prost_types::Duration> {
    Some(prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        // Below 10⁹, so it always fits.
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    })
}

/// An enum of core, and its number on the wire.
pub(super) trait Numbered: Sized {
    fn number(self) -> i32;
    fn numbered(number: i32) -> Result<Self, NotUnderstood>;
}

macro_rules! numbered {
    ($($core:ident { $($variant:ident),* $(,)? })*) => {$(
        impl Numbered for $core {
            fn number(self) -> i32 {
                match self {
                    $(Self::$variant => proto::$core::$variant as i32,)*
                }
            }

            fn numbered(number: i32) -> Result<Self, NotUnderstood> {
                match proto::$core::try_from(number) {
                    $(Ok(proto::$core::$variant) => Ok(Self::$variant),)*
                    Ok(proto::$core::Unspecified) | Err(_) => {
                        Err(NotUnderstood(format!("{number} is no known {}", stringify!($core))))
                    }
                }
            }
        }
    )*};
}

numbered! {
    Phase {
        Queued, Launched, Connected, CodeReady, EnvironmentReady, Started, Finished, Drained, Terminated,
    }
    StopReason { Cancelled, Timeout, Interrupted, Disowned }
    FailureCause {
        UserError, OutOfMemory, Timeout, NoCapacity, Interrupted, Environment, Source, WorkerLost, Rejected, Budget,
    }
    Codec { Plain, Zstd }
}
