//! The calls.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::artifact::ArtifactOffer;
use data_runner_core::id::Claim;
use data_runner_core::message::{AgentMessage, LogAppend};
use data_runner_core::port::{
    AgentGate, ArtifactRefused, Bundle, BundleForm, BundleRefused, ByteSource, Source, TransportError,
    WantedBundle,
};
use futures::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::caller::Caller;
use super::sessions::{Session, Sessions, no_such_session};
use crate::limits::BUNDLE_PART_BYTES;
use crate::wire::proto::artifact_part::Part as ArtifactPart;
use crate::wire::proto::bundle_part::Part;
use crate::wire::proto::worker_service_server::WorkerService;
use crate::wire::{FromWire as _, NotUnderstood, proto, sha256};
use crate::{metadata, status};

pub(super) struct Service {
    sessions: Arc<Sessions>,
    gate: Arc<dyn AgentGate>,
}

impl Service {
    pub(super) fn new(sessions: Arc<Sessions>, gate: Arc<dyn AgentGate>) -> Self {
        Self { sessions, gate }
    }

    fn session_of<T>(&self, request: &Request<T>) -> Result<Arc<Session>, Status> {
        let id = metadata::session(request.metadata())?;
        let session = self.sessions.find(id).ok_or_else(no_such_session)?;
        Caller::of(request)?.speaks_for(session.worker)?;
        Ok(session)
    }
}

#[tonic::async_trait]
impl WorkerService for Service {
    type SessionStream = ReceiverStream<Result<proto::SupervisorMessage, Status>>;
    type LogStreamStream = ReceiverStream<Result<proto::LogAck, Status>>;
    type FetchBundleStream = Pin<Box<dyn Stream<Item = Result<proto::BundlePart, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<proto::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let worker = metadata::worker(request.metadata())?;
        Caller::of(&request)?.speaks_for(worker)?;
        let (session, line_end) = self.sessions.open(worker)?;
        let mut response = Response::new(ReceiverStream::new(line_end));
        response.metadata_mut().insert(metadata::SESSION, metadata::value(session.id)?);
        tokio::spawn(hear(self.sessions.clone(), session, request.into_inner()));
        Ok(response)
    }

    async fn log_stream(
        &self,
        request: Request<Streaming<proto::LogAppend>>,
    ) -> Result<Response<Self::LogStreamStream>, Status> {
        let session = self.session_of(&request)?;
        let line_end = session.attach_log()?;
        tokio::spawn(hear_log(self.sessions.clone(), session, request.into_inner()));
        Ok(Response::new(ReceiverStream::new(line_end)))
    }

    async fn fetch_bundle(
        &self,
        request: Request<proto::FetchBundleRequest>,
    ) -> Result<Response<Self::FetchBundleStream>, Status> {
        let session = self.session_of(&request)?;
        let wanted = request.into_inner();
        let claim = wanted.claim.ok_or_else(|| NotUnderstood::missing("FetchBundleRequest.claim"))?;
        let claim = Claim::from_wire(claim)?;
        let hash = sha256(&wanted.sha256)?;
        let form = if wanted.takes_link { BundleForm::Any } else { BundleForm::Bytes };
        let wanted = WantedBundle { claim, hash, form };
        let bundle = self.gate.bundle(session.worker, wanted).await.map_err(refusal)?;
        Ok(Response::new(match bundle {
            Bundle::Bytes(bytes) => Box::pin(futures::stream::iter(parts(bytes))),
            Bundle::Link(link) => Box::pin(futures::stream::iter([part(Part::Link(link.url))])),
        }))
    }

    async fn keep_artifact(
        &self,
        request: Request<Streaming<proto::ArtifactPart>>,
    ) -> Result<Response<proto::ArtifactKept>, Status> {
        let session = self.session_of(&request)?;
        let mut parts = request.into_inner();
        let head = parts.message().await?.and_then(|first| first.part);
        let Some(ArtifactPart::Head(head)) = head else {
            return Err(NotUnderstood::missing("ArtifactPart.head").into());
        };
        let offer = ArtifactOffer::from_wire(head)?;
        let kept = self.gate.keep_artifact(session.worker, offer, Box::new(FileParts(parts))).await;
        match kept {
            Ok(()) => Ok(Response::new(proto::ArtifactKept {})),
            Err(ArtifactRefused::Refused { message }) => Err(Status::failed_precondition(message)),
            Err(ref refused @ ArtifactRefused::Unavailable(ref source)) => {
                tracing::warn!(error = &**source as &dyn std::error::Error, "a file cannot be kept");
                Err(Status::unavailable(refused.to_string()))
            }
        }
    }
}

