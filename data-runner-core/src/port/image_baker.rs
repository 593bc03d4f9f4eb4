//! Images that hold all that jobs of a worker type need, so that machines are ready sooner.

use async_trait::async_trait;

use super::{Retry, Source};
use crate::id::{Sha256, WorkerType};
use crate::time::Timestamp;
use crate::workflow::Architecture;

/// Bakes images.
///
/// Contract:
/// - an image is known by the hash of what goes into it: `begin` of what is being baked or was baked gives that one, and
///   begins nothing; what failed is begun anew;
/// - what `begin` began goes on by itself, also when nobody asks for it again, and leaves nothing but its image behind;
///   a supervisor that was started again goes on with it, as soon as there is a machine for it;
/// - an image that is done is used by machines that are planned from then on, where the settings name none.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait ImageBaker: Send + Sync + 'static {
    /// Begins to bake an image; answered as soon as it has begun.
    async fn begin(&self, wanted: WantedImage) -> Result<Image, BakeError>;

    /// All images that are being baked, were baked or failed to be, the newest first.
    async fn images(&self) -> Result<Vec<Image>, BakeError>;
}

/// Which image is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedImage {
    /// For jobs of this worker type.
    pub worker_type: WorkerType,
    /// For machines of this architecture.
    pub architecture: Architecture,
}

/// An image, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The hash of what goes into it: the image that it is made from, the agent, the packages.
    pub content: Sha256,
    /// For jobs of this worker type.
    pub worker_type: WorkerType,
    /// For machines of this architecture.
    pub architecture: Architecture,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// How far it is.
    pub stage: BakeStage,
}

/// How far an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BakeStage {
    /// A machine is launched to bake it on.
    Launching,
    /// That machine installs what goes into it.
    Installing,
    /// The image is made of the machine.
    Snapshotting {
        /// Its name.
        image: String,
    },
    /// It can be used.
    Done {
        /// Its name.
        image: String,
        /// Since when.
        at: Timestamp,
    },
    /// It came to nothing; what was launched for it is gone.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// Why no image is baked.
#[derive(Debug, thiserror::Error)]
pub enum BakeError {
    /// Such an image cannot be baked.
    #[error("{message}")]
    Rejected {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The cloud cannot be reached, or is throttled.
    #[error("images cannot be reached")]
    Unavailable(#[source] Source),
}

impl BakeError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Rejected { .. } => Retry::Never,
            Self::Unavailable(_) => Retry::Later,
        }
    }
}
