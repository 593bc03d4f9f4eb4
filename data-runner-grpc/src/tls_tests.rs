//! Who is let in when there is TLS, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use data_runner_core::cost::Market;
use data_runner_core::id::{SessionId, Sha256, WorkerId};
use data_runner_core::message::AgentMessage;
use data_runner_core::port::{
    AgentTransport, BundleForm, Certificate, JoinAuthority as _, JoinGate, JoinRefused, JoinRequest, Retry,
    SessionEvent, Transport, TransportError, WantedBundle,
};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::Candidate;
use data_runner_pki::{
    AgentKey, CertificateAuthority, InstallationKey, Joining, ServerCertificate, names_to_dial,
    server_for_agents, worker_of,
};
use data_runner_testkit::contract::transport::{SampleGate, claim};
use data_runner_testkit::sample::worker_id;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::limits::JOINS_PER_CONNECTION;
use crate::wire::proto::join_service_client::JoinServiceClient;
use crate::wire::proto::worker_service_client::WorkerServiceClient;
use crate::wire::{join_request, proto, sha256_bytes};
use crate::{
    AgentIdentity, AgentOptions, AgentTls, GrpcAgentTransport, GrpcTransport, InvalidEndpoint, ServerOptions,
    ServerTls, metadata,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// An installation, and who joined it.
struct House {
    _folder: tempfile::TempDir,
    authority: Arc<CertificateAuthority>,
    joining: Joining,
    joined: Mutex<BTreeMap<WorkerId, Sha256>>,
    asked: Mutex<u32>,
}

fn in_an_hour() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(0).after(now).after(Duration::from_secs(3600))
}

fn candidate() -> Candidate {
    Candidate {
        label: "one".to_owned(),
        instance_type: "t3.medium".to_owned(),
        zone: None,
        market: Market::OnDemand,
        request: serde_json::json!({}),
        price: None,
    }
}

impl House {
    fn new() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::open(folder.path(), "test").unwrap();
        let key = InstallationKey::open(folder.path()).unwrap();
        let joining = Joining::new(authority.clone(), key);
        let (joined, asked) = (Mutex::default(), Mutex::default());
        Arc::new(Self { _folder: folder, authority, joining, joined, asked })
    }

    fn config(&self) -> rustls::ServerConfig {
        let names = names_to_dial(&[], &[]);
        let config = server_for_agents(&self.authority, &ServerCertificate::Own { names }).unwrap();
        (*config).clone()
    }

    async fn serve(self: &Arc<Self>, config: rustls::ServerConfig) -> (Arc<GrpcTransport>, SocketAddr) {
        let tls = ServerTls { config: Arc::new(config), worker_of, join: self.clone() };
        let options = ServerOptions { tls: Some(tls), ..ServerOptions::default() };
        let loopback = "127.0.0.1:0".parse().unwrap();
        GrpcTransport::bind(loopback, Arc::new(SampleGate::default()), options).await.unwrap()
    }

    /// An agent that trusts this house, without a certificate.
    fn stranger(&self, address: SocketAddr) -> GrpcAgentTransport {
        let tls = Some(AgentTls::trusting(self.authority.certificate()));
        let options = AgentOptions { tls, ..AgentOptions::default() };
        GrpcAgentTransport::new(&format!("https://{address}"), options).unwrap()
    }

    fn ask(&self, worker: WorkerId, key: &AgentKey) -> JoinRequest {
        let token = self.joining.token(worker, &candidate());
        JoinRequest { token, signing_request: key.signing_request().unwrap() }
    }

    /// What the agent of a worker shows, as if it had joined.
    fn identity(&self, worker: WorkerId) -> AgentIdentity {
        let key = AgentKey::generate().unwrap();
        let certificate = self.joining.issue(worker, &self.ask(worker, &key), in_an_hour()).unwrap();
        AgentIdentity { certificate: certificate.chain, key: key.pem() }
    }

    fn agent(&self, address: SocketAddr, worker: WorkerId) -> GrpcAgentTransport {
        let agent = self.stranger(address);
        agent.identify(self.identity(worker));
        agent
    }

    /// A connection that says what it likes.
    async fn raw(&self, address: SocketAddr, identity: Option<AgentIdentity>) -> Channel {
        let tls = AgentTls::trusting(self.authority.certificate());
        if let Some(identity) = identity {
            tls.identify(identity);
        }
        let endpoint = Channel::from_shared(format!("https://{address}")).unwrap();
        endpoint.tls_config(tls.config()).unwrap().connect().await.unwrap()
    }
}

