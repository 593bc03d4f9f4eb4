//! The agent's end.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use data_runner_core::artifact::ArtifactOffer;
use data_runner_core::id::{SessionId, WorkerId};
use data_runner_core::message::{AgentMessage, LogAck, LogAppend, SupervisorMessage};
use data_runner_core::port::{
    AgentSession, AgentTransport, BlobLink, Bundle, BundleForm, ByteSource, Certificate, JoinRequest, Source,
    TransportError, WantedBundle,
};
use futures::{Stream, StreamExt as _};
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status, Streaming};

use crate::limits::{
    BUNDLE_PART_BYTES, CONNECTION_WINDOW, JOIN_TIME, LOGS_IN_FLIGHT, MAX_MESSAGE_BYTES, MESSAGES_IN_FLIGHT,
    STREAM_WINDOW, fits,
};
use crate::tls::{AgentIdentity, AgentTls};
use crate::wire::proto::artifact_part::Part as ArtifactPart;
use crate::wire::proto::bundle_part::Part;
use crate::wire::proto::join_service_client::JoinServiceClient;
use crate::wire::proto::worker_service_client::WorkerServiceClient;
use crate::wire::{FromWire, NotUnderstood, join_request, proto, sha256_bytes};
use crate::{metadata, status};

/// How long a session that was dropped goes on handing over what was said on it before.
const FAREWELL: Duration = Duration::from_secs(2);

/// How the agent's end behaves.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// How long opening a session may take in all.
    pub connect_timeout: Duration,
    /// How often a connection that is silent is asked whether it lives.
    pub keepalive: Duration,
    /// How long it may take to answer before it counts as dead and the session ends.
    pub keepalive_timeout: Duration,
    /// Whom to trust, and who it is itself. `None`: without TLS, which is for a supervisor on the same machine.
    pub tls: Option<AgentTls>,
}

impl Default for AgentOptions {
    /// 10 s, 10 s and 20 s, without TLS.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(20),
            tls: None,
        }
    }
}

/// An address that cannot be dialled so.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEndpoint {
    /// It is none.
    #[error("{given:?} is not the address of a supervisor; expected https://HOST:PORT or http://HOST:PORT")]
    NotAnAddress {
        /// The address as it came.
        given: String,
    },
    /// It is one of TLS, and nobody said whom to trust.
    #[error("{given} is reached by TLS: give the certificate of the authority that vouches for it")]
    NobodyToTrust {
        /// The address as it came.
        given: String,
    },
    /// It is one without TLS, and somebody said whom to trust.
    #[error("{given} is not protected, and an authority to trust was given; expected https://HOST:PORT")]
    Unprotected {
        /// The address as it came.
        given: String,
    },
}

/// The agent's end of the Transport: how it reaches the supervisor.
#[derive(Debug, Clone)]
pub struct GrpcAgentTransport {
    peer: String,
    endpoint: Endpoint,
    connect_timeout: Duration,
    tls: Option<AgentTls>,
}

