//! Images as REST shows them.

use data_runner_core::id::WorkerType;
use data_runner_core::port::{self as core, BakeStage};
use data_runner_core::workflow::Architecture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment;

/// An image that holds all that jobs of a worker type need, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Image {
    /// The hash of what goes into it, by which it is known.
    pub id: String,
    /// For jobs of this worker type.
    #[schema(value_type = String)]
    pub worker_type: WorkerType,
    /// For machines of this architecture: `x86_64` or `arm64`.
    #[schema(value_type = String)]
    pub architecture: Architecture,
    /// `launching`, `installing`, `snapshotting`, `done` or `failed`.
    pub stage: String,
    /// The cloud's name for it, once there is one.
    pub image: Option<String>,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// When it was done, or failed.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub message: Option<String>,
    /// What to do about that.
    pub hint: Option<String>,
}

/// An image that is to be baked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BakeImage {
    /// For jobs of this worker type.
    #[schema(value_type = String)]
    pub worker_type: WorkerType,
    /// For machines of this architecture: `x86_64` (default) or `arm64`.
    #[serde(default = "usual")]
    #[schema(value_type = Option<String>)]
    pub architecture: Architecture,
}

const fn usual() -> Architecture {
    Architecture::X86_64
}

impl From<&core::Image> for Image {
    fn from(image: &core::Image) -> Self {
        let mut shown = Self {
            id: image.content.to_string(),
            worker_type: image.worker_type.clone(),
            architecture: image.architecture,
            stage: String::new(),
            image: None,
            begun_at: moment(image.begun_at),
            ended_at: None,
            message: None,
            hint: None,
        };
        let stage = match &image.stage {
            BakeStage::Launching => "launching",
            BakeStage::Installing => "installing",
            BakeStage::Snapshotting { image } => {
                shown.image = Some(image.clone());
                "snapshotting"
            }
            BakeStage::Done { image, at } => {
                (shown.image, shown.ended_at) = (Some(image.clone()), Some(moment(*at)));
                "done"
            }
            BakeStage::Failed { at, message, hint } => {
                (shown.ended_at, shown.message, shown.hint) =
                    (Some(moment(*at)), Some(message.clone()), hint.clone());
                "failed"
            }
        };
        stage.clone_into(&mut shown.stage);
        shown
    }
}
