//! What is kept of a launch, so that it can be repeated to the byte.

use std::collections::BTreeMap;

use data_runner_core::cost::Market;
use data_runner_core::id::WorkerId;
use data_runner_core::settings::PackageIndex;
use data_runner_core::time::Timestamp;
use data_runner_core::worker::Candidate;
use data_runner_core::workflow::{Architecture, BundleRef, SecretRef};
use serde::{Deserialize, Serialize};

use crate::options::AgentBinary;

/// [`Candidate::request`] of this provisioner. It is stored: a field is only ever added with a default.
///
/// Everything in it is resolved: an image's id and never a parameter that moves, the agent's hash and never "the newest".
/// What is left out is what a supervisor of the same installation knows again: its certificate authority, and the key from
/// which the join token follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinnedRequest {
    pub image: String,
    /// The name of the image's root device.
    pub root_device: String,
    /// Whether the image holds all that a job needs.
    pub baked: bool,
    pub architecture: Architecture,
    pub subnet: String,
    pub security_groups: Vec<String>,
    pub instance_profile: Option<String>,
    pub public_ip: bool,
    /// The root volume; `None`: as large as the image's, which does not say how large that is.
    pub disk_gib: Option<u32>,
    /// All but those that name the worker.
    pub tags: BTreeMap<String, String>,
    pub deadline: Timestamp,
    pub slots: u32,
    pub agent: AgentBinary,
    pub grpc_url: String,
    pub python_index_url: Option<String>,
    #[serde(default)]
    pub python_index_auth: Option<SecretRef>,
    pub environment: BTreeMap<String, String>,
    pub power_off: String,
    /// The code that comes along, if it fits.
    pub bundle: Option<BundleRef>,
}

impl PinnedRequest {
    pub fn of(candidate: &Candidate) -> Result<Self, serde_json::Error> {
        Self::deserialize(&candidate.request)
    }

    /// Where Python packages come from.
    pub fn python_index(&self) -> Option<PackageIndex> {
        let url = self.python_index_url.clone()?;
        Some(PackageIndex { url, auth: self.python_index_auth.clone() })
    }
}

/// The client token of a launch: 64 ASCII characters, the most that EC2 takes.
///
/// It is made of what tells candidates of one worker apart and of nothing that a later version might write otherwise.
/// EC2 keeps tokens by zone; the subnet is part of it, so that the same token is never asked for elsewhere.
pub(crate) fn client_token(
    installation: &str,
    worker: WorkerId,
    candidate: &Candidate,
    subnet: &str,
) -> String {
    let market = match candidate.market {
        Market::OnDemand => "on-demand",
        Market::Spot => "spot",
    };
    let parts = [installation, &worker.to_string(), &candidate.instance_type, market, subnet];
    data_runner_core::id::Sha256::of(parts.join("\n").as_bytes()).as_str().to_owned()
}
