//! What the provisioner is asked for, what it offers, and what it shows.

use serde::{Deserialize, Serialize};

use crate::id::{MachineId, WorkerId, WorkerType};
use crate::time::Timestamp;

/// What kind of machine is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRequest {
    /// The instance size, such as `t3.medium`.
    pub instance_size: String,
    /// The worker type that it must be able to run; `None`: all of them (a worker kept ahead of need).
    pub worker_type: Option<WorkerType>,
    /// How many attempts it shall run at one time.
    pub slots: u32,
}

/// One way to get such a machine: complete, so that repeating the launch asks for the same to the byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// What a person reads: type, zone, market.
    pub label: String,
    /// The instance type.
    pub instance_type: String,
    /// The provisioner's own, pinned request, as it wants to see it again.
    pub request: serde_json::Value,
    /// The price in millionths of a US dollar an hour, where one is known.
    pub micro_usd_per_hour: Option<u64>,
}

/// A machine as the provisioner shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The provisioner's name for it.
    pub id: MachineId,
    /// The worker that it was launched for.
    pub worker: WorkerId,
    /// Where it stands.
    pub state: MachineState,
    /// When it was launched.
    pub launched_at: Timestamp,
}

/// Where a machine stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum MachineState {
    /// It is being started.
    Pending,
    /// It runs.
    Running,
    /// It runs but its agent does not; launching it again with the same candidate revives the agent.
    AgentDown,
    /// It is being stopped.
    Stopping,
    /// It is gone, and with it every process of its jobs: the proof that fencing needs.
    Terminated {
        /// What the provisioner says of why.
        reason: String,
    },
}
