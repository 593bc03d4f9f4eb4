//! Images that are made of a machine: launched from the stock image, made ready, powered off, and kept.
//!
//! The machine bears the installation's tag, so that the reaper ends it when this process cannot: listings leave it out
//! only while this process is baking on it. It has a deadline like every other machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_ec2::types::{Filter, Image as Ec2Image, ResourceType, ShutdownBehavior, Tag, TagSpecification};
use data_runner_core::cost::Market;
use data_runner_core::id::{MachineId, Sha256};
use data_runner_core::port::{BakeError, BakeStage, Image, ImageBaker, ProvisionError, WantedImage};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::{Candidate, MachineRequest};
use data_runner_core::workflow::Architecture;
use tokio::time::Instant;

use crate::call::{AwsAccount, CallError, in_words};
use crate::list::Fleet;
use crate::options::Ec2Options;
use crate::pinned::PinnedRequest;
use crate::plan::Planner;
use crate::user_data::{Bake, UserData};
use crate::{launch, request, tags};

/// How long a machine may take until it is ready, and powers itself off at the latest.
const TO_INSTALL: Duration = Duration::from_secs(40 * 60);
/// How long EC2 may take to make the image.
const TO_SNAPSHOT: Duration = Duration::from_secs(60 * 60);
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often a console that does not say it yet is read, after the machine is off: EC2 shows it with some delay.
const LOOKS_AT_CONSOLE: u32 = 30;
/// A size of each architecture with room enough to install.
const SIZES: [(Architecture, &str); 2] =
    [(Architecture::X86_64, "t3.medium"), (Architecture::Arm64, "t4g.medium")];

/// An [`ImageBaker`] on EC2. Made by [`Ec2Provisioner::baker`](crate::Ec2Provisioner::baker), since machines that are
/// planned then use what it baked.
pub struct Ec2Baker {
    account: AwsAccount,
    options: Arc<Ec2Options>,
    planner: Arc<Planner>,
    fleet: Arc<Fleet>,
    look_every: Duration,
    /// What this process bakes, or could not.
    begun: Arc<Mutex<BTreeMap<Sha256, Image>>>,
}

impl Ec2Baker {
    pub(crate) fn new(
        account: AwsAccount,
        options: Arc<Ec2Options>,
        planner: Arc<Planner>,
        fleet: Arc<Fleet>,
    ) -> Self {
        Self { account, options, planner, fleet, look_every: LOOK_EVERY, begun: Arc::default() }
    }

    #[cfg(test)]
    pub(crate) fn looking_every(self, look_every: Duration) -> Self {
        Self { look_every, ..self }
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

    /// What was baked and is there.
    async fn done(&self) -> Result<Vec<Image>, CallError> {
        let ours = format!("tag:{}", tags::INSTALLATION);
        let ours = Filter::builder().name(ours).values(&self.options.installation).build();
        let baked = Filter::builder().name("tag-key").values(tags::BAKED).build();
        self.account.throttle.describe.take().await;
        let asked =
            self.account.ec2.describe_images().owners("self").filters(ours).filters(baked).send().await;
        let shown = asked.map_err(|error| CallError::of("DescribeImages", error))?;
        Ok(shown.images().iter().filter_map(baked_image).collect())
    }
}

#[async_trait]
impl ImageBaker for Ec2Baker {
    async fn begin(&self, wanted: WantedImage) -> Result<Image, BakeError> {
        let (candidate, pinned) = self.plan(&wanted).await?;
        let content = content(&pinned, &wanted);
        let known = self.images().await?.into_iter().find(|image| image.content == content);
        if let Some(known) = known.filter(|image| !matches!(image.stage, BakeStage::Failed { .. })) {
            return Ok(known);
        }
        let image = Image {
            content: content.clone(),
            worker_type: wanted.worker_type.clone(),
            architecture: wanted.architecture,
            begun_at: after(Duration::ZERO),
            stage: BakeStage::Launching,
        };
        {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            let under_way =
                begun.get(&content).filter(|known| !matches!(known.stage, BakeStage::Failed { .. }));
            if let Some(under_way) = under_way {
                return Ok(under_way.clone());
            }
            begun.insert(content.clone(), image.clone());
        }
        let oven = Oven {
            account: self.account.clone(),
            options: Arc::clone(&self.options),
            fleet: Arc::clone(&self.fleet),
            look_every: self.look_every,
            begun: Arc::clone(&self.begun),
            bake: Bake { worker_type: wanted.worker_type, content },
        };
        tokio::spawn(async move { oven.bake(candidate, pinned).await });
        Ok(image)
    }

