//! One image in the making.

use std::time::Duration;

use aws_sdk_ec2::types::{Image as Ec2Image, ResourceType, ShutdownBehavior, Tag, TagSpecification};
use data_runner_core::id::{MachineId, Sha256, WorkerId};
use data_runner_core::port::{BakeStage, Image};
use data_runner_core::worker::Candidate;
use tokio::time::Instant;

use super::after;
use super::kitchen::{Kitchen, is_spoilt};
use crate::call::{CallError, in_words};
use crate::pinned::PinnedRequest;
use crate::user_data::{Bake, UserData};
use crate::{launch, request, tags};

/// How long a machine may take until it is ready, and powers itself off at the latest.
pub(super) const TO_INSTALL: Duration = Duration::from_secs(40 * 60);
/// How long EC2 may take to make the image.
const TO_SNAPSHOT: Duration = Duration::from_secs(60 * 60);
/// How often a console that does not say it yet is read, after the machine is off: EC2 shows it with some delay.
const LOOKS_AT_CONSOLE: u32 = 30;
/// How often is looked for an image whose making was asked for and not answered.
const LOOKS_FOR_IMAGE: u32 = 12;

/// One image in the making.
pub(super) struct Oven {
    pub kitchen: Kitchen,
    /// As it was begun.
    pub image: Image,
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
    /// From the launch to the end.
    pub async fn bake(self, candidate: Candidate, pinned: PinnedRequest) {
        let made = match self.launch(&candidate, &pinned).await {
            Ok(machine) => {
                self.kitchen.fleet.set_aside(machine.clone());
                self.on_machine(&machine).await
            }
            Err(burnt) => Err(burnt),
        };
        self.ended(made);
    }

    /// From a machine, which is set aside, to the end.
    pub async fn go_on(self, machine: MachineId) {
        let made = self.on_machine(&machine).await;
        self.ended(made);
    }

    fn ended(&self, made: Result<String, Burnt>) {
        self.reached(match made {
            Ok(image) => BakeStage::Done { image, at: after(Duration::ZERO) },
            Err(Burnt { message, hint }) => {
                tracing::warn!(content = %self.image.content, message, "no image was baked");
                BakeStage::Failed { at: after(Duration::ZERO), message, hint }
            }
        });
    }

    fn reached(&self, stage: BakeStage) {
        self.kitchen.reached(&self.image.content, stage);
    }

    async fn on_machine(&self, machine: &MachineId) -> Result<String, Burnt> {
        self.reached(BakeStage::Installing);
        let image = self.of_machine(machine).await;
        // Whatever became of it. If this fails the reaper does it: the machine is no longer left out of listings.
        let ended = crate::terminate::terminate(&self.kitchen.account, vec![machine.clone()]).await;
        self.kitchen.fleet.give_back(machine);
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
        let mut tags = self.tags();
        tags.push(tags::tag(tags::DEADLINE, &deadline));
        let token = Sha256::of(format!("{deadline} {}", self.image.content).as_bytes());
        let request = request::run_instances(pinned, candidate, &tags, &user_data)
            // What is to be kept must not go when it powers off.
            .instance_initiated_shutdown_behavior(ShutdownBehavior::Stop)
            .client_token(token.as_str());
        self.kitchen.account.throttle.run_instances.take().await;
        // A lost answer may be asked again: the token makes it the same machine.
        let made = request.send_with(&self.kitchen.account.ec2).await;
        let made = made.map_err(|error| CallError::of("RunInstances", error))?;
        let id = made.instances().first().and_then(|instance| instance.instance_id());
        let id = id.and_then(|id| id.parse().ok());
        id.ok_or_else(|| Burnt { message: "EC2 names no machine".to_owned(), hint: None })
    }

    fn user_data(&self, pinned: &PinnedRequest) -> UserData {
        let (worker_type, content) = (self.image.worker_type.clone(), self.image.content.clone());
        UserData {
            worker: WorkerId::from_uuid(uuid::Uuid::nil()),
            grpc_url: pinned.grpc_url.clone(),
            ca: self.kitchen.options.ca.clone(),
            token: String::new(),
            agent: launch::program(pinned),
            deadline: pinned.deadline,
            region: self.kitchen.account.region.clone(),
            slots: 1,
            python_index: pinned.python_index(),
            baked: false,
            bake: Some(Bake { worker_type, content }),
            bundle: None,
            environment: pinned.environment.clone(),
            power_off: pinned.power_off.clone(),
        }
    }

    /// All that whoever goes on with it has to know.
    fn tags(&self) -> Vec<Tag> {
        let image = &self.image;
        [
            (tags::INSTALLATION, self.kitchen.options.installation.clone()),
            (tags::BAKED_FOR, image.worker_type.to_string()),
            (tags::BAKED, image.content.to_string()),
            (tags::ARCHITECTURE, image.architecture.to_string()),
            (tags::BEGUN_AT, image.begun_at.to_string()),
            (tags::NAME, "data-runner image".to_owned()),
        ]
        .map(|(key, value)| tags::tag(key, value))
        .to_vec()
    }

