//! What happens between the two ends and those who are not what they should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_runner_core::id::{Epoch, SessionId};
use data_runner_core::log::LogOffset;
use data_runner_core::message::{AgentMessage, SupervisorMessage};
use data_runner_core::port::{AgentSession, AgentTransport, SessionEvent, Transport, TransportError};
use data_runner_testkit::contract::transport::{SampleGate, claim, log_appends};
use data_runner_testkit::sample::worker_id;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use crate::wire::proto::worker_service_client::WorkerServiceClient;
use crate::wire::proto::{self, agent_message, worker_status};
use crate::{
    AgentOptions, GrpcAgentTransport, GrpcTransport, InvalidEndpoint, MAX_MESSAGE_BYTES, ServerOptions,
    metadata,
};

const DEADLINE: Duration = Duration::from_secs(30);

async fn supervisor() -> (Arc<GrpcTransport>, SocketAddr) {
    let loopback = "127.0.0.1:0".parse().unwrap();
    GrpcTransport::bind(loopback, Arc::new(SampleGate::default()), ServerOptions::default()).await.unwrap()
}

fn agent(address: SocketAddr) -> GrpcAgentTransport {
    GrpcAgentTransport::new(&format!("http://{address}"), AgentOptions::default()).unwrap()
}

async fn event(supervisor: &GrpcTransport) -> (SessionId, SessionEvent) {
    let event = tokio::time::timeout(DEADLINE, supervisor.receive()).await.unwrap().unwrap();
    (event.session, event.what)
}

async fn opened(supervisor: &GrpcTransport, address: SocketAddr) -> (Box<dyn AgentSession>, SessionId) {
    let session = agent(address).connect(worker_id(1)).await.unwrap();
    let (id, what) = event(supervisor).await;
    assert_eq!(what, SessionEvent::Opened);
    (session, id)
}

/// An agent that says what it likes: its line up, and what it hears.
async fn raw_session(
    address: SocketAddr,
) -> (mpsc::Sender<proto::AgentMessage>, tonic::Streaming<proto::SupervisorMessage>) {
    let mut client = WorkerServiceClient::connect(format!("http://{address}")).await.unwrap();
    let (up, said) = mpsc::channel(10);
    let mut request = Request::new(ReceiverStream::new(said));
    request.metadata_mut().insert(metadata::WORKER, metadata::value(worker_id(1)).unwrap());
    (up, client.session(request).await.unwrap().into_inner())
}

/// The session of a misbehaving agent ends, once, and another agent is served as ever.
async fn only_that_session_ended(supervisor: &GrpcTransport, address: SocketAddr) {
    assert_eq!(event(supervisor).await.1, SessionEvent::Closed);
    let (session, id) = opened(supervisor, address).await;
    session.send(AgentMessage::HeartBeat).await.unwrap();
    assert_eq!(event(supervisor).await, (id, SessionEvent::Message(Box::new(AgentMessage::HeartBeat))));
}

#[tokio::test]
async fn garbage_on_the_port_hurts_nobody() {
    let (supervisor, address) = supervisor().await;
    let (session, id) = opened(&supervisor, address).await;
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 100_000], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0"]
    {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        // It may be thrown out before it has said everything, or after.
        let _ = stranger.write_all(garbage).await;
        let _ = stranger.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, stranger.read_to_end(&mut answer)).await.expect("thrown out");
    }
    session.send(AgentMessage::HeartBeat).await.unwrap();
    assert_eq!(event(&supervisor).await, (id, SessionEvent::Message(Box::new(AgentMessage::HeartBeat))));
}

#[tokio::test]
async fn an_unknown_enum_value_ends_the_session_that_sent_it() {
    let (supervisor, address) = supervisor().await;
    let (up, mut down) = raw_session(address).await;
    assert_eq!(event(&supervisor).await.1, SessionEvent::Opened);
    let reached = proto::Reached { phase: 77, ago: Some(prost_types::Duration::default()) };
    let status = proto::WorkerStatus {
        claim: Some(claim(1).into()),
        status: Some(worker_status::Status::Reached(reached)),
        packages: None,
    };
    up.send(proto::AgentMessage { kind: Some(agent_message::Kind::WorkerStatus(status)) }).await.unwrap();
    let told = down.message().await.unwrap_err();
    assert_eq!((told.code(), told.message()), (Code::InvalidArgument, "77 is no known Phase"));
    assert!(matches!(crate::status::of_stream(&told), TransportError::Protocol { .. }));
    only_that_session_ended(&supervisor, address).await;
}