/// What the engine does: a token is good for one key.
#[async_trait]
impl JoinGate for House {
    async fn join(&self, worker: WorkerId, ask: JoinRequest) -> Result<Certificate, JoinRefused> {
        *self.asked.lock().unwrap() += 1;
        let key = self.joining.check(worker, &candidate(), &ask)?;
        let mut joined = self.joined.lock().unwrap();
        if *joined.entry(worker).or_insert_with(|| key.clone()) != key {
            return Err(JoinRefused::Refused);
        }
        self.joining.issue(worker, &ask, in_an_hour())
    }
}

async fn event(supervisor: &GrpcTransport) -> (SessionId, WorkerId, SessionEvent) {
    let event = tokio::time::timeout(DEADLINE, supervisor.receive()).await.unwrap().unwrap();
    (event.session, event.worker, event.what)
}

fn chain(error: &TransportError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn wanted(n: u64, hash: Sha256) -> WantedBundle {
    WantedBundle { claim: claim(n), hash, form: BundleForm::Bytes }
}

fn of_session<T>(message: T, session: SessionId) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(metadata::SESSION, metadata::value(session).unwrap());
    request
}

#[tokio::test]
async fn an_agent_joins_with_its_token_and_speaks_for_its_worker() {
    let house = House::new();
    let (supervisor, address) = house.serve(house.config()).await;
    let (agent, key) = (house.stranger(address), AgentKey::generate().unwrap());
    let certificate = agent.join(worker_id(1), house.ask(worker_id(1), &key)).await.unwrap();
    assert!(certificate.until <= in_an_hour());
    agent.identify(AgentIdentity { certificate: certificate.chain, key: key.pem() });
    let session = agent.connect(worker_id(1)).await.unwrap();
    let (id, worker, what) = event(&supervisor).await;
    assert_eq!((worker, what), (worker_id(1), SessionEvent::Opened));
    session.send(AgentMessage::HeartBeat).await.unwrap();
    let heard = (id, worker_id(1), SessionEvent::Message(Box::new(AgentMessage::HeartBeat)));
    assert_eq!(event(&supervisor).await, heard);
    assert!(session.fetch_bundle(wanted(1, SampleGate::hash(1))).await.is_ok());
}

