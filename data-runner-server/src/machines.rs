//! What starts workers: this machine, or a cloud.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use data_runner_core::port::BlobStore;
use data_runner_core::settings::{Ec2Settings, ProvisionerSettings};
use data_runner_core::workflow::Architecture;
use data_runner_local::FolderBlobs;
use data_runner_rest::AgentBinary;

use crate::cloud::{AgentDownload, Cloud, CloudPorts, CloudRequest};
use crate::installation::Installation;
use crate::local;
use crate::secured::Secured;
use crate::wiring::StartupError;

/// What is known when workers have to come from somewhere.
pub(crate) struct Machines<'a> {
    pub installation: &'a Installation,
    pub state: &'a Path,
    /// Where agents connect to.
    pub grpc: SocketAddr,
    pub secured: Option<&'a Secured>,
    pub agents: &'a BTreeMap<Architecture, AgentBinary>,
}

impl Machines<'_> {
    /// What starts workers, what keeps their code, and what bakes their images.
    pub async fn connect(&self, cloud: Option<&dyn Cloud>) -> Result<CloudPorts, StartupError> {
        let folder: Arc<dyn BlobStore> = Arc::new(FolderBlobs::new(self.state.join("blobs")));
        let artifacts = FolderBlobs::new(self.state.join("artifacts"));
        artifacts.tidy().map_err(|source| {
            StartupError::machine("what is left of files that were cut short cannot be removed", source)
        })?;
        let artifacts: Arc<dyn BlobStore> = Arc::new(artifacts);
        match &self.installation.settings.provisioner {
            ProvisionerSettings::Local(_) => {
                let provisioner = local::provisioner(self.installation, self.state, self.grpc, self.secured)?;
                Ok(CloudPorts { provisioner, blobs: folder, artifacts, links: None, images: None })
            }
            ProvisionerSettings::Ec2(ec2) => {
                let cloud = cloud.ok_or(StartupError::NoCloud)?;
                cloud
                    .connect(self.request(ec2, folder, artifacts)?)
                    .await
                    .map_err(|source| StartupError::Adapter { what: "EC2 cannot be used".to_owned(), source })
            }
        }
    }

    fn request(
        &self,
        ec2: &Ec2Settings,
        blobs: Arc<dyn BlobStore>,
        artifacts: Arc<dyn BlobStore>,
    ) -> Result<CloudRequest, StartupError> {
        let settings = &self.installation.settings;
        // The settings' parser refuses `ec2` without these; an embedder may have made them by hand.
        let (Some(secured), Some(public_url), Some(grpc_url)) =
            (self.secured, &settings.public_url, &settings.grpc_url)
        else {
            return Err(StartupError::NotReachable);
        };
        let agents = self.agents.iter().map(|(architecture, binary)| {
            let url = format!("{public_url}/agent/{architecture}");
            (*architecture, AgentDownload { sha256: binary.sha256().clone(), url })
        });
        Ok(CloudRequest {
            installation: settings.installation.clone(),
            ec2: ec2.clone(),
            grpc_url: grpc_url.clone(),
            ca: secured.ca.clone(),
            joining: secured.joining.clone(),
            agents: agents.collect(),
            python_index: settings.python.index.clone(),
            blobs,
            artifacts,
        })
    }
}
