//! The keys of `supervisor.yaml`.

use std::time::Duration;

use crate::yaml::{Key, Need, Shape};

const HOUR: u64 = 3_600;

static REPOSITORY: Shape = Shape::Object(&REPOSITORY_KEYS);
static OWN: Shape = Shape::Choice(&["own"]);
static CERTIFICATE: Shape = Shape::Object(&CERTIFICATE_KEYS);
static REFERENCE: Shape = Shape::Reference;
static REFERENCES: Shape = Shape::List { of: &REFERENCE, min: 1, max: 4 };
const SECRETS: Shape = Shape::Either { scalar: &REFERENCE, other: &REFERENCES };
static NAME: Shape = Shape::text(128);
static TAG: Shape = Shape::free_text(256);

const fn seconds(min: u64, max: u64) -> Shape {
    Shape::Duration { min: Duration::from_secs(min), max: Duration::from_secs(max) }
}

/// A list of names of things of AWS.
const fn names(min: usize) -> Shape {
    Shape::List { of: &NAME, min, max: 50 }
}

const fn count(max: i64) -> Shape {
    Shape::Int { min: 1, max }
}

const fn key(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, need: Need::Optional, about }
}

const fn required(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, need: Need::Required, about }
}

/// The keys of the first level that are scalars: an environment variable can override them.
pub(super) const SCALARS: [&str; 7] =
    ["listen", "grpc_listen", "public_url", "grpc_url", "installation", "state", "provisioner"];

/// `supervisor.yaml` itself.
pub(super) static SETTINGS: Shape = Shape::Object(&SETTINGS_KEYS);

static SETTINGS_KEYS: [Key; 16] = [
    key("listen", Shape::text(255), "Where REST and the UI listen."),
    key("grpc_listen", Shape::text(255), "Where agents connect to."),
    key("public_url", Shape::text(2_000), "What people dial."),
    key("grpc_url", Shape::text(2_000), "What machines dial."),
    key("installation", Shape::text(63), "The mark on everything that is started."),
    key("state", Shape::text(4_000), "The folder that everything is kept in."),
    key("repositories", Shape::List { of: &REPOSITORY, min: 0, max: 200 }, "Repositories to watch."),
    key("hooks", Shape::Object(&HOOK_KEYS), "Webhooks that tell of pushes."),
    key("provisioner", Shape::Choice(&["local", "ec2"]), "What starts workers."),
    key("local", Shape::Object(&LOCAL_KEYS), "Workers on this machine."),
    key("agents", Shape::Object(&AGENT_KEYS), "When a silent agent counts as lost."),
    key("python", Shape::Object(&PYTHON_KEYS), "Where Python packages come from."),
    key("ec2", Shape::Object(&EC2_KEYS), "Machines on EC2."),
    key(
        "tls",
        Shape::Either { scalar: &OWN, other: &CERTIFICATE },
        "How connections are secured: own, or a certificate.",
    ),
    key("login", Shape::Bool, "Whether people need tokens on loopback too."),
    key(
        "heartbeat_url",
        Shape::text(2_000),
        "What is asked each minute, or a reference to it: env://HEARTBEAT_URL.",
    ),
];

static REPOSITORY_KEYS: [Key; 6] = [
    required("name", Shape::text(63), "Its name, unique here."),
    required("url", Shape::text(2_000), "Where it is, without a password."),
    key("ref", Shape::text(255), "The ref to follow."),
    key("poll", seconds(1, 24 * HOUR), "How often to look for what is new."),
    key("ssh_key", Shape::text(4_000), "The private key: an absolute path, or where the secret is."),
    key("known_hosts", Shape::text(4_000), "The file of known host keys."),
];

static HOOK_KEYS: [Key; 2] = [
    key("github", SECRETS, "The secrets of GitHub's webhooks: where they are."),
    key("gitlab", SECRETS, "The signing or secret tokens of GitLab's webhooks: where they are."),
];

static LOCAL_KEYS: [Key; 2] = [
    key("workers", count(1_000), "How many may run at once."),
    key("slots", count(64), "How many executions each may run at once."),
];

static AGENT_KEYS: [Key; 3] = [
    key("heartbeat", seconds(1, HOUR), "How often an agent says that it lives."),
    key("suspect_after", seconds(1, 24 * HOUR), "After this much silence it gets no new work."),
    key("lost_after", seconds(1, 24 * HOUR), "After this much silence it is given up."),
];

static PYTHON_KEYS: [Key; 2] = [
    key("index_url", Shape::text(2_000), "The package index, without a password."),
    key("index_auth", Shape::Reference, "Where user:password or a token of the package index is."),
];

static CERTIFICATE_KEYS: [Key; 3] = [
    required("certificate", Shape::text(4_000), "The file of the certificate and those that vouch for it."),
    required("key", Shape::text(4_000), "The file of its private key."),
    required("ca", Shape::text(4_000), "The file of the authority that agents are told to trust."),
];

static EC2_KEYS: [Key; 12] = [
    required("region", Shape::text(128), "The region, such as eu-west-1."),
    required("subnets", names(1), "The subnets to choose from."),
    required("security_groups", names(1), "The security groups of machines."),
    key("public_ip", Shape::Bool, "Whether machines get a public IPv4 address."),
    key("images", Shape::Map { of: &NAME, max: 50 }, "The image for each worker type."),
    key("instance_profile", Shape::text(128), "The instance profile of machines."),
    key("max_machines", count(10_000), "How many machines there may be at once."),
    key("join_within", seconds(5, HOUR), "How long a machine may take until its agent connects."),
    key("tags", Shape::Map { of: &TAG, max: 40 }, "Tags of machines and volumes."),
    key("allow", Shape::Object(&ALLOW_KEYS), "What a workflow may ask for."),
    key("code_delivery", Shape::Choice(&["grpc", "s3", "user-data"]), "How code gets to machines."),
    key("bucket", Shape::text(1_024), "Where code is put for s3: s3://bucket/prefix."),
];

static ALLOW_KEYS: [Key; 4] = [
    key("instance_sizes", names(0), "Names of sizes, or their beginnings: t3.*"),
    key("instance_profiles", names(0), "Instance profiles."),
    key("images", names(0), "Images."),
    key("subnets", names(0), "Subnets."),
];
