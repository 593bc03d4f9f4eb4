//! What the provisioner is asked for, what it offers, and what it shows.

use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use crate::cost::{MachinePrice, Market};
use crate::id::{MachineId, WorkerId, WorkerType};
use crate::time::Timestamp;
use crate::workflow::{BundleRef, Compute};

/// What kind of machine is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRequest {
    /// The instance size, such as `t3.medium`.
    pub instance_size: String,
    /// The worker type that it must be able to run; `None`: all of them (a worker kept ahead of need).
    pub worker_type: Option<WorkerType>,
    /// How many attempts it shall run at one time.
    pub slots: u32,
    /// How the workflow wants it chosen and made.
    pub compute: Compute,
    /// Tags of the machine and its volumes, beside the provisioner's own mark.
    pub tags: BTreeMap<String, String>,
    /// When it must be gone, whatever happens: it powers itself off then, supervisor or not.
    pub deadline: Option<Timestamp>,
    /// The code that it will run first, for a provisioner that can send it along.
    pub code: Option<BundleRef>,
}

impl MachineRequest {
    /// A machine of that size with nothing special about it.
    pub fn plain(instance_size: impl Into<String>, worker_type: Option<WorkerType>, slots: u32) -> Self {
        Self {
            instance_size: instance_size.into(),
            worker_type,
            slots,
            compute: Compute::default(),
            tags: BTreeMap::new(),
            deadline: None,
            code: None,
        }
    }
}

/// One way to get such a machine: complete, so that repeating the launch asks for the same to the byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// What a person reads: type, zone, market.
    pub label: String,
    /// The instance type.
    pub instance_type: String,
    /// The availability zone, where there are any.
    #[serde(default)]
    pub zone: Option<String>,
    /// How its capacity is bought.
    #[serde(default)]
    pub market: Market,
    /// The provisioner's own, pinned request, as it wants to see it again.
    pub request: serde_json::Value,
    /// Its price, where one is known.
    #[serde(default)]
    pub price: Option<MachinePrice>,
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
        /// What that means for whoever wanted it.
        end: MachineEnd,
    },
}

/// What the end of a machine means for whoever wanted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineEnd {
    /// There was no capacity for it after all: another candidate may do.
    NoCapacity,
    /// Its spare capacity was taken back.
    Interrupted,
    /// It was terminated: by us, by itself, by a person, or by a fault of its host.
    Ended,
}
