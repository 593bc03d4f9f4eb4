//! What machines are made of, and told.

use std::collections::BTreeMap;

use data_runner_core::settings::{Ec2Settings, PackageIndex};
use data_runner_core::workflow::Architecture;
use serde::{Deserialize, Serialize};

use data_runner_core::id::Sha256;

/// What an [`Ec2Provisioner`](crate::Ec2Provisioner) is made of.
#[derive(Debug, Clone)]
pub struct Ec2Options {
    /// The name of the installation: the mark on every machine. Machines of another name are never touched.
    pub installation: String,
    /// The `ec2` block of `supervisor.yaml`.
    pub settings: Ec2Settings,
    /// Where agents connect to.
    pub grpc_url: String,
    /// The certificate authority of the supervisor, PEM.
    pub ca: String,
    /// The agent's program for each architecture. There are no machines of an architecture that is left out.
    pub agents: BTreeMap<Architecture, AgentBinary>,
    /// The package index; `None`: the one that the image is configured for.
    pub python_index: Option<PackageIndex>,
    /// More variables for agents.
    pub environment: BTreeMap<String, String>,
    /// The shell command that switches a machine off; usually [`POWER_OFF`](crate::POWER_OFF).
    pub power_off: String,
}

/// The agent's program and where machines fetch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentBinary {
    /// The hash of its bytes; nothing else is run.
    pub sha256: Sha256,
    /// At the supervisor's own address, which its certificate authority vouches for.
    pub from_supervisor: Option<String>,
    /// At a store that the machine's image trusts, such as S3.
    pub from_store: Option<String>,
}
