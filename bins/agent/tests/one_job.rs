//! A whole agent with nothing in memory: gRPC, a real shim, a real process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use clap::Parser;
use data_runner_agent::{AgentOptions, run_with, runner};
use data_runner_core::execution::{Ending, FinishReport, Phase};
use data_runner_core::id::{
    AttemptId, AttemptNumber, Claim, Epoch, ExecutionId, Lease, SessionId, Sha256, WorkerId,
};
use data_runner_core::log::Segment;
use data_runner_core::message::{
    AgentMessage, Assign, AttemptStatus, LogAck, LogOutcome, SupervisorMessage, Welcome,
};
use data_runner_core::port::{BundleGate, BundleRefused, Prepared, SessionEvent, Transport};
use data_runner_core::workflow::{BundleRef, Dependencies, JobSpec, Resources};
use data_runner_exec::{CommandExecutor, ShimCommand};
use data_runner_grpc::{GrpcTransport, ServerOptions};
use uuid::Uuid;

const SCRIPT: &[u8] = b"echo out; echo err >&2; exit 5\n";

fn bundle() -> Bytes {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(SCRIPT.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "workflows/w/run.sh", SCRIPT).unwrap();
    zstd::bulk::compress(&builder.into_inner().unwrap(), 1).unwrap().into()
}

struct Gate(Bytes);

#[async_trait]
impl BundleGate for Gate {
    async fn bundle(&self, _: WorkerId, _: Claim, _: &Sha256) -> Result<Bytes, BundleRefused> {
        Ok(self.0.clone())
    }
}

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    options: AgentOptions,
}

fn job(bundle: &Bytes) -> Arc<JobSpec> {
    Arc::new(JobSpec {
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
        resources: Resources { memory_bytes: 256 << 20, cpus: 1 },
        timeout: Duration::from_secs(60),
        grace: Duration::from_secs(1),
    })
}

struct Desk {
    transport: Arc<GrpcTransport>,
    session: SessionId,
}

impl Desk {
    async fn welcome(transport: Arc<GrpcTransport>) -> Self {
        loop {
            let event = transport.receive().await.unwrap();
            if let SessionEvent::Message(message) = event.what
                && let AgentMessage::Hello(hello) = *message
            {
                assert_eq!(hello.facts.worker_types, ["shell".parse().unwrap()]);
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

    /// Runs one job; how long its start took from the assignment, and its end.
    async fn run(&self, job: &Arc<JobSpec>) -> (Duration, FinishReport) {
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
                AttemptStatus::Reached { phase: Phase::Started, .. } => took = began.elapsed(),
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_run_one_after_another_and_their_logs_arrive() {
    let state = tempfile::tempdir().unwrap();
    let bundle = bundle();
    let gate = Arc::new(Gate(bundle.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let transport = GrpcTransport::serve(listener, gate, ServerOptions::default());
    let arguments = ["agent", "--supervisor", &url, "--state-dir", state.path().to_str().unwrap()];
    let options = Cli::parse_from(arguments).options;
    let program = ShimCommand(vec![env!("CARGO_BIN_EXE_data-runner-agent").into(), "internal-shim".into()]);
    let shell = CommandExecutor::new("shell".parse().unwrap(), runner(&options, program).unwrap(), |run| {
        let command = vec!["/bin/sh".into(), run.job.entrypoint.clone().into()];
        Ok(Prepared { command, ..Prepared::default() })
    });
    let agent = tokio::spawn(async move { run_with(&options, vec![Arc::new(shell)]).await });
    let desk = Desk::welcome(Arc::clone(&transport)).await;
    let logs = {
        let transport = Arc::clone(&transport);
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
    };
    let job = job(&bundle);
    let mut starts = Vec::new();
    for _ in 0..5 {
        let (took, report) = desk.run(&job).await;
        assert_eq!(report.ending, Ending::Exited { code: 5 });
        assert_eq!(report.log_end.0, 8);
        starts.push(took);
    }
    starts.sort();
    println!("from assignment to start: {starts:?}");
    desk.transport.send(desk.session, SupervisorMessage::Drain { epoch: Epoch(1) }).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), agent).await.expect("it drains").unwrap().unwrap();
    assert_eq!(std::fs::read_dir(state.path().join("runs")).unwrap().count(), 0);
    transport.shut_down().await;
    let mut lines: Vec<String> =
        String::from_utf8(logs.await.unwrap()).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines.len(), 10);
    assert_eq!((lines[0].as_str(), lines[9].as_str()), ("err", "out"));
}
