//! An agent that joins: real sockets, real certificates, a supervisor whose machines are told to the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use data_runner_agent::{AgentOptions, run_with};
use data_runner_core::id::WorkerId;
use data_runner_core::orchestrator::Policy;
use data_runner_core::port::{Catalog as _, JoinAuthority as _, JoinRequest};
use data_runner_core::worker::{Candidate, WorkerStateName};
use data_runner_core::workflow::{Polling, WorkerTypes};
use data_runner_engine::supervisor::Gate;
use data_runner_engine::{Supervisor, SupervisorBuilder, SystemClock};
use data_runner_grpc::{AgentTls, GrpcAgentTransport, GrpcTransport, ServerOptions, ServerTls};
use data_runner_pki::{
    CertificateAuthority, InstallationKey, Joining, KeptIdentity, ServerCertificate, names_to_dial,
    server_for_agents, worker_of,
};
use data_runner_testkit::memory::blob_store::MemoryBlobs;
use data_runner_testkit::memory::provisioner::{MachineEvent, MemoryProvisioner};
use data_runner_testkit::memory::store::MemoryStore;
use data_runner_testkit::memory::workflow_source::MemoryOpener;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    options: AgentOptions,
}

/// An installation with one launched machine, and that machine's folder.
struct House {
    folder: tempfile::TempDir,
    store: MemoryStore,
    joining: Arc<Joining>,
    authority: Arc<CertificateAuthority>,
    supervisor: Supervisor,
    url: String,
    worker: WorkerId,
    candidate: Candidate,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::open(&folder.path().join("tls"), "test").unwrap();
        let key = InstallationKey::open(&folder.path().join("tls")).unwrap();
        let joining = Arc::new(Joining::new(authority.clone(), key));
        let gate = Gate::with_authority(joining.clone());
        let own = ServerCertificate::Own { names: names_to_dial(&[], &[]) };
        let config = server_for_agents(&authority, &own).unwrap();
        let tls = Some(ServerTls { config, worker_of, join: Arc::new(gate.clone()) });
        let options = ServerOptions { tls, ..ServerOptions::default() };
        let loopback = "127.0.0.1:0".parse().unwrap();
        let (transport, address) =
            GrpcTransport::bind(loopback, Arc::new(gate.clone()), options).await.unwrap();
        let (store, cloud) = (MemoryStore::new(), MemoryProvisioner::new(1));
        let mut machines = cloud.events();
        let builder = SupervisorBuilder {
            state: Arc::new(store.clone()),
            catalog: Arc::new(store.clone()),
            logs: Arc::new(store.clone()),
            blobs: Arc::new(MemoryBlobs::new()),
            artifacts: Arc::new(MemoryBlobs::new()),
            opener: Arc::new(MemoryOpener::new()),
            transport,
            gate,
            provisioner: Some(Arc::new(cloud)),
            policy: Policy::local(1, 1),
            worker_types: WorkerTypes::default(),
            polling: Polling::default(),
            clock: Arc::new(SystemClock::start()),
        };
        let supervisor = builder.start().await.unwrap();
        let made = tokio::time::timeout(Duration::from_secs(30), machines.recv()).await.unwrap();
        let Some(MachineEvent::Made { worker, candidate }) = made else { panic!("{made:?}") };
        std::fs::write(folder.path().join("token"), joining.token(worker, &candidate)).unwrap();
        let url = format!("https://{address}");
        Self { folder, store, joining, authority, supervisor, url, worker, candidate }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn options(&self, state: &str, more: &[&str]) -> AgentOptions {
        let (worker, ca) = (self.worker.to_string(), self.path("tls/ca.pem"));
        let state = self.path(state);
        let mut arguments = vec!["agent", "--supervisor", &self.url, "--worker-id", &worker];
        arguments.extend(["--state-dir", state.to_str().unwrap(), "--ca", ca.to_str().unwrap()]);
        arguments.extend(more);
        Cli::parse_from(arguments).options
    }

    fn with_token(&self, state: &str) -> AgentOptions {
        self.options(state, &["--join-token-file", self.path("token").to_str().unwrap()])
    }

    async fn until(&self, state: WorkerStateName) {
        let mut commits = self.supervisor.handle().commits();
        let wait = async {
            while self.store.worker(self.worker).await.unwrap().unwrap().state.name() != state {
                commits.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it gets there");
    }
}

#[tokio::test]
async fn an_agent_joins_once_and_when_it_is_started_again_needs_no_token() {
    let house = House::new().await;
    let first = house.with_token("agent");
    let agent = tokio::spawn(async move { run_with(&first, Vec::new()).await });
    house.until(WorkerStateName::Idle).await;
    // Its process dies.
    agent.abort();
    assert!(agent.await.unwrap_err().is_cancelled());
    std::fs::remove_file(house.path("token")).unwrap();

    let second = house.options("agent", &[]);
    let agent = tokio::spawn(async move { run_with(&second, Vec::new()).await });
    house.supervisor.handle().drain_worker(house.worker).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), agent).await.expect("it drains").unwrap().unwrap();
}

#[tokio::test]
async fn an_agent_whose_reply_was_lost_joins_with_the_same_key() {
    let house = House::new().await;
    // An earlier process of this agent asked, and died before it heard the answer.
    let earlier = KeptIdentity::open(&house.path("agent/identity")).unwrap();
    let tls = Some(AgentTls::trusting(house.authority.certificate()));
    let line = GrpcAgentTransport::new(
        &house.url,
        data_runner_grpc::AgentOptions { tls, ..data_runner_grpc::AgentOptions::default() },
    );
    let token = house.joining.token(house.worker, &house.candidate);
    let ask = JoinRequest { token, signing_request: earlier.key().signing_request().unwrap() };
    line.unwrap().join(house.worker, ask).await.unwrap();

    // Somebody else has found the token.
    let thief = house.with_token("elsewhere");
    let refused = run_with(&thief, Vec::new()).await.unwrap_err();
    assert!(refused.to_string().contains("joined with another key before"), "{refused:#}");

    let options = house.with_token("agent");
    let agent = tokio::spawn(async move { run_with(&options, Vec::new()).await });
    house.until(WorkerStateName::Idle).await;
    agent.abort();
}

#[tokio::test]
async fn a_wrong_token_is_an_error_that_says_so_and_not_a_wait() {
    let house = House::new().await;
    std::fs::write(house.path("token"), "of-another-machine").unwrap();
    let refused = run_with(&house.with_token("agent"), Vec::new()).await.unwrap_err();
    assert!(refused.to_string().contains("does not let this agent join"), "{refused:#}");
}

#[tokio::test]
async fn a_token_is_kept_from_a_supervisor_that_is_not_protected() {
    let house = House::new().await;
    let mut options = house.with_token("agent");
    options.supervisor = house.url.replace("https", "http");
    let refused = run_with(&options, Vec::new()).await.unwrap_err();
    assert!(refused.to_string().contains("is not protected"), "{refused:#}");
    options.ca = None;
    let refused = run_with(&options, Vec::new()).await.unwrap_err();
    assert!(refused.to_string().contains("give the authority with --ca"), "{refused:#}");
    let without = run_with(&house.options("agent", &[]), Vec::new()).await.unwrap_err();
    assert!(without.to_string().contains("--join-token-file"), "{without:#}");
}
