//! What is said to join.

use data_runner_core::id::WorkerId;
use data_runner_core::port::{Certificate, JoinRequest};
use data_runner_core::time::Timestamp;

use super::value::id_bytes;
use super::{FromWire, NotUnderstood, proto};

/// The request of a worker's agent.
pub(crate) fn join_request(worker: WorkerId, ask: JoinRequest) -> proto::JoinRequest {
    proto::JoinRequest {
        worker: id_bytes(worker.uuid()),
        token: ask.token,
        signing_request: ask.signing_request.into(),
    }
}

impl From<Certificate> for proto::JoinReply {
    fn from(certificate: Certificate) -> Self {
        Self { certificate_chain: certificate.chain, until_micros: certificate.until.micros() }
    }
}

impl FromWire<proto::JoinReply> for Certificate {
    fn from_wire(wire: proto::JoinReply) -> Result<Self, NotUnderstood> {
        if wire.certificate_chain.is_empty() {
            return Err(NotUnderstood::missing("JoinReply.certificate_chain"));
        }
        Ok(Self { chain: wire.certificate_chain, until: Timestamp::from_micros(wire.until_micros) })
    }
}
