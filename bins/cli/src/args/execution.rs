//! Flags of the commands about executions.

use clap::Args;

const ID: &str = "Its id, a prefix of it that is unambiguous, or `latest`";

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The workflow: its name, repository/name, its id, or a folder such as ./workflows/orders, which is run as it stands
    pub workflow: String,
    /// A parameter; may be repeated
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub param: Vec<(String, String)>,
    /// The branch, tag or commit to run instead of the newest synced one
    #[arg(long = "ref", value_name = "REF")]
    pub reference: Option<String>,
    /// Run with this instance size instead of the configured one
    #[arg(long, value_name = "SIZE")]
    pub instance_size: Option<String>,
    /// Run it here, in this process, without any server: of the repository that one stands in, or a folder
    #[arg(long, conflicts_with_all = ["detach", "instance_size", "idempotency_key"])]
    pub local: bool,
    /// Submit only: print the id and leave
    #[arg(long, short)]
    pub detach: bool,
    /// The same key and request give the same execution, however often they are sent
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// Flags of `ps`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Also those that have ended
    #[arg(long, short)]
    pub all: bool,
    /// Keep watching
    #[arg(long, short)]
    pub watch: bool,
    /// Of this workflow only
    #[arg(long, value_name = "WORKFLOW")]
    pub workflow: Option<String>,
    /// In this state only; may be repeated
    #[arg(long, value_name = "STATE")]
    pub state: Vec<String>,
    /// Having this label only
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Option<String>,
    /// Of this group only: its id, a prefix of it, or `latest`
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// At most so many, the newest
    #[arg(long, short = 'n', default_value_t = 50, value_name = "N")]
    pub limit: u32,
}

/// Flags of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The first execution: its id, the beginning of it, or `latest`
    pub from: String,
    /// The second one
    #[arg(default_value = "latest")]
    pub to: String,
}

/// Flags of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[arg(default_value = "latest", help = ID)]
    /// Which execution.
    pub id: String,
    /// The exact packages of its environment instead, as a requirements file
    #[arg(long, conflicts_with = "definition")]
    pub lock: bool,
    /// The config.yaml that it runs by instead, of its own revision
    #[arg(long)]
    pub definition: bool,
}

/// Flags of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    #[arg(default_value = "latest", help = ID)]
    /// Which execution.
    pub id: String,
    /// Go on until the execution ends, then exit with the job's code
    #[arg(long, short)]
    pub follow: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    pub tail: Option<u64>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "REGEX")]
    pub grep: Option<String>,
    /// Of this attempt instead of the last one
    #[arg(long, value_name = "N")]
    pub attempt: Option<u32>,
    /// Only what was written to stdout or stderr, byte for byte
    #[arg(long, value_name = "STREAM", value_parser = ["stdout", "stderr"])]
    pub stream: Option<String>,
}

/// Flags of `wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    #[arg(default_value = "latest", help = ID)]
    /// Which execution.
    pub id: String,
}

/// Flags of `cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    #[arg(required = true, help = ID)]
    /// Which executions.
    pub ids: Vec<String>,
}

/// Flags of `retry` and `rerun`.
#[derive(Debug, Args)]
pub struct RepeatArgs {
    #[arg(default_value = "latest", help = ID)]
    /// Which execution.
    pub id: String,
    /// Follow the new execution's log and exit with its code
    #[arg(long, short)]
    pub follow: bool,
}

pub(super) fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE, such as day=2026-08-01".to_owned()),
    }
}
