//! Between the types of core and those of `worker.proto`. Nothing is guessed: what is missing, unknown or out of range
//! is an error that names the field.

mod artifact;
mod job;
mod join;
mod log;
mod packages;
mod report;
mod session;
#[cfg(test)]
mod tests;
mod usage;
mod value;

pub(crate) use join::join_request;
pub(crate) use value::{FromWire, NotUnderstood, sha256, sha256_bytes};

/// What prost and tonic make of `worker.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
pub(crate) mod proto {
    tonic::include_proto!("data_runner.v1");
}