impl GrpcAgentTransport {
    /// For the supervisor at `endpoint`: `https://HOST:PORT` with TLS in the options, `http://127.0.0.1:7070` without.
    /// Nothing is connected yet.
    pub fn new(endpoint: &str, options: AgentOptions) -> Result<Self, InvalidEndpoint> {
        let given = endpoint.to_owned();
        let Some(uri) =
            endpoint.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|it| !it.is_empty()))
        else {
            return Err(InvalidEndpoint::NotAnAddress { given });
        };
        match (uri.scheme_str(), &options.tls) {
            (Some("https"), Some(_)) | (Some("http"), None) => {}
            (Some("https"), None) => return Err(InvalidEndpoint::NobodyToTrust { given }),
            (Some("http"), Some(_)) => return Err(InvalidEndpoint::Unprotected { given }),
            (Some(_) | None, _) => return Err(InvalidEndpoint::NotAnAddress { given }),
        }
        let parsed = Endpoint::from(uri)
            .tcp_nodelay(true)
            .connect_timeout(options.connect_timeout)
            .http2_keep_alive_interval(options.keepalive)
            .keep_alive_timeout(options.keepalive_timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        Ok(Self { peer: given, endpoint: parsed, connect_timeout: options.connect_timeout, tls: options.tls })
    }

    /// From now on, who it is: what joining gave. Connections that are open already stay as they are.
    pub fn identify(&self, identity: AgentIdentity) {
        if let Some(tls) = &self.tls {
            tls.identify(identity);
        }
    }

    /// Asks once for a certificate for the key of `ask`. The token goes to nobody but a supervisor that the given
    /// authority vouches for; without TLS it is `Refused` here.
    pub async fn join(&self, worker: WorkerId, ask: JoinRequest) -> Result<Certificate, TransportError> {
        if self.tls.is_none() {
            let message = format!("nobody joins without TLS; expected https://HOST:PORT, not {}", self.peer);
            return Err(TransportError::Refused { message });
        }
        let joining = async {
            let mut client = JoinServiceClient::new(self.channel().await?);
            client.join(join_request(worker, ask)).await.map_err(|status| status::of_join(status, &self.peer))
        };
        match tokio::time::timeout(self.connect_timeout.saturating_add(JOIN_TIME), joining).await {
            Ok(reply) => Ok(Certificate::from_wire(reply?.into_inner())?),
            Err(_) => Err(self.unreachable(NoAnswer(self.connect_timeout.saturating_add(JOIN_TIME)))),
        }
    }

    async fn client(&self) -> Result<WorkerServiceClient<Channel>, TransportError> {
        Ok(WorkerServiceClient::new(self.channel().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    async fn channel(&self) -> Result<Channel, TransportError> {
        let endpoint = match &self.tls {
            None => self.endpoint.clone(),
            Some(tls) => {
                self.endpoint.clone().tls_config(tls.config()).map_err(|error| self.unreachable(error))?
            }
        };
        endpoint.connect().await.map_err(|error| self.unreachable(error))
    }

    fn unreachable(&self, error: impl std::error::Error + Send + Sync + 'static) -> TransportError {
        TransportError::Unreachable { peer: self.peer.clone(), source: Box::new(error) }
    }

    async fn open(&self, worker: WorkerId) -> Result<Session, TransportError> {
        // A connection of its own for all that is bulky; see the crate's documentation.
        let (mut talk, mut bulk) = tokio::try_join!(self.client(), self.client())?;
        let failed = |status: Status| status::of_call(status, &self.peer);

        let (up, said) = mpsc::channel(MESSAGES_IN_FLIGHT);
        let mut request = Request::new(ReceiverStream::new(said));
        request.metadata_mut().insert(metadata::WORKER, metadata::value(worker).map_err(failed)?);
        let response = talk.session(request).await.map_err(failed)?;
        let id = metadata::session(response.metadata()).map_err(failed)?;

        let (logs_up, logs) = mpsc::channel(LOGS_IN_FLIGHT);
        let request = of_session(ReceiverStream::new(logs), id).map_err(failed)?;
        let acks = bulk.log_stream(request).await.map_err(failed)?;

        Ok(Session {
            id,
            peer: self.peer.clone(),
            up,
            logs_up,
            messages: Arc::new(Mutex::new(Inbound::Open(Box::new(response.into_inner())))),
            acks: Arc::new(Mutex::new(Inbound::Open(Box::new(acks.into_inner())))),
            bulk,
            over: CancellationToken::new(),
        })
    }
}

/// A request that belongs to a session.
fn of_session<T>(message: T, id: SessionId) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(metadata::SESSION, metadata::value(id)?);
    Ok(request)
}

/// A supervisor that takes connections and says nothing.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct NoAnswer(Duration);

#[async_trait]
impl AgentTransport for GrpcAgentTransport {
    async fn connect(&self, worker: WorkerId) -> Result<Box<dyn AgentSession>, TransportError> {
        match tokio::time::timeout(self.connect_timeout, self.open(worker)).await {
            Ok(opened) => Ok(Box::new(opened?)),
            Err(_) => Err(self.unreachable(NoAnswer(self.connect_timeout))),
        }
    }
}

struct Session {
    id: SessionId,
    peer: String,
    up: mpsc::Sender<proto::AgentMessage>,
    logs_up: mpsc::Sender<proto::LogAppend>,
    messages: Arc<Mutex<Inbound<proto::SupervisorMessage>>>,
    acks: Arc<Mutex<Inbound<proto::LogAck>>>,
    bulk: WorkerServiceClient<Channel>,
    /// Cancelled when one of its streams was seen to end.
    over: CancellationToken,
}

/// What comes from the supervisor.
enum Inbound<W> {
    Open(Box<Streaming<W>>),
    Ended,
}

impl<W> Inbound<W> {
    /// The next message. Cancel-safe: the stream keeps what it has read of one.
    async fn next<T: FromWire<W>>(&mut self) -> Result<T, TransportError> {
        let Self::Open(stream) = self else {
            return Err(TransportError::Closed);
        };
        let error = match stream.message().await.map(|wire| wire.map(T::from_wire)) {
            Ok(Some(Ok(message))) => return Ok(message),
            Ok(Some(Err(error))) => error.into(),
            Ok(None) => TransportError::Closed,
            Err(status) => status::of_stream(&status),
        };
        *self = Self::Ended;
        Err(error)
    }

    /// Reads on to the end and throws away what comes.
    async fn run_out(&mut self) {
        if let Self::Open(stream) = self {
            while let Ok(Some(_)) = stream.message().await {}
        }
    }
}

impl Session {
    async fn hear<W, T: FromWire<W>>(&self, inbound: &Mutex<Inbound<W>>) -> Result<T, TransportError> {
        let next = inbound.lock().await.next().await;
        if next.is_err() {
            self.over.cancel();
        }
        next
    }

    async fn say<W: prost::Message>(&self, line: &mpsc::Sender<W>, message: W) -> Result<(), TransportError> {
        fits(&message)?;
        tokio::select! {
            biased;
            () = self.over.cancelled() => Err(TransportError::Closed),
            sent = line.send(message) => sent.map_err(|_| TransportError::Closed),
        }
    }
}

#[async_trait]
impl AgentSession for Session {
    async fn send(&self, message: AgentMessage) -> Result<(), TransportError> {
        self.say(&self.up, (&message).into()).await
    }

    async fn receive(&self) -> Result<SupervisorMessage, TransportError> {
        self.hear(&self.messages).await
    }

    async fn send_log(&self, append: LogAppend) -> Result<(), TransportError> {
        self.say(&self.logs_up, append.into()).await
    }

    async fn receive_log_ack(&self) -> Result<LogAck, TransportError> {
        self.hear(&self.acks).await
    }

    async fn fetch_bundle(&self, wanted: WantedBundle) -> Result<Bundle, TransportError> {
        let failed = |status: Status| status::of_call(status, &self.peer);
        let wanted = proto::FetchBundleRequest {
            claim: Some(wanted.claim.into()),
            sha256: sha256_bytes(&wanted.hash),
            takes_link: match wanted.form {
                BundleForm::Any => true,
                BundleForm::Bytes => false,
            },
        };
        let request = of_session(wanted, self.id).map_err(failed)?;
        let mut parts = self.bulk.clone().fetch_bundle(request).await.map_err(failed)?.into_inner();
        let mut bytes = BytesMut::new();
        while let Some(message) = parts.message().await.map_err(failed)? {
            match message.part {
                Some(Part::Data(data)) => bytes.extend_from_slice(&data),
                Some(Part::Link(url)) => return Ok(Bundle::Link(BlobLink { url })),
                None => return Err(NotUnderstood::missing("BundlePart.part").into()),
            }
        }
        Ok(Bundle::Bytes(bytes.freeze()))
    }

    async fn keep_artifact(
        &self,
        offer: ArtifactOffer,
        content: Box<dyn ByteSource>,
    ) -> Result<(), TransportError> {
        let broken = Arc::default();
        let request = of_session(file_parts(offer, content, Arc::clone(&broken)), self.id);
        let request = request.map_err(|status| status::of_call(status, &self.peer))?;
        let kept = self.bulk.clone().keep_artifact(request).await;
        // A file that broke off here ends the call like any other; only this end knows why.
        if let Some(source) = broken.lock().await.take() {
            return Err(TransportError::Unreachable {
                peer: "the end of a file of this machine".to_owned(),
                source,
            });
        }
        kept.map(drop).map_err(|status| status::of_call(status, &self.peer))
    }
}

/// A file as it is sent. What breaks it off is left in `broken`.
fn file_parts(
    offer: ArtifactOffer,
    content: Box<dyn ByteSource>,
    broken: Arc<Mutex<Option<Source>>>,
) -> impl Stream<Item = proto::ArtifactPart> {
    let head = proto::ArtifactPart { part: Some(ArtifactPart::Head(offer.into())) };
    let data = futures::stream::unfold((content, Bytes::new()), move |(mut content, mut piece)| {
        let broken = Arc::clone(&broken);
        async move {
            if piece.is_empty() {
                piece = match content.next().await {
                    Ok(next) => next?,
                    Err(error) => {
                        *broken.lock().await = Some(error);
                        return None;
                    }
                };
            }
            let data = piece.split_to(piece.len().min(BUNDLE_PART_BYTES));
            Some((proto::ArtifactPart { part: Some(ArtifactPart::Data(data)) }, (content, piece)))
        }
    });
    futures::stream::iter([head]).chain(data)
}

impl Drop for Session {
    /// Ends what it says; what it said before still goes out, if the program lives that long.
    fn drop(&mut self) {
        let (messages, acks) = (self.messages.clone(), self.acks.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(FAREWELL, async move {
                // The supervisor ends both when it has heard the end.
                tokio::join!(async { messages.lock().await.run_out().await }, async {
                    acks.lock().await.run_out().await
                })
            }));
        }
    }
}
