//! EC2 behind the ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use data_runner_aws::{
    AgentBinary, AwsAccount, Ec2Doctor, Ec2Options, Ec2Provisioner, POWER_OFF, S3Blobs, S3Place,
};
use data_runner_core::port::{BlobLinks, BlobStore, Checkup, ImageBaker, Source};
use data_runner_core::settings::{CodeDelivery, Ec2Settings, ProvisionerSettings, Settings};
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
            python_index: wanted.python_index,
            environment: endpoint
                .map_or_else(BTreeMap::new, |endpoint| BTreeMap::from([(ENDPOINT.to_owned(), endpoint)])),
            power_off: POWER_OFF.to_owned(),
        };
        let Stores { blobs, artifacts, links } =
            stores(&account, &options.settings, (wanted.blobs, wanted.artifacts))?;
        let provisioner = Ec2Provisioner::new(account, options, wanted.joining, Arc::clone(&blobs));
        let baker = Arc::new(provisioner.baker());
        baker.go_on();
        let images = Some(baker as Arc<dyn ImageBaker>);
        Ok(CloudPorts { provisioner: Arc::new(provisioner), blobs, artifacts, links, images })
    }

    async fn checkup(&self, settings: &Settings) -> Option<Arc<dyn Checkup>> {
        let ProvisionerSettings::Ec2(ec2) = &settings.provisioner else {
            return None;
        };
        let account = AwsAccount::from_env(&ec2.region).await;
        let public_url = settings.public_url.clone().unwrap_or_default();
        Some(Arc::new(Ec2Doctor::new(account, settings.installation.clone(), (**ec2).clone(), public_url)))
    }
}

/// Where code and files that jobs leave are kept, and the links by which agents fetch code there.
struct Stores {
    blobs: Arc<dyn BlobStore>,
    artifacts: Arc<dyn BlobStore>,
    links: Option<Arc<dyn BlobLinks>>,
}

/// What the settings want: the bucket, or the supervisor's `own` folders.
fn stores(
    account: &AwsAccount,
    settings: &Ec2Settings,
    own: (Arc<dyn BlobStore>, Arc<dyn BlobStore>),
) -> Result<Stores, Source> {
    match (settings.code_delivery, &settings.bucket) {
        (CodeDelivery::S3, Some(bucket)) => {
            let place: S3Place = bucket.parse()?;
            let artifacts = Arc::new(S3Blobs::new(account, place.within("artifacts")));
            let blobs = Arc::new(S3Blobs::new(account, place));
            Ok(Stores { blobs: Arc::clone(&blobs) as Arc<dyn BlobStore>, artifacts, links: Some(blobs) })
        }
        (CodeDelivery::S3, None) => Err("`code_delivery: s3` needs `ec2.bucket`".into()),
        (CodeDelivery::Grpc | CodeDelivery::UserData, _) => {
            Ok(Stores { blobs: own.0, artifacts: own.1, links: None })
        }
    }
}
