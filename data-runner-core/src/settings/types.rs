//! What a `supervisor.yaml` says, once it is understood.

use core::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Ec2Settings;
use crate::id::RepoName;
use crate::workflow::{SecretRef, Webhook};

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
    /// What is asked each minute, so that somebody notices when the supervisor is dead.
    pub heartbeat_url: Option<Webhook>,
    /// Webhooks that tell of pushes.
    pub hooks: HookSettings,
    /// What starts workers.
    pub provisioner: ProvisionerSettings,
    /// When an agent that is silent counts as lost.
    pub agents: AgentSettings,
    /// Where Python packages come from.
    pub python: PythonSettings,
    /// How connections are secured; `None`: they are not, and all listening is on loopback.
    pub tls: Option<TlsSettings>,
    /// Whether REST wants tokens on loopback too; everywhere else it does.
    pub login: bool,
}

impl Settings {
    /// Whether REST wants a token with each request.
    pub const fn wants_tokens(&self) -> bool {
        self.login || !self.listen.ip().is_loopback()
    }

    /// Whether it may listen there: whoever reaches an address that is not loopback must find TLS.
    pub const fn may_listen_on(&self, address: SocketAddr) -> bool {
        self.tls.is_some() || address.ip().is_loopback()
    }
}

/// How connections are secured, both those of people and those of agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSettings {
    /// By certificates of the supervisor's own authority, which is made once and kept in the state folder.
    Own,
    /// By a certificate that the operator gives.
    Given(GivenCertificate),
}

/// A certificate that the operator gives, PEM in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenCertificate {
    /// The certificate and those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority that agents are told to trust.
    pub ca: PathBuf,
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

/// The secrets by which webhooks are known to come from who they say. Several of one sender are all good, so that one can
/// be exchanged for another; without any, that sender's webhooks are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookSettings {
    /// GitHub's.
    pub github: Vec<SecretRef>,
    /// GitLab's: signing tokens (`whsec_…`) or secret tokens.
    pub gitlab: Vec<SecretRef>,
}

/// Where a private key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In this file.
    File(PathBuf),
    /// A secret, which the supervisor resolves when it starts.
    Secret(SecretRef),
}

/// What starts workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProvisionerSettings {
    /// Processes of this machine.
    Local(LocalSettings),
    /// Machines of EC2.
    Ec2(Box<Ec2Settings>),
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
    /// The package index; `None`: the tool's own default.
    pub index: Option<PackageIndex>,
}

/// A package index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageIndex {
    /// Where it is; holds no password.
    pub url: String,
    /// Where `user:password` or a token is, for workers to resolve; `None`: it lets everybody in.
    pub auth: Option<SecretRef>,
}
