//! How a workflow wants its machine chosen and made, beyond its size. Only machines of a cloud heed it.

use serde::{Deserialize, Serialize};

use super::InstanceSize;

/// The `compute` block of `config.yaml`. What it asks for must be within the operator's allow-list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Compute {
    /// Whether spare capacity, which can be taken away, will do.
    pub spot: Spot,
    /// Sizes to take when the wanted one cannot be had, in order; of the same architecture.
    pub fallback_instance_sizes: Vec<InstanceSize>,
    /// The root volume, in bytes; `None`: the image's.
    pub disk_bytes: Option<u64>,
    /// The region, such as `eu-west-1`; `None`: the installation's.
    pub region: Option<String>,
    /// The subnets to choose from; empty: the installation's.
    pub subnets: Vec<String>,
    /// The instance profile, whose role the job has; `None`: the installation's.
    pub instance_profile: Option<String>,
    /// The machine image; `None`: the installation's for the worker type.
    pub image: Option<String>,
    /// What becomes of an execution that ran out of memory.
    pub on_out_of_memory: OnOutOfMemory,
}

/// What becomes of an execution that ran out of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOutOfMemory {
    /// It fails, or is tried again on the same size, as its retries say.
    #[default]
    Fail,
    /// It is tried again on the next larger size of the same family.
    Larger,
}

impl OnOutOfMemory {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Fail, Self::Larger];

    /// The name as it stands in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Larger => "larger",
        }
    }
}

/// Whether a job may run on spare capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spot {
    /// On demand only.
    #[default]
    Never,
    /// Spot first, on demand when there is none.
    Prefer,
    /// Spot only; it waits when there is none.
    Only,
}

impl Spot {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Never, Self::Prefer, Self::Only];

    /// The name as it stands in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Prefer => "prefer",
            Self::Only => "only",
        }
    }
}
