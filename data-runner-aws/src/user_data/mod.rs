//! What a machine is told at its birth: a script that cloud-init runs as root, once.
//!
//! The variable part is a handful of assignments in front; what is done with them is `bootstrap.sh`, the same for every
//! machine. The bytes depend on the input alone, so that a launch can be repeated as it was.

mod quote;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_runner_core::id::{Sha256, WorkerId, WorkerType};
use data_runner_core::settings::PackageIndex;
use data_runner_core::time::Timestamp;
use data_runner_core::workflow::Architecture;
use flate2::{Compression, GzBuilder};

use quote::quoted;

/// The most that EC2 takes, in bytes before base64.
pub const MOST_BYTES: usize = 16_384;

/// How a machine is switched off where nothing else is asked for.
pub const POWER_OFF: &str = "systemctl poweroff || shutdown -h now || poweroff -f";

/// How long a machine that cannot be made ready waits before it powers off, so that its console is read.
const GRACE_SECONDS: u32 = 5;

const BOOTSTRAP: &str = include_str!("bootstrap.sh");

/// Where things are on the machine; `bootstrap.sh` says the same.
const CA_FILE: &str = "/etc/data-runner/ca.pem";
const TOKEN_FILE: &str = "/run/data-runner/join-token";
const STATE_FOLDER: &str = "/var/lib/data-runner";

/// What `uname -m` calls it.
fn uname(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "x86_64",
        Architecture::Arm64 => "aarch64",
    }
}

/// Whose word counts for the other end of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedBy {
    /// The certificate authority of [`UserData::ca`]: the supervisor's own address.
    Supervisor,
    /// Whom the machine's image trusts: a store such as S3.
    Image,
}

/// Where the agent's program can be had. Its hash decides whether it is the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSource {
    /// The address.
    pub url: String,
    /// Who vouches for it.
    pub trusted_by: TrustedBy,
}

/// The agent's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentProgram {
    /// What it is built for; a machine of another kind powers itself off.
    pub architecture: Architecture,
    /// The hash of its bytes.
    pub sha256: Sha256,
    /// Where it can be had, the preferred place first. A baked image needs none.
    pub sources: Vec<AgentSource>,
}

/// Code that comes with the machine.
#[derive(Clone, PartialEq, Eq)]
pub struct EmbeddedBundle {
    /// The hash of its bytes.
    pub sha256: Sha256,
    /// The bundle.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for EmbeddedBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EmbeddedBundle({}, {} bytes)", self.sha256, self.bytes.len())
    }
}

/// An image that a machine becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bake {
    /// For jobs of this worker type.
    pub worker_type: WorkerType,
    /// What goes into it.
    pub content: Sha256,
}

/// All that a machine needs to know to become a worker.
#[derive(Clone, PartialEq, Eq)]
pub struct UserData {
    /// The worker that it is.
    pub worker: WorkerId,
    /// Where agents connect to.
    pub grpc_url: String,
    /// The certificate authority of the supervisor, PEM. The machine trusts nobody else to be its supervisor.
    pub ca: String,
    /// What lets it join, once. Nothing else here is a secret.
    pub token: String,
    /// The agent.
    pub agent: AgentProgram,
    /// When the machine powers itself off, whatever happens. Counted in whole seconds.
    pub deadline: Timestamp,
    /// The region, which jobs see as `AWS_REGION`.
    pub region: String,
    /// How many jobs run at one time.
    pub slots: u32,
    /// The package index; `None`: the one that the image is configured for.
    pub python_index: Option<PackageIndex>,
    /// Whether the image holds all that is needed, so that nothing is installed.
    pub baked: bool,
    /// Whether it becomes an image instead of a worker: it is made ready, leaves nothing of itself, says so on its
    /// console, and powers off.
    pub bake: Option<Bake>,
    /// Code that comes along. [`TooLarge`](UserDataError::TooLarge) tells when it does not fit.
    pub bundle: Option<EmbeddedBundle>,
    /// More variables for the agent. They win over those that follow from the rest.
    pub environment: BTreeMap<String, String>,
    /// The shell command that switches the machine off; usually [`POWER_OFF`].
    pub power_off: String,
}

impl std::fmt::Debug for UserData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserData")
            .field("worker", &self.worker)
            .field("agent", &self.agent)
            .field("deadline", &self.deadline)
            .field("bundle", &self.bundle)
            .finish_non_exhaustive()
    }
}

