//! Flags and environment.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use data_runner_core::id::WorkerId;

use crate::OwnMachineOptions;

/// What an agent is told. Each flag has an environment variable; the flag wins.
#[derive(Debug, Clone, Args)]
pub struct AgentOptions {
    /// Where the supervisor listens for agents
    #[arg(long, env = "DATA_RUNNER_GRPC_URL", default_value = "http://127.0.0.1:7070", value_name = "URL")]
    pub supervisor: String,

    /// The certificate of the authority that vouches for the supervisor (PEM), for an address with https://
    #[arg(long, env = "DATA_RUNNER_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// The file with the token of this machine, to get a certificate with; not needed again once there is one
    #[arg(long, env = "DATA_RUNNER_JOIN_TOKEN_FILE", value_name = "FILE")]
    pub join_token_file: Option<PathBuf>,

    /// Which worker this is; without it, a new one that is remembered in the state folder
    #[arg(long, env = "DATA_RUNNER_WORKER_ID", value_name = "UUID")]
    pub worker_id: Option<WorkerId>,

    /// The agent's own folder: runs, logs on their way, code
    #[arg(long, env = "DATA_RUNNER_AGENT_STATE", default_value = ".data-runner-agent", value_name = "DIR")]
    pub state_dir: PathBuf,

    /// How many jobs run at one time
    #[arg(long, env = "DATA_RUNNER_SLOTS", default_value = "1", value_name = "N")]
    pub slots: NonZeroU32,

    /// Where environments are kept, for all agents of this machine [default: `tools` in the state folder]
    #[arg(long, env = "DATA_RUNNER_TOOLS", value_name = "DIR")]
    pub tools_dir: Option<PathBuf>,

    /// The shim's program, of the same version as this one; `data-runner-shim` starts quicker [default: this program]
    #[arg(long, env = "DATA_RUNNER_SHIM", value_name = "FILE")]
    pub shim: Option<PathBuf>,

    // A comment for documentation here would become the command's own help.
    #[allow(missing_docs)]
    #[command(flatten)]
    pub own_machine: OwnMachineOptions,

    /// Variables that jobs get from this process: names, or beginnings of names, such as AWS_
    #[arg(long, env = "DATA_RUNNER_PASS_ENV", value_delimiter = ',', value_name = "PREFIX")]
    pub pass_env: Vec<String>,

    /// Bytes of log that are kept of one attempt; of more, the beginning and the end stay
    #[arg(long, env = "DATA_RUNNER_LOG_QUOTA", default_value_t = 1 << 30, value_name = "BYTES")]
    pub log_quota_bytes: u64,

    /// Bytes of code that are kept for the next runs of it
    #[arg(long, env = "DATA_RUNNER_BUNDLE_CACHE", default_value_t = 256 << 20, value_name = "BYTES")]
    pub bundle_cache_bytes: u64,

    /// Which diagnostics are written to stderr, such as `debug` or `data_runner_engine=trace`
    #[arg(long, env = "DATA_RUNNER_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// How they are written
    #[arg(long, env = "DATA_RUNNER_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// How diagnostics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON document a line
    Json,
}

impl AgentOptions {
    /// Where environments are kept.
    pub fn tools(&self) -> PathBuf {
        self.tools_dir.clone().unwrap_or_else(|| self.state_dir.join("tools"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: AgentOptions,
    }

    #[test]
    fn no_slots_are_no_agent() {
        assert!(Cli::try_parse_from(["agent", "--slots", "0"]).is_err());
    }

    #[test]
    fn tools_are_in_the_state_folder_unless_they_are_shared() {
        let own = Cli::try_parse_from(["agent", "--state-dir", "/s"]).unwrap().options;
        assert_eq!(own.tools(), PathBuf::from("/s/tools"));
        let shared = Cli::try_parse_from(["agent", "--tools-dir", "/t"]).unwrap().options;
        assert_eq!(shared.tools(), PathBuf::from("/t"));
    }
}
