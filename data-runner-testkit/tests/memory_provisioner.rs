//! The provisioner in memory keeps the contract, and tells of what a test made it do.
#![cfg(feature = "provisioner")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::id::WorkerId;
use data_runner_core::port::{LaunchAnswer, Provisioner};
use data_runner_core::worker::{MachineEnd, MachineRequest, MachineState};
use data_runner_testkit::contract::provisioner::{LossyFixture, ProvisionerFixture, RevivingFixture};
use data_runner_testkit::memory::provisioner::{LaunchScript, MachineEvent, MemoryProvisioner};
use data_runner_testkit::sample;

#[derive(Default)]
struct Fixture(MemoryProvisioner);

#[async_trait]
impl ProvisionerFixture for Fixture {
    fn provisioner(&self) -> Arc<dyn Provisioner> {
        Arc::new(self.0.clone())
    }

    fn restarted(&self) -> Arc<dyn Provisioner> {
        Arc::new(self.0.clone())
    }

    fn foreign(&self) -> Arc<dyn Provisioner> {
        // Nothing of a cloud in memory is shared with another.
        Arc::new(MemoryProvisioner::default())
    }

    fn request(&self) -> MachineRequest {
        MachineRequest::plain("t3.medium", None, 1)
    }

    async fn agents(&self, worker: WorkerId) -> usize {
        usize::from(self.0.state(worker) == Some(MachineState::Running))
    }
}

#[async_trait]
impl RevivingFixture for Fixture {
    async fn kill_agent(&self, worker: WorkerId) {
        self.0.kill_agent(worker);
    }
}

#[async_trait]
impl LossyFixture for Fixture {
    async fn lose_next_answer(&self) {
        self.0.script(LaunchScript::AnswerIsLost);
    }
}

data_runner_testkit::provisioner_contract!(Fixture::default());
data_runner_testkit::provisioner_reviving_contract!(Fixture::default());
data_runner_testkit::provisioner_ambiguity_contract!(Fixture::default());

#[tokio::test]
async fn an_answer_that_was_lost_left_one_machine_all_the_same() {
    let cloud = MemoryProvisioner::new(2);
    let mut events = cloud.events();
    let worker = sample::worker_id(1);
    let candidates = cloud.plan(Fixture::default().request()).await.unwrap();
    cloud.script(LaunchScript::Answers(LaunchAnswer::FallBack { message: "no capacity".to_owned() }));
    cloud.script(LaunchScript::AnswerIsLost);
    let answer = cloud.launch(worker, candidates[0].clone()).await;
    assert!(matches!(answer, LaunchAnswer::FallBack { .. }));
    assert!(matches!(cloud.launch(worker, candidates[1].clone()).await, LaunchAnswer::Unknown { .. }));
    assert!(matches!(cloud.launch(worker, candidates[1].clone()).await, LaunchAnswer::Launched(_)));
    cloud.end(worker, "spot");
    assert_eq!(events.recv().await, Some(MachineEvent::Made { worker, candidate: candidates[1].clone() }));
    assert_eq!(events.recv().await, Some(MachineEvent::Gone { worker }));
    assert_eq!(
        cloud.state(worker),
        Some(MachineState::Terminated { reason: "spot".to_owned(), end: MachineEnd::Ended })
    );
}
