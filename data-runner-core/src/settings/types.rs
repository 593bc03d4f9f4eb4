//! What a `supervisor.yaml` says, once it is understood.

use core::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::id::RepoName;

/// A supervisor's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where REST and the UI listen. Default: 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// Where agents connect to. Default: 127.0.0.1:7070.
    pub grpc_listen: SocketAddr,
    /// What people dial, without a trailing slash; `None`: what is listened on.
    pub public_url: Option<String>,
    /// What machines dial, without a trailing slash; `None`: what is listened on.
    pub grpc_url: Option<String>,
    /// The mark on everything that is started. Default: `data-runner`.
    pub installation: String,
    /// The folder that everything is kept in. Default: `/var/lib/data-runner`.
    pub state: PathBuf,
    /// Repositories that are registered at the start, and watched.
    pub repositories: Vec<RepositorySettings>,
    /// What starts workers.
    pub provisioner: ProvisionerSettings,
    /// When an agent that is silent counts as lost.
    pub agents: AgentSettings,
    /// Where Python packages come from.
    pub python: PythonSettings,
}

/// A repository to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositorySettings {
    /// Its name, unique here.
    pub name: RepoName,
    /// Where it is; holds no password.
    pub url: String,
    /// The branch, tag or other ref to follow. Default: `main`.
    pub reference: String,
    /// How often to look for what is new. Default: 60 s.
    pub poll: Duration,
    /// The private key for ssh; `None`: the ssh agent's.
    pub ssh_key: Option<KeySource>,
    /// The file of known host keys; `None`: the user's own.
    pub known_hosts: Option<PathBuf>,
}

/// Where a private key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In this file.
    File(PathBuf),
    /// In this environment variable of the supervisor.
    Environment(String),
}

/// What starts workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProvisionerSettings {
    /// Processes of this machine.
    Local(LocalSettings),
}

/// Workers on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalSettings {
    /// How many may run at once. Default: 4.
    pub workers: u32,
    /// How many executions each may run at once. Default: 1.
    pub slots: u32,
}

/// When an agent that is silent counts as lost. `heartbeat` < `suspect_after` < `lost_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentSettings {
    /// How often an agent says that it lives. Default: 5 s.
    pub heartbeat: Duration,
    /// After this much silence it gets no new work. Default: 30 s.
    pub suspect_after: Duration,
    /// After this much silence it is given up. Default: 120 s.
    pub lost_after: Duration,
}

/// Where Python packages come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PythonSettings {
    /// The package index; holds no password. `None`: the tool's own default.
    pub index_url: Option<String>,
}
