//! The Transport on gRPC: `proto/data_runner/v1/worker.proto`, spoken with tonic.
//!
//! [`GrpcTransport`] is the supervisor's end and owns its own listener; [`GrpcAgentTransport`] is the agent's.
//!
//! ```text
//! agent                                                  supervisor
//!   ── connection 1: Session ───────────────────────────►  one queue a session, in and out
//!   ── connection 2: LogStream, FetchBundle ────────────►  one budget of bytes for all logs
//! ```
//!
//! Two connections, because everything bulky shares a TCP connection's order and an HTTP/2 connection's window: on one
//! connection a heartbeat or a cancel would wait behind every log byte that is already on its way, and a log intake
//! that falls behind would stop them altogether. Nothing is held back to make batches: every message is written when it
//! is said, and Nagle's algorithm is off.
//!
//! What protobuf makes of the file stays inside this crate.

mod agent;
mod limits;
mod metadata;
mod server;
mod status;
#[cfg(test)]
mod tests;
mod tls;
#[cfg(test)]
mod tls_tests;
mod wire;

pub use agent::{AgentOptions, GrpcAgentTransport, InvalidEndpoint};
pub use limits::MAX_MESSAGE_BYTES;
pub use server::{BindError, GrpcTransport, ServerOptions, ServerTls};
pub use tls::{AgentIdentity, AgentTls};