    async fn of_machine(&self, machine: &MachineId) -> Result<String, Burnt> {
        let image = match self.kitchen.image_of(&self.image.content).await? {
            // Whoever began it came so far.
            Some(image) => image,
            None => {
                self.until_off(machine).await?;
                self.until_said(machine).await?;
                self.create(machine).await?
            }
        };
        self.reached(BakeStage::Snapshotting { image: image.clone() });
        let whole = self.until_available(&image).await;
        if whole.is_err() {
            self.kitchen.remove(&image).await;
        }
        whole.map(|()| image)
    }

    async fn create(&self, machine: &MachineId) -> Result<String, Burnt> {
        let of = |kind| TagSpecification::builder().resource_type(kind).set_tags(Some(self.tags())).build();
        self.kitchen.account.throttle.describe.take().await;
        let asked = self
            .kitchen
            .account
            .ec2
            .create_image()
            .instance_id(machine.as_str())
            .name(self.name())
            .tag_specifications(of(ResourceType::Image))
            .tag_specifications(of(ResourceType::Snapshot))
            .send()
            .await;
        let error = match asked {
            Ok(made) => return Ok(made.image_id().unwrap_or_default().to_owned()),
            Err(error) => CallError::of("CreateImage", error),
        };
        // Nothing else has this name, so that it was made by a call whose answer was lost.
        let perhaps = error.is("InvalidAMIName.Duplicate") || matches!(error, CallError::NoAnswer { .. });
        let looks = if perhaps { LOOKS_FOR_IMAGE } else { 0 };
        for _ in 0..looks {
            if let Some(image) = self.kitchen.image_of(&self.image.content).await? {
                return Ok(image);
            }
            tokio::time::sleep(self.kitchen.look_every).await;
        }
        Err(error.into())
    }

    /// An account has one image of a name, and perhaps several installations.
    fn name(&self) -> String {
        let key = format!("{}\n{}", self.kitchen.options.installation, self.image.content);
        let key = Sha256::of(key.as_bytes());
        format!("data-runner {} {}", self.image.worker_type, &key.as_str()[..16])
    }

    async fn until_off(&self, machine: &MachineId) -> Result<(), Burnt> {
        let give_up = Instant::now() + TO_INSTALL;
        while Instant::now() < give_up {
            self.kitchen.account.throttle.describe.take().await;
            let ask = self.kitchen.account.ec2.describe_instances().instance_ids(machine.as_str());
            match ask.send().await.map_err(|error| CallError::of("DescribeInstances", error)) {
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
            tokio::time::sleep(self.kitchen.look_every).await;
        }
        Err(self.burnt(machine, "its machine was not ready in time").await)
    }

    /// It powers off in every case; only what its console says tells which it was.
    async fn until_said(&self, machine: &MachineId) -> Result<(), Burnt> {
        let word = format!("baked {}", self.image.content);
        for _ in 0..LOOKS_AT_CONSOLE {
            let console = self.kitchen.fleet.console(machine).await?;
            if console.contains(&word) {
                return Ok(());
            }
            if console.contains("cannot be made ready") {
                break;
            }
            tokio::time::sleep(self.kitchen.look_every).await;
        }
        Err(self.burnt(machine, "its machine could not be made ready").await)
    }

    async fn burnt(&self, machine: &MachineId, what: &str) -> Burnt {
        let console = self.kitchen.fleet.console(machine).await.unwrap_or_default();
        let hint =
            "look at the end of its console, and whether the package index can be reached from the subnet";
        Burnt { message: format!("{what}; its console ends:\n{console}"), hint: Some(hint.to_owned()) }
    }

    async fn until_available(&self, image: &str) -> Result<(), Burnt> {
        let give_up = Instant::now() + TO_SNAPSHOT;
        while Instant::now() < give_up {
            self.kitchen.account.throttle.describe.take().await;
            let asked = self.kitchen.account.ec2.describe_images().image_ids(image).send().await;
            match asked.map_err(|error| CallError::of("DescribeImages", error)) {
                Ok(shown) => {
                    let shown = shown.images().first();
                    if shown.and_then(Ec2Image::state).is_some_and(|state| state.as_str() == "available") {
                        return Ok(());
                    }
                    if shown.is_some_and(is_spoilt) {
                        break;
                    }
                }
                Err(error) => tracing::info!(error = in_words(&error), "an image is not seen"),
            }
            tokio::time::sleep(self.kitchen.look_every).await;
        }
        Err(Burnt { message: format!("EC2 does not finish the image {image}"), hint: None })
    }
}
