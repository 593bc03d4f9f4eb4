//! One worker: a machine (or an agent process of this machine) and its life from launch to proof of its end.

mod machine;
mod state;

use serde::{Deserialize, Serialize};

pub use machine::{Candidate, Machine, MachineEnd, MachineRequest, MachineState};
pub use state::{TerminationCause, WorkerState, WorkerStateName};

use crate::cost::MachinePrice;
use crate::cost::Market;
use crate::id::{MachineId, Sha256, WorkerId, WorkerType, WorkflowId};
use crate::time::Timestamp;

/// A worker as the supervisor knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Its id; the agent on it bears the same.
    pub id: WorkerId,
    /// Who started it.
    pub origin: Origin,
    /// Whose executions it may take.
    pub purpose: Purpose,
    /// How many attempts it runs at one time.
    pub slots: u32,
    /// The machine that was launched for it; `None` until it was, or if nobody launched one.
    #[serde(default)]
    pub launched: Option<Launched>,
    /// The public key that its agent joined with. Another key is refused from then on.
    #[serde(default)]
    pub joined_with: Option<Sha256>,
    /// What its agent said of itself; `None` until it connected once.
    pub facts: Option<AgentFacts>,
    /// Where it stands.
    pub state: WorkerState,
    /// When the intent to have it was recorded.
    pub created_at: Timestamp,
}

impl Worker {
    /// When it was proved gone.
    pub const fn gone_at(&self) -> Option<Timestamp> {
        match &self.state {
            WorkerState::Terminated { at, .. } => Some(*at),
            WorkerState::Planning { .. }
            | WorkerState::Launching { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Idle { .. }
            | WorkerState::Busy { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Terminating { .. } => None,
        }
    }

    /// The provisioner's name for its machine, once that is known.
    pub fn machine(&self) -> Option<&MachineId> {
        self.state.machine().or_else(|| self.launched.as_ref().map(|launched| &launched.machine))
    }

    /// When its machine must be gone, whatever happens.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.purpose {
            Purpose::Any => None,
            Purpose::Workflow { request, .. } => request.deadline,
        }
    }
}

/// A machine that was launched. It stays with the worker when that has ended: costs are counted from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// The provisioner's name for it.
    pub machine: MachineId,
    /// Its type.
    pub instance_type: String,
    /// Its availability zone, where there are any.
    pub zone: Option<String>,
    /// How its capacity is bought.
    pub market: Market,
    /// Its price, where one is known.
    pub price: Option<MachinePrice>,
    /// When the launch was confirmed.
    pub at: Timestamp,
}

/// Who started a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Our provisioner: it can be launched again, terminated, and proved gone by a listing.
    Provisioned,
    /// A person started the agent. Only time proves it gone: its dead-man timer stops its jobs.
    Joined,
}

/// Whose executions a worker may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Purpose {
    /// Any execution whose worker type its agent supports (workers of this machine).
    Any,
    /// Executions of this workflow that ask for the same machine only (a machine of the cloud).
    Workflow {
        /// The workflow.
        workflow: WorkflowId,
        /// What the provisioner was asked for, and is asked for again after a restart.
        request: Box<MachineRequest>,
        /// How long it stays when it has nothing to do.
        keep_warm: std::time::Duration,
    },
}

/// What an agent says of itself when it connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// The agent's version.
    pub version: String,
    /// The worker types that it has an executor for.
    pub worker_types: Vec<WorkerType>,
    /// Processors of its machine.
    pub cpus: u32,
    /// Memory of its machine, in bytes.
    pub memory_bytes: u64,
    /// How many attempts it runs at one time.
    pub slots: u32,
    /// The machine's name, for people.
    pub host: String,
}
