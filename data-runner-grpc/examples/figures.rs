//! Measures the Transport over loopback and prints what it found:
//! `cargo run --release -p data-runner-grpc --example figures`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_runner_core::id::Epoch;
use data_runner_core::message::{AgentMessage, LogAppend, SupervisorMessage};
use data_runner_core::port::{AgentSession, AgentTransport, BundleForm, Transport, WantedBundle};
use data_runner_grpc::{AgentOptions, GrpcAgentTransport, GrpcTransport, ServerOptions};
use data_runner_testkit::contract::transport::{SampleGate, claim, log_appends};
use data_runner_testkit::sample::worker_id;

const PIECE: usize = 64 << 10;

#[tokio::main]
async fn main() {
    let loopback = "127.0.0.1:0".parse().unwrap();
    let (supervisor, address) =
        GrpcTransport::bind(loopback, Arc::new(SampleGate::default()), ServerOptions::default())
            .await
            .unwrap();
    let transport = GrpcAgentTransport::new(&format!("http://{address}"), AgentOptions::default()).unwrap();

    let mut connects = Vec::new();
    for _ in 0..200 {
        let begin = Instant::now();
        let session = transport.connect(worker_id(1)).await.unwrap();
        connects.push(begin.elapsed());
        drop(session);
    }
    print("connect", connects);
    for _ in 0..400 {
        supervisor.receive().await.unwrap();
    }

    let agent: Arc<dyn AgentSession> = Arc::from(transport.connect(worker_id(1)).await.unwrap());
    let echo = tokio::spawn({
        let supervisor = supervisor.clone();
        async move {
            while let Ok(event) = supervisor.receive().await {
                let _ = supervisor.send(event.session, SupervisorMessage::Drain { epoch: Epoch(1) }).await;
            }
        }
    });
    // The answer to Opened.
    agent.receive().await.unwrap();
    print("round trip, idle", round_trips(&*agent, 20_000).await);

    let (stored, seconds, during) = flood(&supervisor, agent.clone(), 2 << 30).await;
    print("round trip in a log flood", during);
    println!("log flood: {:.0} MB/s in pieces of {PIECE} bytes", stored as f64 / seconds / 1e6);

    let begin = Instant::now();
    for _ in 0..10 {
        let wanted = WantedBundle { claim: claim(2), hash: SampleGate::hash(2), form: BundleForm::Bytes };
        agent.fetch_bundle(wanted).await.unwrap();
    }
    println!("bundle of 20 MB: {:?}", begin.elapsed() / 10);
    echo.abort();
}

async fn round_trips(agent: &dyn AgentSession, count: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        agent.send(AgentMessage::HeartBeat).await.unwrap();
        agent.receive().await.unwrap();
        times.push(begin.elapsed());
    }
    times
}

/// Bytes of log that were received, in how many seconds, and how long messages took meanwhile.
async fn flood(
    supervisor: &Arc<GrpcTransport>,
    agent: Arc<dyn AgentSession>,
    bytes: usize,
) -> (usize, f64, Vec<Duration>) {
    let mut append: LogAppend = log_appends().remove(0);
    append.chunk.payload = vec![b'x'; PIECE].into();
    let begin = Instant::now();
    let sending = tokio::spawn({
        let agent = agent.clone();
        async move {
            for _ in 0..bytes / PIECE {
                agent.send_log(append.clone()).await.unwrap();
            }
        }
    });
    let receiving = tokio::spawn({
        let supervisor = supervisor.clone();
        async move {
            let mut received = 0;
            while received < bytes {
                let pieces = supervisor.receive_log(100).await.unwrap();
                received += pieces.iter().map(|(_, piece)| piece.chunk.payload.len()).sum::<usize>();
            }
            (received, begin.elapsed().as_secs_f64())
        }
    });
    let mut during = Vec::new();
    while !receiving.is_finished() {
        during.extend(round_trips(&*agent, 1).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    sending.await.unwrap();
    let (received, seconds) = receiving.await.unwrap();
    (received, seconds, during)
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what}: p50 {:?}, p99 {:?}, max {:?} ({} times)", at(50), at(99), at(100), times.len());
}
