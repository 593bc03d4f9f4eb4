//! What is being baked, what was baked, and what was left half done, by the tags of machines and images.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_ec2::types::{Filter, Image as Ec2Image, Tag};
use data_runner_core::id::{MachineId, Sha256};
use data_runner_core::port::{BakeStage, Image};
use data_runner_core::time::Timestamp;
use data_runner_core::workflow::Architecture;

use super::has_failed;
use crate::call::{AwsAccount, CallError, in_words};
use crate::list::Fleet;
use crate::options::Ec2Options;
use crate::tags;

/// The states of a machine that something can still be made of.
const ALIVE: [&str; 4] = ["pending", "running", "stopping", "stopped"];

/// What all bakes of a process share. Clones are the same.
#[derive(Clone)]
pub(super) struct Kitchen {
    pub account: AwsAccount,
    pub options: Arc<Ec2Options>,
    pub fleet: Arc<Fleet>,
    pub look_every: Duration,
    /// What this process bakes, or could not.
    pub begun: Arc<Mutex<BTreeMap<Sha256, Image>>>,
}

impl Kitchen {
    /// Notes that this one is being baked, unless it is already: then that one.
    pub fn begin(&self, image: &Image) -> Option<Image> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = begun.get(&image.content).filter(|known| !has_failed(known)).cloned();
        if under_way.is_none() {
            begun.insert(image.content.clone(), image.clone());
        }
        under_way
    }

    pub fn reached(&self, content: &Sha256, stage: BakeStage) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = begun.get_mut(content) {
            image.stage = stage;
        }
    }

    /// All that is being baked, was baked or failed to be, the newest first.
    pub async fn images(&self) -> Result<Vec<Image>, CallError> {
        let there = self.there().await?;
        let mut all: BTreeMap<Sha256, Image> =
            self.begun.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for image in there.iter().filter_map(of_image) {
            // Whoever bakes it knows better how far it is.
            all.entry(image.content.clone())
                .and_modify(|known| {
                    if has_failed(known) || matches!(image.stage, BakeStage::Done { .. }) {
                        *known = image.clone();
                    }
                })
                .or_insert(image);
        }
        let mut all: Vec<Image> = all.into_values().collect();
        all.sort_by_key(|image| std::cmp::Reverse(image.begun_at));
        Ok(all)
    }

    /// The image of this content, whether it is whole yet or not.
    pub async fn image_of(&self, content: &Sha256) -> Result<Option<String>, CallError> {
        let there = self.there().await?;
        let found = there.iter().filter_map(of_image).find(|image| image.content == *content);
        Ok(found.and_then(|image| match image.stage {
            BakeStage::Snapshotting { image } | BakeStage::Done { image, .. } => Some(image),
            BakeStage::Launching | BakeStage::Installing | BakeStage::Failed { .. } => None,
        }))
    }

    /// Images that this installation made, as EC2 shows them.
    async fn there(&self) -> Result<Vec<Ec2Image>, CallError> {
        self.account.throttle.describe.take().await;
        let ask = self.account.ec2.describe_images().owners("self").set_filters(Some(self.ours()));
        let shown = ask.send().await.map_err(|error| CallError::of("DescribeImages", error))?;
        Ok(shown.images.unwrap_or_default())
    }

    fn ours(&self) -> Vec<Filter> {
        let installation = format!("tag:{}", tags::INSTALLATION);
        vec![
            Filter::builder().name(installation).values(&self.options.installation).build(),
            Filter::builder().name("tag-key").values(tags::BAKED).build(),
        ]
    }

    /// Machines that images are made of, and those images.
    pub async fn machines(&self) -> Result<Vec<(MachineId, Image)>, CallError> {
        let mut filters = self.ours();
        let alive = Some(ALIVE.map(str::to_owned).to_vec());
        filters.push(Filter::builder().name("instance-state-name").set_values(alive).build());
        self.account.throttle.describe.take().await;
        let pages = self.account.ec2.describe_instances().set_filters(Some(filters)).into_paginator();
        let mut machines = Vec::new();
        // There are as many as bakes, so that there is one page, in all likelihood.
        let mut reservations = pages.items().send();
        while let Some(reservation) = reservations.next().await {
            let reservation = reservation.map_err(|error| CallError::of("DescribeInstances", error))?;
            machines.extend(reservation.instances().iter().filter_map(|shown| {
                let alive = shown.state()?.name().is_some_and(|name| ALIVE.contains(&name.as_str()));
                let ours = tags::value(shown, tags::INSTALLATION) == Some(&*self.options.installation);
                let image = of_tags(shown.tags(), BakeStage::Installing)?;
                (alive && ours).then_some((shown.instance_id()?.parse().ok()?, image))
            }));
        }
        Ok(machines)
    }

    /// Removes images that EC2 could not make, which nobody can use.
    pub async fn clear_spoilt(&self) -> Result<(), CallError> {
        for image in self.there().await? {
            if let Some(id) = image.image_id().filter(|_| is_spoilt(&image)) {
                self.remove(id).await;
            }
        }
        Ok(())
    }

    /// Removes an image and its snapshots; what cannot be removed is said.
    pub async fn remove(&self, image: &str) {
        self.account.throttle.describe.take().await;
        let ask = self.account.ec2.deregister_image().image_id(image).delete_associated_snapshots(true);
        if let Err(error) = ask.send().await.map_err(|error| CallError::of("DeregisterImage", error)) {
            tracing::warn!(image, error = in_words(&error), "half an image stays: remove it by hand");
        }
    }
}

/// Whether it never becomes whole.
pub(super) fn is_spoilt(shown: &Ec2Image) -> bool {
    let state = shown.state().map_or("", |state| state.as_str());
    ["failed", "error", "invalid"].contains(&state)
}

/// An image as its tags tell of it; `None` for what nobody can use.
fn of_image(shown: &Ec2Image) -> Option<Image> {
    let image = shown.image_id()?.to_owned();
    let made_at = || shown.creation_date().and_then(timestamp);
    let state = shown.state().map_or("", |state| state.as_str());
    let mut found = of_tags(shown.tags(), BakeStage::Snapshotting { image: image.clone() })?;
    match state {
        "pending" => {}
        "available" => {
            found.stage = BakeStage::Done { image, at: made_at().unwrap_or(found.begun_at) };
        }
        _ => return None,
    }
    Some(found)
}

/// What the tags of a machine or an image say of a bake.
fn of_tags(tags: &[Tag], stage: BakeStage) -> Option<Image> {
    let value = |key: &str| tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value);
    Some(Image {
        content: value(tags::BAKED)?.parse().ok()?,
        worker_type: value(tags::BAKED_FOR)?.parse().ok()?,
        architecture: match value(tags::ARCHITECTURE)? {
            "x86_64" => Architecture::X86_64,
            "arm64" => Architecture::Arm64,
            _ => return None,
        },
        begun_at: timestamp(value(tags::BEGUN_AT)?)?,
        stage,
    })
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_micros(at.as_microsecond()))
}
