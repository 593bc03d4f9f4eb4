//! The ids that travel beside the messages.

use data_runner_core::id::{SessionId, WorkerId};
use tonic::Status;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

/// The worker that opens a session.
pub(crate) const WORKER: &str = "data-runner-worker";

/// The session that a call belongs to.
pub(crate) const SESSION: &str = "data-runner-session";

/// The worker's id.
pub(crate) fn worker(metadata: &MetadataMap) -> Result<WorkerId, Status> {
    id(metadata, WORKER)
}

/// The session's id.
pub(crate) fn session(metadata: &MetadataMap) -> Result<SessionId, Status> {
    id(metadata, SESSION)
}

/// An id as metadata holds it.
pub(crate) fn value(id: impl ToString) -> Result<MetadataValue<Ascii>, Status> {
    let id = id.to_string();
    MetadataValue::try_from(id.as_str()).map_err(|_| Status::internal(format!("{id} is no metadata")))
}

fn id<T: std::str::FromStr>(metadata: &MetadataMap, key: &'static str) -> Result<T, Status> {
    let text = metadata.get(key).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Status::invalid_argument(format!("the metadata {key} is missing or is not a UUID")))
}
