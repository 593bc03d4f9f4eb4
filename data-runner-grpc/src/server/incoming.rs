//! Connections of agents, with TLS or without.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::ServerTls;
use super::caller::{Caller, Who};
use crate::limits::{HANDSHAKE_TIME, HANDSHAKES};

/// How long to wait when the system has no more sockets to give.
const BREATH: Duration = Duration::from_millis(100);

/// A connection that is ready to be served.
pub(super) struct Connection {
    stream: Line,
    caller: Caller,
}

enum Line {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// One connection after the other. Handshakes go on beside each other: who is slow, or silent, holds up nobody.
/// It ends never; a connection that fails is nobody else's business.
pub(super) fn incoming(
    listener: TcpListener,
    tls: Option<ServerTls>,
) -> impl Stream<Item = io::Result<Connection>> {
    let incoming = Incoming { listener, tls, handshakes: JoinSet::new() };
    futures::stream::unfold(incoming, async |mut incoming| {
        let connection = incoming.next().await;
        Some((Ok(connection), incoming))
    })
}

struct Incoming {
    listener: TcpListener,
    tls: Option<ServerTls>,
    handshakes: JoinSet<Option<Connection>>,
}

impl Incoming {
    async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(shaken) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = shaken {
                        return connection;
                    }
                }
                accepted = self.listener.accept(), if self.handshakes.len() < HANDSHAKES => match accepted {
                    Ok((stream, _)) => {
                        if let Some(connection) = self.greet(stream) {
                            return connection;
                        }
                    }
                    Err(error) => self.rest(&error).await,
                },
            }
        }
    }

    /// Serves a plain connection at once; begins the handshake of another.
    fn greet(&mut self, stream: TcpStream) -> Option<Connection> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is gone already");
        }
        match &self.tls {
            None => Some(Connection { stream: Line::Plain(stream), caller: Caller::new(Who::Anybody) }),
            Some(tls) => {
                self.handshakes.spawn(shake(stream, tls.clone()));
                None
            }
        }
    }

    async fn rest(&self, error: &io::Error) {
        let gone = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        );
        if !gone {
            tracing::warn!(error = error as &dyn std::error::Error, "a connection could not be taken");
            tokio::time::sleep(BREATH).await;
        }
    }
}

async fn shake(stream: TcpStream, tls: ServerTls) -> Option<Connection> {
    let peer = stream.peer_addr().ok();
    let shaking = TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream);
    let stream = match tokio::time::timeout(HANDSHAKE_TIME, shaking).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::info!(
                ?peer,
                error = &error as &dyn std::error::Error,
                "a connection without proper TLS"
            );
            return None;
        }
        Err(_) => {
            tracing::info!(?peer, "a connection whose TLS never began");
            return None;
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let who = certificate.and_then(|own| (tls.worker_of)(own)).map_or(Who::Stranger, Who::Agent);
    Some(Connection { stream: Line::Tls(Box::new(stream)), caller: Caller::new(who) })
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Line::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Line::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Line::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Line::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Line::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Line::Tls(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Line::Plain(stream) => stream.is_write_vectored(),
            Line::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Line::Plain(stream) => Pin::new(stream).poll_flush(context),
            Line::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Line::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Line::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