#[tokio::test]
async fn a_lost_reply_is_given_again_to_the_same_key_and_to_no_other() {
    let house = House::new();
    let (_supervisor, address) = house.serve(house.config()).await;
    let (agent, key) = (house.stranger(address), AgentKey::generate().unwrap());
    for _ in 0..3 {
        agent.join(worker_id(1), house.ask(worker_id(1), &key)).await.unwrap();
    }
    let other = house.ask(worker_id(1), &AgentKey::generate().unwrap());
    let refused = agent.join(worker_id(1), other).await.unwrap_err();
    assert!(
        matches!(&refused, TransportError::Refused { message } if message == "not welcome"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_token_of_another_worker_or_installation_is_refused() {
    let (house, other) = (House::new(), House::new());
    let (_supervisor, address) = house.serve(house.config()).await;
    let (agent, key) = (house.stranger(address), AgentKey::generate().unwrap());
    for ask in [house.ask(worker_id(2), &key), other.ask(worker_id(1), &key)] {
        let refused = agent.join(worker_id(1), ask).await.unwrap_err();
        assert_eq!(refused.retry(), Retry::Never, "{refused:?}");
    }
    assert!(house.joined.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_certificate_speaks_for_one_worker_only() {
    let house = House::new();
    let (supervisor, address) = house.serve(house.config()).await;
    let agent = house.agent(address, worker_id(1));
    let refused = agent.connect(worker_id(2)).await.map(drop).unwrap_err();
    assert!(matches!(&refused, TransportError::Refused { message } if message.contains("another worker")));
    // Not one event came of that.
    let _session = agent.connect(worker_id(1)).await.unwrap();
    assert_eq!(event(&supervisor).await.1, worker_id(1));
}

#[tokio::test]
async fn the_session_of_another_worker_gives_neither_its_log_stream_nor_its_code() {
    let house = House::new();
    let (supervisor, address) = house.serve(house.config()).await;
    let _session = house.agent(address, worker_id(1)).connect(worker_id(1)).await.unwrap();
    let (session, ..) = event(&supervisor).await;
    let wanted = proto::FetchBundleRequest {
        claim: Some(claim(1).into()),
        sha256: sha256_bytes(&SampleGate::hash(1)),
        takes_link: false,
    };
    for (identity, code) in
        [(Some(house.identity(worker_id(2))), Code::PermissionDenied), (None, Code::Unauthenticated)]
    {
        let mut client = WorkerServiceClient::new(house.raw(address, identity).await);
        let nothing = tokio_stream::pending::<proto::LogAppend>();
        let refused = client.log_stream(of_session(nothing, session)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        let refused = client.fetch_bundle(of_session(wanted.clone(), session)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    let mut client = WorkerServiceClient::new(house.raw(address, Some(house.identity(worker_id(1)))).await);
    assert!(client.fetch_bundle(of_session(wanted, session)).await.is_ok());
}

#[tokio::test]
async fn the_code_of_another_attempt_is_refused() {
    let house = House::new();
    let (_supervisor, address) = house.serve(house.config()).await;
    let session = house.agent(address, worker_id(1)).connect(worker_id(1)).await.unwrap();
    let refused = session.fetch_bundle(wanted(7, SampleGate::hash(1))).await.unwrap_err();
    assert!(matches!(refused, TransportError::Refused { .. }), "{refused:?}");
}

#[tokio::test]
async fn who_has_no_certificate_can_do_nothing_but_join() {
    let house = House::new();
    let (supervisor, address) = house.serve(house.config()).await;
    let refused = house.stranger(address).connect(worker_id(1)).await.map(drop).unwrap_err();
    assert!(matches!(&refused, TransportError::Refused { message } if message.contains("join first")));
    // It is refused before anything of what it says is read.
    let mut client = WorkerServiceClient::new(house.raw(address, None).await);
    let unread =
        proto::FetchBundleRequest { sha256: vec![0; 1 << 20].into(), ..proto::FetchBundleRequest::default() };
    assert_eq!(client.fetch_bundle(unread).await.unwrap_err().code(), Code::Unauthenticated);
    let _session = house.agent(address, worker_id(1)).connect(worker_id(1)).await.unwrap();
    assert_eq!(event(&supervisor).await.1, worker_id(1));
}

#[tokio::test]
async fn certificates_of_others_and_those_that_ended_are_thrown_out() {
    /// Two hours from now.
    #[derive(Debug)]
    struct Later;
    impl TimeProvider for Later {
        fn current_time(&self) -> Option<UnixTime> {
            let later = UnixTime::now().as_secs() + 7200;
            Some(UnixTime::since_unix_epoch(Duration::from_secs(later)))
        }
    }
    let (house, other) = (House::new(), House::new());
    let (_supervisor, address) = house.serve(house.config()).await;
    let agent = house.stranger(address);
    agent.identify(other.identity(worker_id(1)));
    let refused = agent.connect(worker_id(1)).await.map(drop).unwrap_err();
    assert!(matches!(refused, TransportError::Unreachable { .. }), "{refused:?}");

    let mut config = house.config();
    config.time_provider = Arc::new(Later);
    let (_supervisor, address) = house.serve(config).await;
    let refused = house.agent(address, worker_id(1)).connect(worker_id(1)).await.map(drop).unwrap_err();
    assert!(matches!(refused, TransportError::Unreachable { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_token_is_not_sent_to_a_supervisor_that_nobody_vouches_for() {
    let (house, impostor) = (House::new(), House::new());
    let (_supervisor, address) = impostor.serve(impostor.config()).await;
    let key = AgentKey::generate().unwrap();
    let refused =
        house.stranger(address).join(worker_id(1), house.ask(worker_id(1), &key)).await.unwrap_err();
    assert!(chain(&refused).contains("certificate"), "{}", chain(&refused));
    assert_eq!(refused.retry(), Retry::Later, "it may be another machine's address for a while");
    assert_eq!(*impostor.asked.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_token_is_not_sent_without_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let agent = GrpcAgentTransport::new(&format!("http://{address}"), AgentOptions::default()).unwrap();
    let house = House::new();
    let ask = house.ask(worker_id(1), &AgentKey::generate().unwrap());
    let refused = agent.join(worker_id(1), ask.clone()).await.unwrap_err();
    assert!(matches!(&refused, TransportError::Refused { message } if message.contains("https://")));

    // Nor to somebody who answers a greeting in TLS with something else.
    let token = ask.token.clone();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; 4096];
        let length = stream.read(&mut heard).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        heard.truncate(length);
        stream.read_to_end(&mut heard).await.unwrap();
        heard
    });
    assert!(house.stranger(address).join(worker_id(1), ask).await.is_err());
    let heard = heard.await.unwrap();
    assert!(!heard.windows(token.len()).any(|part| part == token.as_bytes()));
}

#[tokio::test]
async fn plain_http_on_a_port_with_tls_is_thrown_out() {
    let house = House::new();
    let (supervisor, address) = house.serve(house.config()).await;
    let plain = GrpcAgentTransport::new(&format!("http://{address}"), AgentOptions::default()).unwrap();
    let refused = plain.connect(worker_id(1)).await.map(drop).unwrap_err();
    assert!(matches!(refused, TransportError::Unreachable { .. }), "{refused:?}");
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0xff; 9000]]
    {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        let _ = stranger.write_all(garbage).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, stranger.read_to_end(&mut answer)).await.expect("thrown out");
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    let _session = house.agent(address, worker_id(1)).connect(worker_id(1)).await.unwrap();
    assert_eq!(event(&supervisor).await.1, worker_id(1));
}

#[tokio::test]
async fn those_who_connect_and_say_nothing_hold_up_nobody() {
    let house = House::new();
    let (supervisor, address) = house.serve(house.config()).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let _session = house.agent(address, worker_id(1)).connect(worker_id(1)).await.unwrap();
    assert_eq!(event(&supervisor).await.1, worker_id(1));
}

#[tokio::test]
async fn a_wish_to_join_is_bounded_in_size_and_number() {
    let house = House::new();
    let (_supervisor, address) = house.serve(house.config()).await;
    let key = AgentKey::generate().unwrap();
    let ask = |change: fn(&mut JoinRequest)| {
        let mut ask = house.ask(worker_id(1), &key);
        change(&mut ask);
        join_request(worker_id(1), ask)
    };
    let mut client = JoinServiceClient::new(house.raw(address, None).await);
    let long = client.join(ask(|ask| ask.token = "x".repeat(257))).await.unwrap_err();
    assert_eq!(long.code(), Code::InvalidArgument);
    let huge = client.join(ask(|ask| ask.signing_request = vec![0; 1 << 20])).await.unwrap_err();
    assert_eq!(huge.code(), Code::OutOfRange);
    assert_eq!(*house.asked.lock().unwrap(), 0);

    let mut client = JoinServiceClient::new(house.raw(address, None).await);
    for _ in 0..JOINS_PER_CONNECTION {
        client.join(ask(|ask| ask.token.clear())).await.unwrap_err();
    }
    let often = client.join(ask(|_| {})).await.unwrap_err();
    assert_eq!(often.code(), Code::ResourceExhausted);
    assert_eq!(crate::status::of_join(often, "x").retry(), Retry::Later);
    assert!(house.stranger(address).join(worker_id(1), house.ask(worker_id(1), &key)).await.is_ok());
}

#[test]
fn an_address_says_whether_somebody_is_to_be_trusted() {
    let dialled = |endpoint: &str, tls| {
        GrpcAgentTransport::new(endpoint, AgentOptions { tls, ..AgentOptions::default() }).map(drop)
    };
    let tls = || Some(AgentTls::trusting("a certificate"));
    assert!(matches!(dialled("https://x:1", None), Err(InvalidEndpoint::NobodyToTrust { .. })));
    assert!(matches!(dialled("http://x:1", tls()), Err(InvalidEndpoint::Unprotected { .. })));
    assert!(dialled("https://[::1]:1", tls()).is_ok());
}
