//! One worker: a machine (or an agent process of this machine) and its life from launch to proof of its end.

mod machine;
mod state;

use serde::{Deserialize, Serialize};

pub use machine::{Candidate, Machine, MachineRequest, MachineState};
pub use state::{TerminationCause, WorkerState, WorkerStateName};

use crate::id::{WorkerId, WorkerType, WorkflowId};
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
    /// What its agent said of itself; `None` until it connected once.
    pub facts: Option<AgentFacts>,
    /// Where it stands.
    pub state: WorkerState,
    /// When the intent to have it was recorded.
    pub created_at: Timestamp,
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
    /// Executions of this workflow with this instance size only (a machine of the cloud).
    Workflow {
        /// The workflow.
        workflow: WorkflowId,
        /// The size that was asked for.
        instance_size: String,
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
