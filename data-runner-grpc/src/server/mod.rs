//! The supervisor's end.

mod bind;
mod caller;
mod incoming;
mod join;
mod service;
mod sessions;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use data_runner_core::id::{SessionId, WorkerId};
use data_runner_core::message::{LogAck, LogAppend, SupervisorMessage};
use data_runner_core::port::{AgentGate, JoinGate, Transport, TransportError, TransportEvent};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;

pub use bind::BindError;
use join::Desk;
use service::Service;
use sessions::{ArrivedEvent, ArrivedLog, Sessions};

use crate::limits::{
    CALLS_PER_CONNECTION, CONNECTION_WINDOW, MAX_JOIN_BYTES, MAX_MESSAGE_BYTES, STREAM_WINDOW, fits,
};
use crate::wire::proto::join_service_server::JoinServiceServer;
use crate::wire::proto::worker_service_server::WorkerServiceServer;

/// How long `shut_down` waits for agents to take what was said to them before.
const FAREWELL: Duration = Duration::from_secs(2);

/// How the supervisor's end behaves.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// How often a connection that is silent is asked whether it lives.
    pub keepalive: Duration,
    /// How long it may take to answer before it counts as dead and its sessions end.
    pub keepalive_timeout: Duration,
    /// TLS, with which agents have to prove who they are. `None`: nobody is asked, which is for loopback only.
    pub tls: Option<ServerTls>,
}

impl Default for ServerOptions {
    /// 10 s and 20 s, without TLS.
    fn default() -> Self {
        Self { keepalive: Duration::from_secs(10), keepalive_timeout: Duration::from_secs(20), tls: None }
    }
}

/// TLS of the supervisor's end.
#[derive(Clone)]
pub struct ServerTls {
    /// Speaks `h2`, checks the certificates of agents that have one, and lets those connect that have none.
    pub config: Arc<rustls::ServerConfig>,
    /// The worker that a certificate (DER, already checked) is for; `None` if it is no agent's.
    pub worker_of: fn(&[u8]) -> Option<WorkerId>,
    /// Decides who gets a certificate.
    pub join: Arc<dyn JoinGate>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// The supervisor's end of the Transport: a gRPC server. Dropping it ends it without a farewell.
pub struct GrpcTransport {
    sessions: Arc<Sessions>,
    events: Mutex<mpsc::UnboundedReceiver<ArrivedEvent>>,
    logs: Mutex<mpsc::UnboundedReceiver<ArrivedLog>>,
    over: CancellationToken,
    server: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl GrpcTransport {
    /// Listens on `address` and serves agents; port 0 takes a free one. The address that came of it is returned.
    ///
    /// Must be called within a tokio runtime. Fails with what to do when the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        gate: Arc<dyn AgentGate>,
        options: ServerOptions,
    ) -> Result<(Arc<Self>, SocketAddr), BindError> {
        let listener = TcpListener::bind(address).await.map_err(|source| BindError::new(address, source))?;
        let address = listener.local_addr().map_err(|source| BindError::new(address, source))?;
        Ok((Self::serve(listener, gate, options), address))
    }

    /// Serves agents on a socket that listens already (handed over by a service manager, for example).
    pub fn serve(listener: TcpListener, gate: Arc<dyn AgentGate>, options: ServerOptions) -> Arc<Self> {
        let (to_events, events) = mpsc::unbounded_channel();
        let (to_logs, logs) = mpsc::unbounded_channel();
        let sessions = Arc::new(Sessions::new(to_events, to_logs));
        let over = CancellationToken::new();
        let server = tokio::spawn(run(listener, gate, options, sessions.clone(), over.clone()));
        Arc::new(Self {
            sessions,
            events: Mutex::new(events),
            logs: Mutex::new(logs),
            over,
            server: std::sync::Mutex::new(Some(server)),
        })
    }
}

async fn run(
    listener: TcpListener,
    gate: Arc<dyn AgentGate>,
    options: ServerOptions,
    sessions: Arc<Sessions>,
    over: CancellationToken,
) {
    let agents = WorkerServiceServer::new(Service::new(sessions.clone(), gate))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let joining = options.tls.as_ref().map(|tls| {
        JoinServiceServer::new(Desk::new(Arc::clone(&tls.join))).max_decoding_message_size(MAX_JOIN_BYTES)
    });
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(options.keepalive))
        .http2_keepalive_timeout(Some(options.keepalive_timeout))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(CALLS_PER_CONNECTION)
        .add_service(InterceptedService::new(agents, caller::known_only))
        .add_optional_service(joining)
        .serve_with_incoming_shutdown(
            incoming::incoming(listener, options.tls),
            over.clone().cancelled_owned(),
        )
        .await;
    if let Err(error) = served {
        tracing::error!(error = &error as &dyn std::error::Error, "the server for agents failed");
        // Whoever receives must hear of it.
        sessions.shut();
        over.cancel();
    }
}

#[async_trait]
impl Transport for GrpcTransport {
    async fn receive(&self) -> Result<TransportEvent, TransportError> {
        let mut events = self.events.lock().await;
        tokio::select! {
            biased;
            Some(arrived) = events.recv() => Ok(arrived.event),
            () = self.over.cancelled() => Err(TransportError::Closed),
        }
    }

    async fn send(&self, session: SessionId, message: SupervisorMessage) -> Result<(), TransportError> {
        let message = (&message).into();
        fits(&message)?;
        self.sessions.send(session, message)
    }

    async fn receive_log(&self, max: usize) -> Result<Vec<(SessionId, LogAppend)>, TransportError> {
        let mut logs = self.logs.lock().await;
        let mut arrived = Vec::new();
        tokio::select! {
            biased;
            1.. = logs.recv_many(&mut arrived, max.max(1)) => {
                Ok(arrived.into_iter().map(|log| (log.session, log.append)).collect())
            }
            () = self.over.cancelled() => Err(TransportError::Closed),
        }
    }

    async fn send_log_ack(&self, session: SessionId, ack: LogAck) -> Result<(), TransportError> {
        self.sessions.send_ack(session, ack.into())
    }

    async fn close(&self, session: SessionId) {
        self.sessions.end(session, None);
    }

    async fn shut_down(&self) {
        self.sessions.shut();
        self.over.cancel();
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut server) = server
            && tokio::time::timeout(FAREWELL, &mut server).await.is_err()
        {
            tracing::debug!("some agents did not take their farewell in time");
            server.abort();
        }
    }
}

impl Drop for GrpcTransport {
    fn drop(&mut self) {
        self.sessions.shut();
        self.over.cancel();
    }
}
