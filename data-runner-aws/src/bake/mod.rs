//! Images that are made of a machine: launched from the stock image, made ready, powered off, and kept.
//!
//! All that there is to know of a bake stands in the tags of its machine, so that a process that was started again goes
//! on where the last one was. The machine bears the installation's tag too, so that the reaper ends it when nobody can:
//! listings leave it out only while this process is baking on it. It has a deadline like every other machine.

mod kitchen;
mod oven;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use data_runner_core::cost::Market;
use data_runner_core::id::Sha256;
use data_runner_core::port::{BakeError, BakeStage, Image, ImageBaker, ProvisionError, WantedImage};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::{Candidate, MachineRequest};
use data_runner_core::workflow::Architecture;
use tokio::sync::OnceCell;

use crate::call::{AwsAccount, CallError, in_words};
use crate::list::Fleet;
use crate::options::Ec2Options;
use crate::pinned::PinnedRequest;
use crate::plan::Planner;

use kitchen::Kitchen;
use oven::{Oven, TO_INSTALL};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A size of each architecture with room enough to install.
const SIZES: [(Architecture, &str); 2] =
    [(Architecture::X86_64, "t3.medium"), (Architecture::Arm64, "t4g.medium")];

/// An [`ImageBaker`] on EC2. Made by [`Ec2Provisioner::baker`](crate::Ec2Provisioner::baker), since machines that are
/// planned then use what it baked.
pub struct Ec2Baker {
    kitchen: Kitchen,
    planner: Arc<Planner>,
    /// Set once it was looked for what an earlier process began.
    gone_on: OnceCell<()>,
}

impl Ec2Baker {
    pub(crate) fn new(
        account: AwsAccount,
        options: Arc<Ec2Options>,
        planner: Arc<Planner>,
        fleet: Arc<Fleet>,
    ) -> Self {
        let kitchen = Kitchen { account, options, fleet, look_every: LOOK_EVERY, begun: Arc::default() };
        Self { kitchen, planner, gone_on: OnceCell::new() }
    }

    #[cfg(test)]
    pub(crate) fn looking_every(self, look_every: Duration) -> Self {
        Self { kitchen: Kitchen { look_every, ..self.kitchen }, ..self }
    }

    /// Goes on with what an earlier process of this installation began, in a task of its own, as soon as EC2 can be
    /// asked. It must be called before the reaper has looked twice: what nobody goes on with is ended.
    pub fn go_on(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            while let Err(error) = this.gone_on().await {
                tracing::info!(error = in_words(&error), "images that were begun earlier are not seen yet");
                tokio::time::sleep(this.kitchen.look_every).await;
            }
        });
    }

    async fn gone_on(&self) -> Result<(), CallError> {
        let adopt = || async {
            self.kitchen.clear_spoilt().await?;
            for (machine, image) in self.kitchen.machines().await? {
                if self.kitchen.begin(&image).is_some() {
                    continue;
                }
                tracing::info!(%machine, content = %image.content, "goes on with an image that was begun earlier");
                self.kitchen.fleet.set_aside(machine.clone());
                let oven = Oven { kitchen: self.kitchen.clone(), image };
                tokio::spawn(async move { oven.go_on(machine).await });
            }
            Ok::<(), CallError>(())
        };
        self.gone_on.get_or_try_init(adopt).await.copied()
    }

    async fn plan(&self, wanted: &WantedImage) -> Result<(Candidate, PinnedRequest), BakeError> {
        let size = SIZES.iter().find(|(of, _)| *of == wanted.architecture).map_or("", |(_, size)| size);
        let mut request = MachineRequest::plain(size, None, 1);
        request.deadline = Some(after(TO_INSTALL));
        let planned = self.planner.stock_plan(request).await.map_err(|error| match error {
            ProvisionError::Rejected { message, hint } => BakeError::Rejected { message, hint },
            ProvisionError::Unavailable(source) => BakeError::Unavailable(source),
        })?;
        let candidate = planned.into_iter().find(|candidate| candidate.market == Market::OnDemand);
        let candidate =
            candidate.ok_or_else(|| BakeError::Unavailable("there is nothing to launch".into()))?;
        let pinned = PinnedRequest::of(&candidate).map_err(|error| BakeError::Unavailable(error.into()))?;
        Ok((candidate, pinned))
    }
}

#[async_trait]
impl ImageBaker for Ec2Baker {
    async fn begin(&self, wanted: WantedImage) -> Result<Image, BakeError> {
        let (candidate, pinned) = self.plan(&wanted).await?;
        let content = content(&pinned, &wanted);
        let known = self.images().await?.into_iter().find(|image| image.content == content);
        if let Some(known) = known.filter(|image| !has_failed(image)) {
            return Ok(known);
        }
        let image = Image {
            content,
            worker_type: wanted.worker_type,
            architecture: wanted.architecture,
            begun_at: after(Duration::ZERO),
            stage: BakeStage::Launching,
        };
        if let Some(under_way) = self.kitchen.begin(&image) {
            return Ok(under_way);
        }
        let oven = Oven { kitchen: self.kitchen.clone(), image: image.clone() };
        tokio::spawn(async move { oven.bake(candidate, pinned).await });
        Ok(image)
    }

    async fn images(&self) -> Result<Vec<Image>, BakeError> {
        let unavailable = |error: CallError| BakeError::Unavailable(error.into());
        self.gone_on().await.map_err(unavailable)?;
        self.kitchen.images().await.map_err(unavailable)
    }
}

const fn has_failed(image: &Image) -> bool {
    matches!(image.stage, BakeStage::Failed { .. })
}

/// What goes into an image. The agent's hash stands for the versions that it pins.
pub(crate) fn content(pinned: &PinnedRequest, wanted: &WantedImage) -> Sha256 {
    content_of(&pinned.image, &pinned.agent.sha256, wanted)
}

pub(crate) fn content_of(stock: &str, agent: &Sha256, wanted: &WantedImage) -> Sha256 {
    let parts = ["1", stock, agent.as_str(), wanted.worker_type.as_str(), wanted.architecture.as_str()];
    Sha256::of(parts.join("\n").as_bytes())
}

fn after(wait: Duration) -> Timestamp {
    let since = (SystemTime::now() + wait).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
