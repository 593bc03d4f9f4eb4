//! Agents as processes keep the contract of a provisioner.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::id::WorkerId;
use data_runner_core::port::Provisioner;
use data_runner_core::worker::MachineRequest;
use data_runner_local::LocalProvisioner;
use data_runner_testkit::contract::provisioner::{ProvisionerFixture, RevivingFixture};
use support::{House, is_alive, kill, marked, until};

struct Fixture {
    house: House,
    /// Another supervisor's, on the same host.
    neighbour: House,
    provisioner: LocalProvisioner,
}

const AGENT: &str = "exec sleep 600";

impl Fixture {
    fn new() -> Self {
        let house = House::new();
        let provisioner = house.provisioner(AGENT);
        Self { house, neighbour: House::new(), provisioner }
    }
}

#[async_trait]
impl ProvisionerFixture for Fixture {
    fn provisioner(&self) -> Arc<dyn Provisioner> {
        Arc::new(self.provisioner.clone())
    }

    fn restarted(&self) -> Arc<dyn Provisioner> {
        Arc::new(self.house.provisioner(AGENT))
    }

    fn foreign(&self) -> Arc<dyn Provisioner> {
        Arc::new(self.neighbour.provisioner(AGENT))
    }

    fn request(&self) -> MachineRequest {
        support::request()
    }

    async fn agents(&self, worker: WorkerId) -> usize {
        marked(&self.provisioner.folder(worker)).len()
    }
}

#[async_trait]
impl RevivingFixture for Fixture {
    async fn kill_agent(&self, worker: WorkerId) {
        for pid in marked(&self.provisioner.folder(worker)) {
            kill(pid);
            until(|| (!is_alive(pid)).then_some(()));
        }
    }
}

data_runner_testkit::provisioner_contract!(Fixture::new());
data_runner_testkit::provisioner_reviving_contract!(Fixture::new());