/// Why there is no user-data.
#[derive(Debug, thiserror::Error)]
pub enum UserDataError {
    /// More than EC2 takes, compressed as well. Leave the bundle out, or shorten the environment.
    #[error("user-data of {bytes} bytes are more than the {MOST_BYTES} that EC2 takes")]
    TooLarge {
        /// How many it would be.
        bytes: usize,
    },
    /// Not the name of an environment variable.
    #[error("{0:?} cannot be the name of an environment variable: letters, digits and `_`, no digit first")]
    VariableName(String),
    /// A value that no shell can hold.
    #[error("{0} must not hold a zero byte")]
    ZeroByte(String),
    /// The compressor failed.
    #[error("user-data cannot be compressed")]
    Compress(#[source] std::io::Error),
}

impl UserData {
    /// The bytes for `RunInstances`, before base64: the script as it is when it is small enough, else compressed, which
    /// cloud-init recognizes. The same input gives the same bytes.
    pub fn render(&self) -> Result<Vec<u8>, UserDataError> {
        let script = self.script()?.into_bytes();
        if script.len() <= MOST_BYTES {
            return Ok(script);
        }
        let compressed = compress(&script).map_err(UserDataError::Compress)?;
        if compressed.len() > MOST_BYTES {
            return Err(UserDataError::TooLarge { bytes: compressed.len() });
        }
        Ok(compressed)
    }

    /// The script in full.
    fn script(&self) -> Result<String, UserDataError> {
        let mut script = String::from(
            "#!/bin/sh\n# Makes this machine a worker of Data Runner. Written by its supervisor; the only secret in it is \
             the token by\n# which the agent joins, once.\n",
        );
        let seconds = self.deadline.micros().div_euclid(1_000_000).to_string();
        let (bundle, bake) = (self.bundle.as_ref(), self.bake.as_ref());
        for (name, value) in [
            ("WORKER", self.worker.to_string()),
            ("DEADLINE", seconds),
            ("POWER_OFF", self.power_off.clone()),
            ("GRACE", GRACE_SECONDS.to_string()),
            ("ARCHITECTURE", uname(self.agent.architecture).to_owned()),
            ("AGENT_SHA256", self.agent.sha256.to_string()),
            ("BAKED", if self.baked { "yes" } else { "no" }.to_owned()),
            ("BAKE_FOR", bake.map(|bake| bake.worker_type.to_string()).unwrap_or_default()),
            ("BAKE_CONTENT", bake.map(|bake| bake.content.to_string()).unwrap_or_default()),
            ("TOKEN", self.token.clone()),
            ("CA", self.ca.clone()),
            ("ENVIRONMENT", self.exports()?),
            ("BUNDLE_SHA256", bundle.map(|bundle| bundle.sha256.to_string()).unwrap_or_default()),
            ("BUNDLE", bundle.map(|bundle| STANDARD.encode(&bundle.bytes)).unwrap_or_default()),
        ] {
            if value.contains('\0') {
                return Err(UserDataError::ZeroByte(name.to_owned()));
            }
            let _ = writeln!(script, "{name}={}", quoted(&value));
        }
        script.push_str(&self.sources());
        script.push_str(BOOTSTRAP);
        Ok(script)
    }

    /// A function that tries every place.
    fn sources(&self) -> String {
        let tries: Vec<String> = self
            .agent
            .sources
            .iter()
            .map(|source| {
                let authority = match source.trusted_by {
                    TrustedBy::Supervisor => CA_FILE,
                    TrustedBy::Image => "",
                };
                format!("fetch_agent {} {}", quoted(&source.url), quoted(authority))
            })
            .collect();
        let tries = if tries.is_empty() { "false".to_owned() } else { tries.join(" || ") };
        format!("fetch_agent_from_anywhere() {{ {tries}; }}\n")
    }

    /// The agent's environment, a line of shell for each variable.
    fn exports(&self) -> Result<String, UserDataError> {
        let mut environment = BTreeMap::from([
            ("DATA_RUNNER_GRPC_URL", self.grpc_url.clone()),
            ("DATA_RUNNER_CA", CA_FILE.to_owned()),
            ("DATA_RUNNER_JOIN_TOKEN_FILE", TOKEN_FILE.to_owned()),
            ("DATA_RUNNER_WORKER_ID", self.worker.to_string()),
            ("DATA_RUNNER_AGENT_STATE", STATE_FOLDER.to_owned()),
            ("DATA_RUNNER_SLOTS", self.slots.to_string()),
            ("DATA_RUNNER_DEADLINE", self.deadline.to_string()),
            ("DATA_RUNNER_POWER_OFF", self.power_off.clone()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
        ]);
        if let Some(index) = &self.python_index {
            environment.insert("DATA_RUNNER_PYTHON_INDEX_URL", index.url.clone());
            if let Some(auth) = &index.auth {
                environment.insert("DATA_RUNNER_PYTHON_INDEX_AUTH", auth.to_string());
            }
        }
        for (name, value) in &self.environment {
            let first = |c: char| c.is_ascii_alphabetic() || c == '_';
            if !name.starts_with(first) || !name.chars().all(|c| first(c) || c.is_ascii_digit()) {
                return Err(UserDataError::VariableName(name.clone()));
            }
            environment.insert(name, value.clone());
        }
        let lines: Vec<String> =
            environment.iter().map(|(name, value)| format!("export {name}={}", quoted(value))).collect();
        Ok(lines.join("\n"))
    }
}

/// Gzip without a time or a name in it.
fn compress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut writer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    writer.write_all(bytes)?;
    writer.finish()
}

#[cfg(test)]
mod tests;
