//! The provisioner of one's own keeps the contract: the testkit's suite, run in one call, and what it cannot know.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use data_runner_testkit::contract::provisioner::{ProvisionerFixture, RevivingFixture};
use data_runner_testkit::sample;
use tempfile::TempDir;

use super::*;

struct Fixture {
    provisioner: TaskProvisioner,
    folder: TempDir,
    /// Another program's.
    neighbour: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { provisioner: provisioner(folder.path()), folder, neighbour: tempfile::tempdir().unwrap() }
    }
}

/// Nobody listens there: what is tested is the machines, and not what runs on them.
fn provisioner(folder: &Path) -> TaskProvisioner {
    TaskProvisioner::new(TaskOptions {
        folder: folder.to_owned(),
        grpc_url: "http://127.0.0.1:1".to_owned(),
        executors: Vec::new(),
    })
}

#[async_trait]
impl ProvisionerFixture for Fixture {
    fn provisioner(&self) -> Arc<dyn Provisioner> {
        Arc::new(self.provisioner.clone())
    }

    fn restarted(&self) -> Arc<dyn Provisioner> {
        // A supervisor that starts again in the same program finds the tasks of the one before it.
        Arc::new(self.provisioner.clone())
    }

    fn foreign(&self) -> Arc<dyn Provisioner> {
        Arc::new(provisioner(self.neighbour.path()))
    }

    fn request(&self) -> MachineRequest {
        MachineRequest::plain("t3.small", None, 1)
    }

    async fn agents(&self, worker: WorkerId) -> usize {
        let agents = self.provisioner.agents.lock().unwrap();
        usize::from(agents.get(&worker).is_some_and(RunningAgent::lives))
    }
}

#[async_trait]
impl RevivingFixture for Fixture {
    async fn kill_agent(&self, worker: WorkerId) {
        let agent = self.provisioner.agents.lock().unwrap().remove(&worker);
        if let Some(RunningAgent { task, .. }) = agent {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
    }
}

data_runner_testkit::provisioner_contract!(Fixture::new());
data_runner_testkit::provisioner_reviving_contract!(Fixture::new());

#[tokio::test]
async fn machines_of_a_program_that_was_killed_are_shown_and_can_be_ended() {
    let it = Fixture::new();
    let worker = sample::worker_id(1);
    let candidate = it.provisioner.plan(it.request()).await.unwrap().remove(0);
    it.provisioner.launch(worker, candidate).await;
    it.kill_agent(worker).await;

    let next = provisioner(it.folder.path());
    assert_eq!(next.list().await.unwrap()[0].state, MachineState::AgentDown);
    next.terminate(worker, None).await.unwrap();
    let gone = async {
        while !matches!(next.list().await.unwrap()[0].state, MachineState::Terminated { .. }) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
}
