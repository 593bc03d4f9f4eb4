//! EC2 behind the ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use data_runner_aws::{AgentBinary, AwsAccount, Ec2Options, Ec2Provisioner, POWER_OFF};
use data_runner_core::port::{Checkup, Source};
use data_runner_core::settings::Settings;
use data_runner_server::{Cloud, CloudPorts, CloudRequest};

/// Where AWS is, if it is not where it always is. Machines of an endpoint look for the rest of AWS there too.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// Machines of EC2, with the credentials that this process finds.
pub struct Ec2;

#[async_trait]
impl Cloud for Ec2 {
    async fn connect(&self, wanted: CloudRequest) -> Result<CloudPorts, Source> {
        let account = AwsAccount::from_env(&wanted.ec2.region).await;
        let binary = |url, sha256| AgentBinary { sha256, from_supervisor: Some(url), from_store: None };
        let agents = wanted.agents.into_iter().map(|(of, it)| (of, binary(it.url, it.sha256)));
        let endpoint = std::env::var(ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty());
        let options = Ec2Options {
            installation: wanted.installation,
            settings: wanted.ec2,
            grpc_url: wanted.grpc_url,
            ca: wanted.ca,
            agents: agents.collect(),
            python_index_url: wanted.python_index_url,
            environment: endpoint
                .map_or_else(BTreeMap::new, |endpoint| BTreeMap::from([(ENDPOINT.to_owned(), endpoint)])),
            power_off: POWER_OFF.to_owned(),
        };
        let provisioner = Ec2Provisioner::new(account, options, wanted.joining, Arc::clone(&wanted.blobs));
        Ok(CloudPorts { provisioner: Arc::new(provisioner), blobs: wanted.blobs, images: None })
    }

    async fn checkup(&self, _settings: &Settings) -> Option<Arc<dyn Checkup>> {
        None
    }
}
