//! `supervisor.yaml`: what an operator configures, read with the same strictness as `config.yaml`.
//!
//! ```yaml
//! listen: 127.0.0.1:8080
//! grpc_listen: 127.0.0.1:7070
//! state: /var/lib/data-runner
//! repositories:
//!   - {name: etl, url: "git@github.com:acme/etl.git", ref: main, poll: 60s, ssh_key: /etc/data-runner/etl_key}
//! local: {workers: 4}
//! agents: {heartbeat: 5s, suspect_after: 30s, lost_after: 2m}
//! ```
//!
//! Every key has a default, so that an empty file is valid. A scalar key of the first level can be overridden by an
//! environment variable, `DATA_RUNNER_` and the key in capitals.

mod allow;
mod ec2;
mod keys;
mod parse;
mod types;

pub use allow::{NotAllowed, Refusal, SizePatterns};
#[cfg(test)]
pub(crate) use keys::SETTINGS;

pub use ec2::{CodeDelivery, Ec2Allow, Ec2Settings};
pub use parse::{ENV_PREFIX, parse};
pub use types::{
    AgentSettings, GivenCertificate, HookSettings, KeySource, LocalSettings, PackageIndex,
    ProvisionerSettings, PythonSettings, RepositorySettings, Settings, TlsSettings,
};
