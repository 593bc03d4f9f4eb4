//! What a gRPC status means.

use std::error::Error as _;

use data_runner_core::port::TransportError;
use tonic::{Code, Status};

/// A call that could not be opened, or that failed as a whole.
pub(crate) fn of_call(status: Status, peer: &str) -> TransportError {
    match (of_stream(&status), status.code()) {
        // That there is no such session says that the session has ended.
        (TransportError::Closed, Code::NotFound) => TransportError::Closed,
        (TransportError::Closed, _) => {
            TransportError::Unreachable { peer: peer.to_owned(), source: Box::new(status) }
        }
        (error, _) => error,
    }
}

/// A wish to join that was not granted: only a refusal of the wish itself is one, all else may go well later.
pub(crate) fn of_join(status: Status, peer: &str) -> TransportError {
    match (of_call(status.clone(), peer), status.code()) {
        (TransportError::Refused { .. }, Code::ResourceExhausted) => {
            TransportError::Unreachable { peer: peer.to_owned(), source: Box::new(status) }
        }
        (error, _) => error,
    }
}

/// The end of a stream that was open.
pub(crate) fn of_stream(status: &Status) -> TransportError {
    if status.source().is_some() {
        // Only a broken connection leaves a source behind; what the other end says of itself comes without one.
        return TransportError::Closed;
    }
    let message = status.message().to_owned();
    match status.code() {
        Code::InvalidArgument | Code::OutOfRange | Code::Internal | Code::Unimplemented | Code::DataLoss => {
            TransportError::Protocol { message }
        }
        Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::ResourceExhausted => TransportError::Refused { message },
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::Aborted
        | Code::Unavailable => TransportError::Closed,
    }
}