#[tokio::test]
async fn an_oversize_message_ends_the_session_that_sent_it() {
    let (supervisor, address) = supervisor().await;
    let (up, mut down) = raw_session(address).await;
    assert_eq!(event(&supervisor).await.1, SessionEvent::Opened);
    let facts = proto::AgentFacts { host: "x".repeat(MAX_MESSAGE_BYTES + 1), ..Default::default() };
    let hello = proto::Hello { facts: Some(facts), ..Default::default() };
    up.send(proto::AgentMessage { kind: Some(agent_message::Kind::Hello(hello)) }).await.unwrap();
    let told = down.message().await.unwrap_err();
    assert!(matches!(crate::status::of_stream(&told), TransportError::Protocol { .. }), "{told:?}");
    only_that_session_ended(&supervisor, address).await;
}

#[tokio::test]
async fn an_oversize_message_is_refused_before_it_is_sent() {
    let (supervisor, address) = supervisor().await;
    let (session, _) = opened(&supervisor, address).await;
    let mut append = log_appends().remove(0);
    append.chunk.payload = Bytes::from(vec![0; MAX_MESSAGE_BYTES]);
    let refused = session.send_log(append.clone()).await.unwrap_err();
    assert!(
        matches!(&refused, TransportError::Refused { message } if message.contains("longer")),
        "{refused:?}"
    );
    append.chunk.payload = Bytes::from_static(b"x");
    session.send_log(append).await.unwrap();
    assert_eq!(supervisor.receive_log(1).await.unwrap().len(), 1, "the session goes on");
}

