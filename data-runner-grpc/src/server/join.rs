//! Agents that want to join: the only thing that a stranger can ask for.

use std::sync::Arc;

use data_runner_core::id::WorkerId;
use data_runner_core::port::{Certificate, JoinGate, JoinRefused, JoinRequest};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::caller::Caller;
use crate::limits::{JOIN_TIME, JOINING, MAX_TOKEN_BYTES};
use crate::wire::proto::join_service_server::JoinService;
use crate::wire::{FromWire as _, NotUnderstood, proto};

pub(super) struct Desk {
    gate: Arc<dyn JoinGate>,
    room: Semaphore,
}

impl Desk {
    pub(super) fn new(gate: Arc<dyn JoinGate>) -> Self {
        Self { gate, room: Semaphore::new(JOINING) }
    }

    async fn ask(&self, worker: WorkerId, ask: JoinRequest) -> Result<Certificate, Status> {
        // The semaphore is never closed.
        let _turn = self.room.acquire().await.map_err(|_| Status::unavailable("shutting down"))?;
        self.gate.join(worker, ask).await.map_err(refusal)
    }
}

#[tonic::async_trait]
impl JoinService for Desk {
    async fn join(&self, request: Request<proto::JoinRequest>) -> Result<Response<proto::JoinReply>, Status> {
        Caller::of(&request)?.count_join()?;
        let wanted = request.into_inner();
        let worker = WorkerId::from_wire(wanted.worker)?;
        if wanted.token.len() > MAX_TOKEN_BYTES {
            return Err(NotUnderstood::new("JoinRequest.token is too long").into());
        }
        let ask = JoinRequest { token: wanted.token, signing_request: wanted.signing_request.to_vec() };
        match tokio::time::timeout(JOIN_TIME, self.ask(worker, ask)).await {
            Ok(certificate) => Ok(Response::new(certificate?.into())),
            Err(_) => Err(Status::deadline_exceeded("nobody could decide in time")),
        }
    }
}

fn refusal(refused: JoinRefused) -> Status {
    match refused {
        JoinRefused::Refused => Status::permission_denied(refused.to_string()),
        JoinRefused::Unavailable(ref source) => {
            tracing::warn!(error = &**source as &dyn std::error::Error, "an agent cannot join now");
            Status::unavailable(refused.to_string())
        }
    }
}