/// A file as it comes.
struct FileParts(Streaming<proto::ArtifactPart>);

#[async_trait]
impl ByteSource for FileParts {
    async fn next(&mut self) -> Result<Option<Bytes>, Source> {
        loop {
            match self.0.message().await?.map(|message| message.part) {
                None => return Ok(None),
                Some(Some(ArtifactPart::Data(data))) if data.is_empty() => {}
                Some(Some(ArtifactPart::Data(data))) => return Ok(Some(data)),
                Some(Some(ArtifactPart::Head(_))) => return Err("a file has one head".into()),
                Some(None) => return Err("a part of a file holds nothing that is known".into()),
            }
        }
    }
}

fn part(part: Part) -> Result<proto::BundlePart, Status> {
    Ok(proto::BundlePart { part: Some(part) })
}

fn parts(mut rest: Bytes) -> impl Iterator<Item = Result<proto::BundlePart, Status>> {
    std::iter::from_fn(move || {
        let data = rest.split_to(rest.len().min(BUNDLE_PART_BYTES));
        (!data.is_empty()).then(|| part(Part::Data(data)))
    })
}

fn refusal(refused: BundleRefused) -> Status {
    match refused {
        BundleRefused::NotYours { .. } => Status::permission_denied(refused.to_string()),
        BundleRefused::Unavailable(ref source) => {
            tracing::warn!(error = &**source as &dyn std::error::Error, "a bundle cannot be read");
            Status::unavailable(refused.to_string())
        }
    }
}

/// Passes on what an agent says, until it or its session ends.
async fn hear(sessions: Arc<Sessions>, session: Arc<Session>, mut inbound: Streaming<proto::AgentMessage>) {
    let why = loop {
        let Some(room) = session.room().await else { return };
        let next = tokio::select! {
            biased;
            () = session.ended.cancelled() => return,
            next = inbound.message() => next,
        };
        match next.map(|wire| wire.map(AgentMessage::from_wire)) {
            Ok(Some(Ok(message))) => sessions.arrived(&session, message, room),
            Ok(Some(Err(error))) => break Some(not_understood(&session, error.into())),
            Ok(None) => break None,
            Err(status) => break broken(&session, status),
        }
    };
    sessions.end(session.id, why);
}

/// The same for its logs. An agent that ends this call in good order has no more logs; its session goes on.
async fn hear_log(sessions: Arc<Sessions>, session: Arc<Session>, mut inbound: Streaming<proto::LogAppend>) {
    let why = loop {
        let next = tokio::select! {
            biased;
            () = session.ended.cancelled() => return,
            next = inbound.message() => next,
        };
        match next.map(|wire| wire.map(LogAppend::from_wire)) {
            Ok(Some(Ok(append))) => tokio::select! {
                biased;
                () = session.ended.cancelled() => return,
                () = sessions.log_arrived(&session, append) => {}
            },
            Ok(Some(Err(error))) => break Some(not_understood(&session, error.into())),
            Ok(None) => return,
            Err(status) => break broken(&session, status),
        }
    };
    sessions.end(session.id, why);
}

/// What the agent is told of the end of what it said: something only if it can still hear it.
fn broken(session: &Session, status: Status) -> Option<Status> {
    match status::of_stream(&status) {
        TransportError::Protocol { message } => {
            Some(not_understood(session, Status::invalid_argument(message)))
        }
        TransportError::Closed | TransportError::Unreachable { .. } | TransportError::Refused { .. } => {
            tracing::debug!(session = %session.id, %status, "the agent's connection broke");
            None
        }
    }
}

fn not_understood(session: &Session, status: Status) -> Status {
    tracing::warn!(
        session = %session.id,
        worker = %session.worker,
        message = status.message(),
        "an agent is not understood"
    );
    status
}