#[tokio::test]
async fn calls_without_a_session_or_with_anothers_log_stream_are_refused() {
    let (supervisor, address) = supervisor().await;
    let (_session, id) = opened(&supervisor, address).await;
    let mut client = WorkerServiceClient::connect(format!("http://{address}")).await.unwrap();
    let nothing = || tokio_stream::pending::<proto::LogAppend>();
    let nameless = client.log_stream(nothing()).await.unwrap_err();
    assert_eq!(nameless.code(), Code::InvalidArgument);
    let of = |id: SessionId| {
        let mut request = Request::new(nothing());
        request.metadata_mut().insert(metadata::SESSION, metadata::value(id).unwrap());
        request
    };
    let unknown = client.log_stream(of(SessionId::from_uuid(uuid::Uuid::nil()))).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let second = client.log_stream(of(id)).await.unwrap_err();
    assert_eq!(second.code(), Code::FailedPrecondition);
    let bundle = client.fetch_bundle(proto::FetchBundleRequest::default()).await.unwrap_err();
    assert_eq!(bundle.code(), Code::InvalidArgument);
    let workerless = client.session(tokio_stream::pending::<proto::AgentMessage>()).await.unwrap_err();
    assert_eq!(workerless.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_was_said_before_an_agent_left_still_arrives() {
    let (supervisor, address) = supervisor().await;
    let (session, id) = opened(&supervisor, address).await;
    for _ in 0..500 {
        session.send(AgentMessage::HeartBeat).await.unwrap();
    }
    session.send(AgentMessage::Drained).await.unwrap();
    drop(session);
    for _ in 0..500 {
        assert_eq!(event(&supervisor).await.1, SessionEvent::Message(Box::new(AgentMessage::HeartBeat)));
    }
    assert_eq!(event(&supervisor).await.1, SessionEvent::Message(Box::new(AgentMessage::Drained)));
    assert_eq!(event(&supervisor).await, (id, SessionEvent::Closed));
}

#[tokio::test]
async fn what_was_said_before_the_supervisor_shut_down_still_arrives() {
    let (supervisor, address) = supervisor().await;
    let (session, id) = opened(&supervisor, address).await;
    for n in 0..500 {
        supervisor.send(id, SupervisorMessage::Drain { epoch: Epoch(n) }).await.unwrap();
    }
    supervisor.shut_down().await;
    for n in 0..500 {
        assert_eq!(session.receive().await.unwrap(), SupervisorMessage::Drain { epoch: Epoch(n) });
    }
    assert!(matches!(session.receive().await, Err(TransportError::Closed)));
    // The port is free again at once.
    let again = GrpcTransport::bind(address, Arc::new(SampleGate::default()), ServerOptions::default()).await;
    assert_eq!(again.unwrap().1, address);
}

#[tokio::test]
async fn a_transport_that_is_dropped_ends_its_sessions() {
    let (supervisor, address) = supervisor().await;
    let (session, _) = opened(&supervisor, address).await;
    drop(supervisor);
    assert!(matches!(session.receive().await, Err(TransportError::Closed)));
    let gone = agent(address).connect(worker_id(1)).await;
    assert!(matches!(gone.err(), Some(TransportError::Unreachable { .. })));
}

/// The bytes of one TCP connection after the other, until told to cut them all.
async fn proxy(to: SocketAddr) -> (SocketAddr, tokio::task::AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut lines = tokio::task::JoinSet::new();
        while let Ok((mut from, _)) = listener.accept().await {
            lines.spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    (address, task.abort_handle())
}

#[tokio::test]
async fn a_cut_connection_closes_the_session_at_both_ends() {
    let (supervisor, address) = supervisor().await;
    let (through, cut) = proxy(address).await;
    let (session, id) = opened(&supervisor, through).await;
    let mut append = log_appends().remove(0);
    append.chunk.start.offset = LogOffset(3);
    session.send_log(append).await.unwrap();
    assert_eq!(supervisor.receive_log(5).await.unwrap().len(), 1);
    cut.abort();
    assert_eq!(event(&supervisor).await, (id, SessionEvent::Closed));
    let heard = tokio::time::timeout(DEADLINE, session.receive()).await.unwrap();
    assert!(matches!(heard, Err(TransportError::Closed)), "{heard:?}");
    let acked = tokio::time::timeout(DEADLINE, session.receive_log_ack()).await.unwrap();
    assert!(matches!(acked, Err(TransportError::Closed)), "{acked:?}");
}

#[tokio::test]
async fn a_peer_that_vanished_without_a_word_is_found_out_by_both_ends() {
    let loopback = "127.0.0.1:0".parse().unwrap();
    let quick = (Duration::from_millis(100), Duration::from_millis(200));
    let options =
        ServerOptions { keepalive: quick.0, keepalive_timeout: quick.1, ..ServerOptions::default() };
    let (supervisor, address) =
        GrpcTransport::bind(loopback, Arc::new(SampleGate::default()), options).await.unwrap();

    // Two connections whose bytes, from some moment on, go nowhere: nothing is closed.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = listener.local_addr().unwrap();
    let (freeze, frozen) = tokio::sync::watch::channel(());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut from, _)) = listener.accept().await {
            let mut frozen = frozen.clone();
            held.push(tokio::spawn(async move {
                let mut to = TcpStream::connect(address).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                    _ = frozen.changed() => {}
                }
                // Both sockets stay open.
                std::future::pending::<()>().await;
            }));
        }
    });
    let options = AgentOptions { keepalive: quick.0, keepalive_timeout: quick.1, ..AgentOptions::default() };
    let agent = GrpcAgentTransport::new(&format!("http://{through}"), options).unwrap();
    let session = agent.connect(worker_id(1)).await.unwrap();
    let (id, _) = event(&supervisor).await;
    freeze.send(()).unwrap();
    assert_eq!(event(&supervisor).await, (id, SessionEvent::Closed));
    let heard = tokio::time::timeout(DEADLINE, session.receive()).await.unwrap();
    assert!(matches!(heard, Err(TransportError::Closed)), "{heard:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_what_to_do() {
    let (_supervisor, address) = supervisor().await;
    let taken = GrpcTransport::bind(address, Arc::new(SampleGate::default()), ServerOptions::default()).await;
    let error = taken.err().unwrap();
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("choose another port"), "{text}");
    assert!(error.source().is_some());
}

#[tokio::test]
async fn who_cannot_be_reached_is_named_and_why_is_kept() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = agent(free).connect(worker_id(1)).await.err().unwrap();
    assert_eq!(error.to_string(), format!("cannot reach http://{free}"));
    let mut chain = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        chain = format!("{chain}: {cause}");
        source = cause.source();
    }
    assert!(chain.contains("refused"), "{chain}");
}

#[tokio::test]
async fn a_supervisor_that_says_nothing_is_given_up() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = AgentOptions { connect_timeout: Duration::from_millis(200), ..AgentOptions::default() };
    let endpoint = format!("http://{}", mute.local_addr().unwrap());
    let connected =
        GrpcAgentTransport::new(&endpoint, options).unwrap().connect(worker_id(1)).await.map(drop);
    let error = connected.unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.source().unwrap().to_string(), "no answer within 200ms");
}

#[test]
fn an_address_that_is_none_is_refused_with_what_is_expected() {
    for given in ["", "127.0.0.1:7071", "ftp://supervisor:7071", "http://", "unix:///run/x", "http://a b"] {
        let error = GrpcAgentTransport::new(given, AgentOptions::default()).unwrap_err();
        assert!(matches!(&error, InvalidEndpoint::NotAnAddress { given: as_it_came } if as_it_came == given));
        assert!(error.to_string().contains("http://HOST:PORT"), "{error}");
    }
}
