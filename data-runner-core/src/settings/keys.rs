//! The keys of `supervisor.yaml`.

use std::time::Duration;

use crate::yaml::{Key, Need, Shape};

const HOUR: u64 = 3_600;

static REPOSITORY: Shape = Shape::Object(&REPOSITORY_KEYS);

const fn seconds(min: u64, max: u64) -> Shape {
    Shape::Duration { min: Duration::from_secs(min), max: Duration::from_secs(max) }
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

static SETTINGS_KEYS: [Key; 13] = [
    key("listen", Shape::text(255), "Where REST and the UI listen."),
    key("grpc_listen", Shape::text(255), "Where agents connect to."),
    key("public_url", Shape::text(2_000), "What people dial."),
    key("grpc_url", Shape::text(2_000), "What machines dial."),
    key("installation", Shape::text(63), "The mark on everything that is started."),
    key("state", Shape::text(4_000), "The folder that everything is kept in."),
    key("repositories", Shape::List { of: &REPOSITORY, min: 0, max: 200 }, "Repositories to watch."),
    key("provisioner", Shape::Choice(&["local", "ec2"]), "What starts workers."),
    key("local", Shape::Object(&LOCAL_KEYS), "Workers on this machine."),
    key("agents", Shape::Object(&AGENT_KEYS), "When a silent agent counts as lost."),
    key("python", Shape::Object(&PYTHON_KEYS), "Where Python packages come from."),
    Shape::not_yet("ec2", "Workers on EC2."),
    Shape::not_yet("heartbeat_url", "What is pinged each minute."),
];

static REPOSITORY_KEYS: [Key; 6] = [
    required("name", Shape::text(63), "Its name, unique here."),
    required("url", Shape::text(2_000), "Where it is, without a password."),
    key("ref", Shape::text(255), "The ref to follow."),
    key("poll", seconds(1, 24 * HOUR), "How often to look for what is new."),
    key("ssh_key", Shape::text(4_000), "The private key: an absolute path, or env://NAME."),
    key("known_hosts", Shape::text(4_000), "The file of known host keys."),
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
    Shape::not_yet("index_auth", "The credentials of the package index."),
];
