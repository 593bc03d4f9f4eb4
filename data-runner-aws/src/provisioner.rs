//! Machines on EC2.

use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::id::{MachineId, WorkerId};
use data_runner_core::port::{BlobStore, JoinAuthority, LaunchAnswer, ProvisionError, Provisioner};
use data_runner_core::worker::{Candidate, Machine, MachineRequest};

use crate::bake::Ec2Baker;
use crate::call::AwsAccount;
use crate::launch::Launcher;
use crate::list::Fleet;
use crate::options::Ec2Options;
use crate::plan::Planner;

/// A [`Provisioner`] on EC2. A machine runs the agent of one worker, and is gone when it powers off.
///
/// It decides nothing: which candidate, and when again, is core's. So the SDK's own retries are switched off for what
/// makes and ends machines, and calls stay at half of the rates that EC2 publishes.
///
/// A machine's agent is not seen from here: it is started again by the machine itself, so that no machine is ever shown
/// as [`AgentDown`](data_runner_core::worker::MachineState::AgentDown).
pub struct Ec2Provisioner {
    account: AwsAccount,
    options: Arc<Ec2Options>,
    planner: Arc<Planner>,
    launcher: Arc<Launcher>,
    fleet: Arc<Fleet>,
}

impl Ec2Provisioner {
    /// A provisioner of that account's machines that bear the installation's name.
    pub fn new(
        account: AwsAccount,
        options: Ec2Options,
        authority: Arc<dyn JoinAuthority>,
        blobs: Arc<dyn BlobStore>,
    ) -> Self {
        let options = Arc::new(options);
        Self {
            planner: Arc::new(Planner::new(account.clone(), Arc::clone(&options))),
            launcher: Launcher::new(account.clone(), Arc::clone(&options), authority, blobs),
            fleet: Arc::new(Fleet::new(account.clone(), &options.installation)),
            account,
            options,
        }
    }

    /// Bakes images for these machines. One is enough: what it has under way is in its memory.
    pub fn baker(&self) -> Ec2Baker {
        let (planner, fleet) = (Arc::clone(&self.planner), Arc::clone(&self.fleet));
        Ec2Baker::new(self.account.clone(), Arc::clone(&self.options), planner, fleet)
    }
}

#[async_trait]
impl Provisioner for Ec2Provisioner {
    async fn plan(&self, request: MachineRequest) -> Result<Vec<Candidate>, ProvisionError> {
        self.planner.plan(request).await
    }

    async fn launch(&self, worker: WorkerId, candidate: Candidate) -> LaunchAnswer {
        let answer = self.launcher.launch(worker, candidate).await;
        if let LaunchAnswer::Launched(machine) = &answer {
            self.fleet.launched(machine.clone());
        }
        answer
    }

    async fn terminate(&self, worker: WorkerId, machine: Option<MachineId>) -> Result<(), ProvisionError> {
        self.fleet.end(worker, machine).await
    }

    async fn list(&self) -> Result<Vec<Machine>, ProvisionError> {
        Ok(self.fleet.list().await?.to_vec())
    }

    async fn console(&self, machine: MachineId) -> Result<String, ProvisionError> {
        Ok(self.fleet.console(&machine).await?)
    }
}