    async fn images(&self) -> Result<Vec<Image>, BakeError> {
        let done = self.done().await.map_err(|error| BakeError::Unavailable(error.into()))?;
        let mut all: BTreeMap<Sha256, Image> =
            self.begun.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for image in done {
            all.insert(image.content.clone(), image);
        }
        let mut all: Vec<Image> = all.into_values().collect();
        all.sort_by_key(|image| std::cmp::Reverse(image.begun_at));
        Ok(all)
    }
}

/// What goes into an image. The agent's hash stands for the versions that it pins.
pub(crate) fn content(pinned: &PinnedRequest, wanted: &WantedImage) -> Sha256 {
    content_of(&pinned.image, &pinned.agent.sha256, wanted)
}

pub(crate) fn content_of(stock: &str, agent: &Sha256, wanted: &WantedImage) -> Sha256 {
    let parts = ["1", stock, agent.as_str(), wanted.worker_type.as_str(), wanted.architecture.as_str()];
    Sha256::of(parts.join("\n").as_bytes())
}

/// One image in the making.
struct Oven {
    account: AwsAccount,
    options: Arc<Ec2Options>,
    fleet: Arc<Fleet>,
    look_every: Duration,
    begun: Arc<Mutex<BTreeMap<Sha256, Image>>>,
    bake: Bake,
}

/// Why it came to nothing, and what to do.
struct Burnt {
    message: String,
    hint: Option<String>,
}

impl From<CallError> for Burnt {
    fn from(error: CallError) -> Self {
        let hint = "run `data-runner-supervisor doctor`, and allow ec2:CreateImage".to_owned();
        Self { message: in_words(&error), hint: Some(hint) }
    }
}

impl Oven {
    async fn bake(self, candidate: Candidate, pinned: PinnedRequest) {
        let stage = match self.on_a_machine(&candidate, &pinned).await {
            Ok(image) => BakeStage::Done { image, at: after(Duration::ZERO) },
            Err(Burnt { message, hint }) => {
                tracing::warn!(content = %self.bake.content, message, "no image was baked");
                BakeStage::Failed { at: after(Duration::ZERO), message, hint }
            }
        };
        self.reached(stage);
    }

    fn reached(&self, stage: BakeStage) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = begun.get_mut(&self.bake.content) {
            image.stage = stage;
        }
    }

    async fn on_a_machine(&self, candidate: &Candidate, pinned: &PinnedRequest) -> Result<String, Burnt> {
        let machine = self.launch(candidate, pinned).await?;
        self.fleet.set_aside(machine.clone());
        self.reached(BakeStage::Installing);
        let image = self.of_machine(&machine, pinned).await;
        // Whatever became of it. If this fails the reaper does it: the machine is no longer left out of listings.
        let ended = crate::terminate::terminate(&self.account, vec![machine.clone()]).await;
        self.fleet.give_back(&machine);
        for error in ended.into_iter().filter_map(Result::err) {
            tracing::warn!(%machine, error = in_words(&*error), "the machine of an image is left to the reaper");
        }
        image
    }

    async fn launch(&self, candidate: &Candidate, pinned: &PinnedRequest) -> Result<MachineId, Burnt> {
        let user_data = self.user_data(pinned);
        let user_data =
            user_data.render().map_err(|error| Burnt { message: in_words(&error), hint: None })?;
        let deadline = pinned.deadline.to_string();
        let tags = self.tags([(tags::DEADLINE, deadline.as_str())]);
        let begun_at = Sha256::of(format!("{deadline} {}", self.bake.content).as_bytes());
        let request = request::run_instances(pinned, candidate, &tags, &user_data)
            // What is to be kept must not go when it powers off.
            .instance_initiated_shutdown_behavior(ShutdownBehavior::Stop)
            .client_token(begun_at.as_str());
        self.account.throttle.run_instances.take().await;
        // A lost answer may be asked again: the token makes it the same machine.
        let made = request.send_with(&self.account.ec2).await;
        let made = made.map_err(|error| CallError::of("RunInstances", error))?;
        let id = made.instances().first().and_then(|instance| instance.instance_id());
        let id = id.and_then(|id| id.parse().ok());
        id.ok_or_else(|| Burnt { message: "EC2 names no machine".to_owned(), hint: None })
    }

    fn user_data(&self, pinned: &PinnedRequest) -> UserData {
        UserData {
            worker: data_runner_core::id::WorkerId::from_uuid(uuid::Uuid::nil()),
            grpc_url: pinned.grpc_url.clone(),
            ca: self.options.ca.clone(),
            token: String::new(),
            agent: launch::program(pinned),
            deadline: pinned.deadline,
            region: self.account.region.clone(),
            slots: 1,
            python_index_url: pinned.python_index_url.clone(),
            baked: false,
            bake: Some(self.bake.clone()),
            bundle: None,
            environment: pinned.environment.clone(),
            power_off: pinned.power_off.clone(),
        }
    }

    fn tags<const N: usize>(&self, more: [(&str, &str); N]) -> Vec<Tag> {
        let content = self.bake.content.as_str();
        let of_all = [
            (tags::INSTALLATION, self.options.installation.as_str()),
            (tags::BAKED_FOR, self.bake.worker_type.as_str()),
            ("Name", "data-runner image"),
        ];
        let mut tags: Vec<_> =
            of_all.into_iter().chain(more).map(|(key, value)| tags::tag(key, value)).collect();
        tags.push(tags::tag(tags::BAKED, content));
        tags
    }

