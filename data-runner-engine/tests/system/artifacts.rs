use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::artifact::ArtifactOffer;
use data_runner_core::execution::StateName;
use data_runner_core::id::{Claim, Sha256, WorkerId};
use data_runner_core::port::{
    AgentGate as _, ArtifactRefused, BlobRef, BlobStore as _, ByteSource, Catalog as _, OnePiece, Source,
};
use data_runner_engine::SupervisorBuilder;
use data_runner_engine::supervisor::Gate;
use data_runner_testkit::memory::executor::Script;
use data_runner_testkit::sample::worker_id;

use super::kit::*;

const HOUR: Duration = Duration::from_secs(3600);

fn offer(claim: Claim, path: &str, bytes: &[u8]) -> ArtifactOffer {
    let blob = BlobRef { hash: Sha256::of(bytes), bytes: bytes.len() as u64 };
    ArtifactOffer { claim, name: "report".parse().unwrap(), path: path.to_owned(), blob }
}

fn content(bytes: &[u8]) -> Box<dyn ByteSource> {
    Box::new(OnePiece::from(Bytes::copy_from_slice(bytes)))
}

/// Comes to no end.
struct Broken;

#[async_trait]
impl ByteSource for Broken {
    async fn next(&mut self) -> Result<Option<Bytes>, Source> {
        Err("the agent went".into())
    }
}

#[tokio::test(start_paused = true)]
async fn files_are_forgotten_with_their_bytes_when_their_time_is_over_and_shared_bytes_stay() {
    let mut kit = Kit::new(|_| Script::new().waits().exits(0));
    let rules = "artifacts: [{name: report, path: '*.csv', retain: 2h}]\n";
    kit.repo().publish("main", files(&[("orders", &format!("{CONFIG}{rules}"))]));
    let clock = TestClock::at("2026-08-01T06:00:00Z");
    let gate = Gate::default();
    let builder = SupervisorBuilder { gate: gate.clone(), clock: clock.clone(), ..kit.builder() };
    kit.network.set_gate(Arc::new(gate.clone()));
    let supervisor = builder.start().await.unwrap();
    let handle = supervisor.handle();
    register(&handle).await;
    kit.start_agent(1);
    let id = execute(&handle).await;
    let running = until(&handle, id, StateName::Running).await;
    let live = running.state.live().unwrap();
    let (worker, claim): (WorkerId, Claim) = (live.worker, live.claim(id));
    let keep = async |path: &str, bytes: &[u8]| {
        gate.keep_artifact(worker, offer(claim, path, bytes), content(bytes)).await
    };

    keep("a.csv", b"same").await.unwrap();
    keep("own.csv", b"own").await.unwrap();
    let broken = gate.keep_artifact(worker, offer(claim, "torn.csv", b"torn"), Box::new(Broken)).await;
    assert!(matches!(broken, Err(ArtifactRefused::Unavailable(_))), "{broken:?}");
    let stranger = gate.keep_artifact(worker_id(9), offer(claim, "b.csv", b"same"), content(b"same")).await;
    assert!(matches!(stranger, Err(ArtifactRefused::Refused { .. })), "{stranger:?}");
    assert_eq!(handle.artifacts(id).await.unwrap().len(), 2, "what did not come is not shown");

    tokio::time::sleep(HOUR).await;
    keep("b.csv", b"same").await.unwrap();
    // Two hours after the first, with the sweep of that hour.
    tokio::time::sleep(HOUR + HOUR / 2).await;
    let paths: Vec<String> = handle.artifacts(id).await.unwrap().into_iter().map(|it| it.path).collect();
    assert_eq!(paths, ["b.csv"]);
    let (same, own) = (Sha256::of(b"same"), Sha256::of(b"own"));
    assert!(kit.artifacts.contains(&same).await.unwrap(), "another has the same bytes");
    assert!(!kit.artifacts.contains(&own).await.unwrap());
    tokio::time::sleep(30 * HOUR).await;
    assert!(!kit.artifacts.contains(&same).await.unwrap());
    assert_eq!(kit.store.artifacts(id).await.unwrap(), [], "also what was announced and never came");
    kit.crash(supervisor).await;
}
