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
pub(crate) static SETTINGS: Shape = Shape::Object(&SETTINGS_KEYS);

static SETTINGS_KEYS: [Key; 16] = [
    key(
        "listen",
        Shape::text(255),
        "Where REST listens: address and port; port 0 takes a free one. Without TLS on loopback only. Default: 127.0.0.1:8080.",
    ),
    key(
        "grpc_listen",
        Shape::text(255),
        "Where agents connect to; with port 0 the same one again after a restart, if it is free. Without TLS on loopback only. Default: 127.0.0.1:7070.",
    ),
    key(
        "public_url",
        Shape::text(2_000),
        "What people dial, http:// or https://; its host is a name that REST answers to, beside addresses and localhost. Required with ec2.",
    ),
    key(
        "grpc_url",
        Shape::text(2_000),
        "What agents are told to dial. Required with ec2. Default: what is listened on.",
    ),
    key(
        "installation",
        Shape::text(63),
        "A name for this installation: the mark on every machine that it starts. Default: data-runner.",
    ),
    key("state", Shape::text(4_000), "The folder that everything is kept in. Default: /var/lib/data-runner."),
    key(
        "repositories",
        Shape::List { of: &REPOSITORY, min: 0, max: 200 },
        "Repositories that are registered at the start and watched.",
    ),
    key("hooks", Shape::Object(&HOOK_KEYS), "Where the secrets of webhooks are that tell of pushes."),
    key("provisioner", Shape::Choice(&["local", "ec2"]), "What starts workers. Default: local."),
    key("local", Shape::Object(&LOCAL_KEYS), "Workers on this machine."),
    key("agents", Shape::Object(&AGENT_KEYS), "When a silent agent counts as lost."),
    key("python", Shape::Object(&PYTHON_KEYS), "Where Python packages come from."),
    key("ec2", Shape::Object(&EC2_KEYS), "Machines on EC2."),
    key(
        "tls",
        Shape::Either { scalar: &OWN, other: &CERTIFICATE },
        "How connections are secured: own, or a certificate's files. Default: own with ec2, else not at all.",
    ),
    key(
        "login",
        Shape::Bool,
        "Whether people need tokens on loopback too; on other addresses they always do. Default: false.",
    ),
    key(
        "heartbeat_url",
        Shape::text(2_000),
        "An https URL without a password, or a reference such as env://HEARTBEAT_URL, that is asked (GET) each minute as long as the supervisor serves: a watchdog there notices when it does not.",
    ),
];

static REPOSITORY_KEYS: [Key; 6] = [
    required(
        "name",
        Shape::text(63),
        "Unique here; a lower-case letter or digit, then up to 62 of a-z, 0-9, _ and -.",
    ),
    required(
        "url",
        Shape::text(2_000),
        "https://…, ssh://git@…, git@host:path, git://…, file://…, or the path of a folder; never with a password.",
    ),
    key("ref", Shape::text(255), "The branch, tag or commit to follow. Default: main."),
    key("poll", seconds(1, 24 * HOUR), "How often to look for what is new. Default: 60s."),
    key(
        "ssh_key",
        Shape::text(4_000),
        "The private key: an absolute path, or a reference to a secret, which is resolved at each start with the supervisor's own environment and role. Default: the ssh agent's.",
    ),
    key(
        "known_hosts",
        Shape::text(4_000),
        "The file of known host keys, by an absolute path. Default: the user's own.",
    ),
];

static HOOK_KEYS: [Key; 2] = [
    key("github", SECRETS, "The secrets of GitHub's webhooks: where they are."),
    key("gitlab", SECRETS, "The signing or secret tokens of GitLab's webhooks: where they are."),
];

static LOCAL_KEYS: [Key; 2] = [
    key("workers", count(1_000), "How many there are; all of them are kept running. Default: 4."),
    key("slots", count(64), "How many executions each runs at one time. Default: 1."),
];

static AGENT_KEYS: [Key; 3] = [
    key("heartbeat", seconds(1, HOUR), "How often an agent says that it lives. Default: 5s."),
    key("suspect_after", seconds(1, 24 * HOUR), "After this much silence it gets no new work. Default: 30s."),
    key("lost_after", seconds(1, 24 * HOUR), "After this much silence it is given up. Default: 2m."),
];

static PYTHON_KEYS: [Key; 2] = [
    key(
        "index_url",
        Shape::text(2_000),
        "The package index that our workers use, without a name or password. Default: what uv and pip are configured to use.",
    ),
    key(
        "index_auth",
        Shape::Reference,
        "Where the credentials for that index are: user:password, or a token alone. Default: none.",
    ),
];

static CERTIFICATE_KEYS: [Key; 3] = [
    required("certificate", Shape::text(4_000), "The file of the certificate and those that vouch for it."),
    required("key", Shape::text(4_000), "The file of its private key."),
    required("ca", Shape::text(4_000), "The file of the authority that agents are told to trust."),
];

static EC2_KEYS: [Key; 12] = [
    required("region", Shape::text(128), "The region, such as eu-west-1."),
    required("subnets", names(1), "The subnets to choose from; each is in one availability zone."),
    required("security_groups", names(1), "The security groups of machines."),
    key("public_ip", Shape::Bool, "Whether machines get a public IPv4 address. Default: false."),
    key(
        "images",
        Shape::Map { of: &NAME, max: 50 },
        "The image for each worker type. Default: a baked one, else the newest Amazon Linux 2023.",
    ),
    key(
        "instance_profile",
        Shape::text(128),
        "The name of the instance profile, whose role jobs have. Default: none.",
    ),
    key("max_machines", count(10_000), "How many machines there may be at once. Default: 20."),
    key(
        "join_within",
        seconds(5, HOUR),
        "How long a machine may take from its launch until its agent connects. Default: 5m.",
    ),
    key("tags", Shape::Map { of: &TAG, max: 40 }, "Tags of machines and volumes, beside ours."),
    key(
        "allow",
        Shape::Object(&ALLOW_KEYS),
        "What a workflow may ask for in its instance_size and compute; anything else is rejected.",
    ),
    key(
        "code_delivery",
        Shape::Choice(&["grpc", "s3", "user-data"]),
        "How code gets to machines: the agent's connection, a presigned URL, or their user-data when it fits. Default: grpc.",
    ),
    key(
        "bucket",
        Shape::text(1_024),
        "s3://bucket/prefix; required for code_delivery s3, and then artifacts are kept there too.",
    ),
];

static ALLOW_KEYS: [Key; 4] = [
    key(
        "instance_sizes",
        names(0),
        "Names, or their beginnings with a *: t3.*; sizes to fall back to count too. Default: every size.",
    ),
    key("instance_profiles", names(0), "Names. Default: only those that the installation itself uses."),
    key("images", names(0), "Ids. Default: only those that the installation itself uses."),
    key("subnets", names(0), "Ids. Default: only those that the installation itself uses."),
];
