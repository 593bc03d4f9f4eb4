//! The `ec2` block of `supervisor.yaml`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::WorkerType;

/// Machines on EC2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ec2Settings {
    /// The region, such as `eu-west-1`. Required.
    pub region: String,
    /// The subnets to choose from. Required, at least one; each is in one availability zone.
    pub subnets: Vec<String>,
    /// The security groups of machines. Required, at least one.
    pub security_groups: Vec<String>,
    /// Whether machines get a public IPv4 address. Default: no.
    pub public_ip: bool,
    /// The image for each worker type; where there is none, a baked one, else the newest Amazon Linux 2023.
    pub images: BTreeMap<WorkerType, String>,
    /// The instance profile of machines; `None`: none.
    pub instance_profile: Option<String>,
    /// Never more machines, those on their way in or out included. Default: 20.
    pub max_machines: u32,
    /// How long a machine may take from its launch until its agent connects. Default: 5 min.
    pub join_within: Duration,
    /// Tags of machines and volumes, beside ours.
    pub tags: BTreeMap<String, String>,
    /// What a workflow may ask for.
    pub allow: Ec2Allow,
    /// How code gets to machines.
    pub code_delivery: CodeDelivery,
    /// Where agents' binaries and code are put for `s3`, and baked or private installations: `s3://bucket/prefix`.
    pub bucket: Option<String>,
}

/// What a workflow may ask for beyond the installation's own settings. A push must not raise rights.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ec2Allow {
    /// Patterns of instance sizes: a name, or one that ends in `*`, such as `t3.*`. Empty: every known size.
    pub instance_sizes: Vec<String>,
    /// Instance profiles. The installation's own is always allowed.
    pub instance_profiles: Vec<String>,
    /// Images. The installation's own are always allowed.
    pub images: Vec<String>,
    /// Subnets. The installation's own are always allowed.
    pub subnets: Vec<String>,
}

/// How code gets to machines. The agent checks its SHA-256 in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CodeDelivery {
    /// Over the agent's own connection: needs no bucket.
    #[default]
    #[serde(rename = "grpc")]
    Grpc,
    /// From S3, by a presigned URL.
    #[serde(rename = "s3")]
    S3,
    /// In the machine's user-data when it fits, else over the agent's connection.
    #[serde(rename = "user-data")]
    UserData,
}
