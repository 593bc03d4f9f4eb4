//! Clouds: where the program that links this library can start machines of one, it brings the adapters along. The
//! library itself knows none, so that `data-runner dev` never compiles a cloud's SDK.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::id::Sha256;
use data_runner_core::port::{BlobLinks, BlobStore, Checkup, ImageBaker, JoinAuthority, Provisioner, Source};
use data_runner_core::settings::{Ec2Settings, PackageIndex, Settings};
use data_runner_core::workflow::Architecture;

/// A way to machines of a cloud.
#[async_trait]
pub trait Cloud: Send + Sync + 'static {
    /// Makes the adapters. Nothing is started, and nothing is asked of the cloud that could fail for a while.
    ///
    /// # Errors
    /// The settings cannot be used, such as when there are no credentials.
    async fn connect(&self, wanted: CloudRequest) -> Result<CloudPorts, Source>;

    /// What looks whether the cloud is as these settings need it, also while no supervisor runs; `None` where they need
    /// no cloud.
    async fn checkup(&self, settings: &Settings) -> Option<Arc<dyn Checkup>>;
}

/// What machines have to know of this supervisor, and how they are wanted.
pub struct CloudRequest {
    /// The name of the installation: the mark on everything that is started.
    pub installation: String,
    /// The `ec2` block of `supervisor.yaml`.
    pub ec2: Ec2Settings,
    /// Where agents connect to.
    pub grpc_url: String,
    /// Who vouches for the server's certificate, PEM.
    pub ca: String,
    /// Makes the tokens by which agents join.
    pub joining: Arc<dyn JoinAuthority>,
    /// The agent's program by architecture: where it is fetched from, and its hash.
    pub agents: BTreeMap<Architecture, AgentDownload>,
    /// Where Python packages come from; `None`: what the image is configured for.
    pub python_index: Option<PackageIndex>,
    /// The supervisor's own store of code.
    pub blobs: Arc<dyn BlobStore>,
    /// Its own store of files that jobs leave.
    pub artifacts: Arc<dyn BlobStore>,
}

/// The agent's program, as machines fetch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentDownload {
    /// The hash of its bytes.
    pub sha256: Sha256,
    /// Where this supervisor serves it.
    pub url: String,
}

/// What stands behind the ports.
pub struct CloudPorts {
    /// Starts and ends machines.
    pub provisioner: Arc<dyn Provisioner>,
    /// Where code is kept.
    pub blobs: Arc<dyn BlobStore>,
    /// Where files that jobs leave are kept: another place than the code's, for what is over is removed there.
    pub artifacts: Arc<dyn BlobStore>,
    /// Where agents fetch code from by themselves; `None`: the supervisor sends it to them.
    pub links: Option<Arc<dyn BlobLinks>>,
    /// Bakes images; `None` where there are none.
    pub images: Option<Arc<dyn ImageBaker>>,
}
