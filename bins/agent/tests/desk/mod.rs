//! A supervisor's end of the line, over gRPC, in a test's hands.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use clap::Parser;
use data_runner_agent::{AgentOptions, runner};
use data_runner_core::artifact::ArtifactOffer;
use data_runner_core::execution::{FinishReport, Phase};
use data_runner_core::id::{
    AttemptId, AttemptNumber, Claim, Epoch, ExecutionId, Lease, SessionId, Sha256, WorkerId,
};
use data_runner_core::log::Segment;
use data_runner_core::message::{
    AgentMessage, Assign, AttemptStatus, LogAck, LogOutcome, SupervisorMessage, Welcome,
};
use data_runner_core::port::{
    AgentGate, ArtifactRefused, Bundle, BundleRefused, ByteSource, Executor, Prepared, SessionEvent,
    Transport, WantedBundle,
};
use data_runner_core::workflow::{BundleRef, Dependencies, JobSpec, Resources};
use data_runner_exec::{CommandExecutor, ShimCommand};
use data_runner_grpc::{GrpcTransport, ServerOptions};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A bundle whose job is this shell script.
pub fn bundle(script: &[u8]) -> Bytes {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(script.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "workflows/w/run.sh", script).unwrap();
    zstd::bulk::compress(&builder.into_inner().unwrap(), 1).unwrap().into()
}

struct Gate(Bytes);

#[async_trait]
impl AgentGate for Gate {
    async fn bundle(&self, _: WorkerId, _: WantedBundle) -> Result<Bundle, BundleRefused> {
        Ok(Bundle::Bytes(self.0.clone()))
    }

    async fn keep_artifact(
        &self,
        _: WorkerId,
        _: ArtifactOffer,
        _: Box<dyn ByteSource>,
    ) -> Result<(), ArtifactRefused> {
        Err(ArtifactRefused::Refused { message: "nothing is kept here".to_owned() })
    }
}

#[derive(Debug, Parser)]
pub struct Cli {
    #[command(flatten)]
    pub options: AgentOptions,
}

/// The options of these flags.
pub fn options(flags: &[&str]) -> AgentOptions {
    Cli::parse_from(["agent"].iter().chain(flags)).options
}

/// The only worker type of the agents here: shell scripts.
pub fn shell(options: &AgentOptions) -> Arc<dyn Executor> {
    let program = ShimCommand(vec![env!("CARGO_BIN_EXE_data-runner-agent").into(), "internal-shim".into()]);
    let runner = runner(options, program).unwrap();
    Arc::new(CommandExecutor::new("shell".parse().unwrap(), runner, |run| {
        let command = vec!["/bin/sh".into(), run.job.entrypoint.clone().into()];
        Ok(Prepared { command, ..Prepared::default() })
    }))
}

/// A supervisor, and its address.
pub async fn serve(bundle: Bytes) -> (Arc<GrpcTransport>, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (GrpcTransport::serve(listener, Arc::new(Gate(bundle)), ServerOptions::default()), url)
}

/// Takes every log in and acknowledges it; all that was printed, once the transport is shut down.
pub fn take_logs(transport: &Arc<GrpcTransport>) -> JoinHandle<Vec<u8>> {
    let transport = Arc::clone(transport);
    tokio::spawn(async move {
        let mut printed = Vec::new();
        while let Ok(pieces) = transport.receive_log(16).await {
            for (session, piece) in pieces {
                for segment in piece.chunk.segments().unwrap() {
                    if let Segment::Output { bytes, .. } = segment {
                        printed.extend_from_slice(&bytes);
                    }
                }
                let outcome = LogOutcome::Stored { upto: piece.chunk.end.offset };
                transport.send_log_ack(session, LogAck { claim: piece.claim, outcome }).await.unwrap();
            }
        }
        printed
    })
}

pub fn job(bundle: &Bytes) -> Arc<JobSpec> {
    Arc::new(JobSpec {
        artifacts: Vec::new(),
        workflow: data_runner_core::id::QualifiedName {
            repo: "r".parse().unwrap(),
            name: "w".parse().unwrap(),
        },
        revision: "1".repeat(40).parse().unwrap(),
        worker_type: "shell".parse().unwrap(),
        bundle: BundleRef { hash: Sha256::of(bundle), bytes: bundle.len() as u64 },
        folder: "workflows/w".to_owned(),
        entrypoint: "run.sh".to_owned(),
        python_path: Vec::new(),
        params: BTreeMap::new(),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        dependencies: Dependencies::default(),
        packages: Default::default(),
        resources: Resources { memory_bytes: 256 << 20, cpus: 1 },
        timeout: Duration::from_secs(60),
        grace: Duration::from_secs(1),
    })
}

pub struct Desk {
    pub transport: Arc<GrpcTransport>,
    pub session: SessionId,
}

impl Desk {
    /// Welcomes the next agent.
    pub async fn welcome(transport: Arc<GrpcTransport>) -> Self {
        loop {
            let event = transport.receive().await.unwrap();
            if let SessionEvent::Message(message) = event.what
                && let AgentMessage::Hello(hello) = *message
            {
                assert_eq!(hello.attempts, []);
                let session = event.session;
                let welcome = Welcome {
                    session,
                    epoch: Epoch(1),
                    verdicts: Vec::new(),
                    heartbeat: Duration::from_secs(5),
                    dead_man: Duration::from_secs(60),
                };
                transport.send(session, SupervisorMessage::Welcome(welcome)).await.unwrap();
                return Self { transport, session };
            }
        }
    }

    pub async fn drain(&self) {
        self.transport.send(self.session, SupervisorMessage::Drain { epoch: Epoch(1) }).await.unwrap();
    }

    /// Runs one job; how long its start took from the assignment, and its end.
    pub async fn run(&self, job: &Arc<JobSpec>) -> (Duration, FinishReport) {
        self.run_then(job, || {}).await
    }

    /// The same; `started` is called when it runs.
    pub async fn run_then(&self, job: &Arc<JobSpec>, started: impl FnOnce()) -> (Duration, FinishReport) {
        let mut started = Some(started);
        let attempt =
            AttemptId { execution: ExecutionId::from_uuid(Uuid::now_v7()), number: AttemptNumber::FIRST };
        let claim = Claim { attempt, lease: Lease::from_uuid(Uuid::now_v7()) };
        let began = Instant::now();
        let assign = Assign { claim, epoch: Epoch(1), job: Arc::clone(job) };
        self.transport.send(self.session, SupervisorMessage::Assign(assign)).await.unwrap();
        let mut took = Duration::ZERO;
        loop {
            let SessionEvent::Message(message) = self.transport.receive().await.unwrap().what else {
                panic!("the session ended");
            };
            let AgentMessage::WorkerStatus(status) = *message else {
                continue;
            };
            match status.status {
                AttemptStatus::Reached { phase: Phase::Started, .. } => {
                    took = began.elapsed();
                    if let Some(started) = started.take() {
                        started();
                    }
                }
                AttemptStatus::Reached { .. } => {}
                AttemptStatus::Finished(report) => {
                    let ack = SupervisorMessage::StatusAck { claim };
                    self.transport.send(self.session, ack).await.unwrap();
                    return (took, *report);
                }
            }
        }
    }
}