    async fn of_machine(&self, machine: &MachineId, pinned: &PinnedRequest) -> Result<String, Burnt> {
        self.until_off(machine).await?;
        self.until_said(machine).await?;
        let name = format!("data-runner {} {}", self.bake.worker_type, &self.bake.content.as_str()[..16]);
        let begun_at = after(Duration::ZERO).to_string();
        let more = [(tags::ARCHITECTURE, pinned.architecture.as_str()), (tags::BEGUN_AT, begun_at.as_str())];
        let of =
            |kind| TagSpecification::builder().resource_type(kind).set_tags(Some(self.tags(more))).build();
        self.account.throttle.describe.take().await;
        let made = self
            .account
            .ec2_once
            .create_image()
            .instance_id(machine.as_str())
            .name(name)
            .tag_specifications(of(ResourceType::Image))
            .tag_specifications(of(ResourceType::Snapshot))
            .send()
            .await
            .map_err(|error| CallError::of("CreateImage", error))?;
        let image = made.image_id().unwrap_or_default().to_owned();
        self.reached(BakeStage::Snapshotting { image: image.clone() });
        self.until_available(&image).await?;
        Ok(image)
    }

    async fn until_off(&self, machine: &MachineId) -> Result<(), Burnt> {
        let give_up = Instant::now() + TO_INSTALL;
        while Instant::now() < give_up {
            self.account.throttle.describe.take().await;
            let asked = self.account.ec2.describe_instances().instance_ids(machine.as_str()).send().await;
            match asked.map_err(|error| CallError::of("DescribeInstances", error)) {
                Ok(shown) => {
                    let shown =
                        shown.reservations().iter().flat_map(|reservation| reservation.instances()).next();
                    let state = shown.and_then(|shown| shown.state()?.name());
                    match state.map_or("", |state| state.as_str()) {
                        "stopped" => return Ok(()),
                        "terminated" | "shutting-down" => {
                            return Err(self.burnt(machine, "its machine was terminated").await);
                        }
                        _ => {}
                    }
                }
                // Too young to be known everywhere.
                Err(error) if error.is("InvalidInstanceID") => {}
                Err(error) => tracing::info!(error = in_words(&error), "the machine of an image is not seen"),
            }
            tokio::time::sleep(self.look_every).await;
        }
        Err(self.burnt(machine, "its machine was not ready in time").await)
    }

    /// It powers off in every case; only what its console says tells which it was.
    async fn until_said(&self, machine: &MachineId) -> Result<(), Burnt> {
        let word = format!("baked {}", self.bake.content);
        for _ in 0..LOOKS_AT_CONSOLE {
            let console = self.fleet.console(machine).await?;
            if console.contains(&word) {
                return Ok(());
            }
            if console.contains("cannot be made ready") {
                break;
            }
            tokio::time::sleep(self.look_every).await;
        }
        Err(self.burnt(machine, "its machine could not be made ready").await)
    }

    async fn burnt(&self, machine: &MachineId, what: &str) -> Burnt {
        let console = self.fleet.console(machine).await.unwrap_or_default();
        let hint =
            "look at the end of its console, and whether the package index can be reached from the subnet";
        Burnt { message: format!("{what}; its console ends:\n{console}"), hint: Some(hint.to_owned()) }
    }

    async fn until_available(&self, image: &str) -> Result<(), Burnt> {
        let give_up = Instant::now() + TO_SNAPSHOT;
        while Instant::now() < give_up {
            self.account.throttle.describe.take().await;
            let asked = self.account.ec2.describe_images().image_ids(image).send().await;
            let state = match asked.map_err(|error| CallError::of("DescribeImages", error)) {
                Ok(shown) => {
                    let state = shown.images().first().and_then(Ec2Image::state);
                    state.map_or_else(String::new, |state| state.as_str().to_owned())
                }
                Err(error) => {
                    tracing::info!(error = in_words(&error), "an image is not seen");
                    String::new()
                }
            };
            match state.as_str() {
                "available" => return Ok(()),
                "failed" | "error" | "invalid" => break,
                _ => tokio::time::sleep(self.look_every).await,
            }
        }
        Err(Burnt { message: format!("EC2 does not finish the image {image}"), hint: None })
    }
}

/// An image that is there, as its tags tell of it.
fn baked_image(shown: &Ec2Image) -> Option<Image> {
    let value = |key: &str| shown.tags().iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value);
    let begun_at: jiff::Timestamp = value(tags::BEGUN_AT)?.parse().ok()?;
    let begun_at = Timestamp::from_micros(begun_at.as_microsecond());
    let image = shown.image_id()?.to_owned();
    let available = shown.state().is_some_and(|state| state.as_str() == "available");
    Some(Image {
        content: value(tags::BAKED)?.parse().ok()?,
        worker_type: value(tags::BAKED_FOR)?.parse().ok()?,
        architecture: match value(tags::ARCHITECTURE)? {
            "x86_64" => Architecture::X86_64,
            "arm64" => Architecture::Arm64,
            _ => return None,
        },
        begun_at,
        stage: if available {
            BakeStage::Done { image, at: begun_at }
        } else {
            BakeStage::Snapshotting { image }
        },
    })
}

fn after(wait: Duration) -> Timestamp {
    let since = (SystemTime::now() + wait).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
