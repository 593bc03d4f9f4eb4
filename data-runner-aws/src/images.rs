//! Which image a machine starts from, and what has to be known of it.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_ec2::types::{Filter, Image};
use data_runner_core::workflow::Architecture;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::call::{AwsAccount, CallError};
use crate::tags;

/// For how long the newest Amazon Linux counts as the newest. What was planned with an older one keeps it.
const NEWEST_FOR: Duration = Duration::from_secs(24 * 3600);

/// An image, as far as a launch has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MachineImage {
    pub id: String,
    pub architecture: Architecture,
    /// The name of its root device.
    pub root_device: String,
    /// How large its root volume is at least.
    pub root_gib: u32,
    /// Whether it was baked: it holds all that a job needs.
    pub baked: bool,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error("there is no image {0} in this region")]
    Missing(String),
    #[error("the image {id} is for another architecture than {wanted}")]
    OtherArchitecture { id: String, wanted: Architecture },
    #[error("the newest Amazon Linux cannot be asked for")]
    Newest(#[source] data_runner_aws_light::CallError),
    #[error(transparent)]
    Call(#[from] CallError),
}

/// What is known of images, asked once.
pub(crate) struct Images {
    account: AwsAccount,
    described: Mutex<BTreeMap<String, MachineImage>>,
    newest: Mutex<BTreeMap<Architecture, (String, Instant)>>,
}

impl Images {
    pub fn new(account: AwsAccount) -> Self {
        Self { account, described: Mutex::default(), newest: Mutex::default() }
    }

    /// The image of that id, if it fits the architecture.
    pub async fn named(&self, id: &str, wanted: Architecture) -> Result<MachineImage, ImageError> {
        let image = self.describe(id).await?;
        if image.architecture == wanted {
            Ok(image)
        } else {
            Err(ImageError::OtherArchitecture { id: id.to_owned(), wanted })
        }
    }

    /// The newest Amazon Linux 2023.
    pub async fn stock(&self, wanted: Architecture) -> Result<MachineImage, ImageError> {
        let id = self.newest(wanted).await?;
        self.named(&id, wanted).await
    }

    /// Resolved once, so that what is planned together is the same.
    async fn newest(&self, architecture: Architecture) -> Result<String, ImageError> {
        let mut newest = self.newest.lock().await;
        if let Some((id, since)) = newest.get(&architecture)
            && since.elapsed() < NEWEST_FOR
        {
            return Ok(id.clone());
        }
        let name = format!("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{architecture}");
        let id = self.account.parameters.parameter(&name).await.map_err(ImageError::Newest)?;
        newest.insert(architecture, (id.clone(), Instant::now()));
        Ok(id)
    }

    async fn describe(&self, id: &str) -> Result<MachineImage, ImageError> {
        let mut described = self.described.lock().await;
        if let Some(image) = described.get(id) {
            return Ok(image.clone());
        }
        self.account.throttle.describe.take().await;
        let asked = self.account.ec2.describe_images().image_ids(id).send().await;
        let shown = match asked.map_err(|error| CallError::of("DescribeImages", error)) {
            Ok(shown) => shown.images.unwrap_or_default(),
            Err(error) if error.is("InvalidAMIID") => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let image = shown.first().and_then(image).ok_or_else(|| ImageError::Missing(id.to_owned()))?;
        described.insert(id.to_owned(), image.clone());
        Ok(image)
    }

    /// The newest image that was baked with this content by this installation.
    pub async fn baked(&self, installation: &str, key: &str) -> Result<Option<MachineImage>, ImageError> {
        let tag =
            |name: &str, value: &str| Filter::builder().name(format!("tag:{name}")).values(value).build();
        self.account.throttle.describe.take().await;
        let asked = self
            .account
            .ec2
            .describe_images()
            .owners("self")
            .filters(tag(tags::INSTALLATION, installation))
            .filters(tag(tags::BAKED, key))
            .filters(Filter::builder().name("state").values("available").build())
            .send()
            .await;
        let shown = asked.map_err(|error| CallError::of("DescribeImages", error))?;
        let newest = shown.images().iter().max_by_key(|image| image.creation_date().map(ToOwned::to_owned));
        Ok(newest.and_then(image))
    }
}

fn image(shown: &Image) -> Option<MachineImage> {
    let root_device = shown.root_device_name()?.to_owned();
    let of_root = shown
        .block_device_mappings()
        .iter()
        .find(|mapping| mapping.device_name() == Some(&root_device))
        .and_then(|mapping| mapping.ebs()?.volume_size());
    Some(MachineImage {
        id: shown.image_id()?.to_owned(),
        architecture: match shown.architecture()?.as_str() {
            "x86_64" => Architecture::X86_64,
            "arm64" => Architecture::Arm64,
            _ => return None,
        },
        root_gib: of_root.and_then(|gib| u32::try_from(gib).ok()).unwrap_or(0),
        baked: shown.tags().iter().any(|tag| tag.key() == Some(tags::BAKED)),
        root_device,
    })
}
