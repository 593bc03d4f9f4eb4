//! The command tree: names and flags that people type and scripts rely on.

mod access;
mod artifact;
mod cost;
mod dev;
mod execution;
mod group;
mod image;
mod project;
mod schedule;
mod server;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use data_runner_server::LogFormat;

pub use access::{ContextAddArgs, ContextCommand, SecretCommand, TokenCommand, TokenCreateArgs};
pub use artifact::{ArtifactCommand, ArtifactGetArgs};
pub use cost::{AdviseArgs, CostArgs, CostsBy, PlanArgs};
pub use dev::DevArgs;
pub use execution::{CancelArgs, DiffArgs, LogsArgs, PsArgs, RepeatArgs, RunArgs, ShowArgs, WaitArgs};
pub use group::{BackfillArgs, GroupCommand};
pub use image::{BakeArgs, ImageCommand};
pub use project::{DoctorArgs, InitArgs, ValidateArgs, ValidateFormat};
pub use schedule::ScheduleCommand;
pub use server::{ApiArgs, CompletionArgs, SchemaArgs, SchemaKind, WorkerCommand, WorkflowCommand};

/// Where a server listens unless it is told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

const EXAMPLES: &str = "\
Try it:
  data-runner dev --demo           a server with sample workflows here
  data-runner init my-jobs         a small repository of your own
  data-runner dev my-jobs          serve it
  data-runner run hello-polars     run a workflow and follow its log

Exit codes:
  run, wait, logs -f   the job's own (128+n for a signal); 124 its timeout;
                       125 what is not the job's fault; 130 after Ctrl-C
  all others           0 done, 1 error, 2 usage, 3 not found, 4 not allowed,
                       5 conflict";

/// Runs data workflows from a git repository, here or on machines made for each one.
#[derive(Debug, Parser)]
#[command(name = "data-runner", version, after_help = EXAMPLES, arg_required_else_help = true)]
#[command(disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Common {
    /// The server's address; else the context's, else http://127.0.0.1:8080. A token is read from DATA_RUNNER_TOKEN
    #[arg(long, global = true, env = "DATA_RUNNER_SERVER", value_name = "URL")]
    #[arg(help_heading = "Everywhere", hide_env_values = true)]
    pub server: Option<String>,
    /// The context to use instead of the current one
    #[arg(long, global = true, env = "DATA_RUNNER_CONTEXT", value_name = "NAME", conflicts_with = "server")]
    #[arg(help_heading = "Everywhere", hide_env_values = true)]
    pub context: Option<String>,
    /// The certificate of the authority to trust, PEM, instead of the system's
    #[arg(long, global = true, env = "DATA_RUNNER_CA", value_name = "FILE")]
    #[arg(help_heading = "Everywhere", hide_env_values = true)]
    pub ca: Option<PathBuf>,
    /// How data is printed: table, json, ndjson, yaml or name
    #[arg(long, short, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    #[arg(help_heading = "Everywhere", hide_possible_values = true)]
    pub output: Format,
    /// How diagnostics are printed on stderr, text or json; RUST_LOG says how many
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Everywhere"
    )]
    #[arg(hide_possible_values = true)]
    pub log_format: LogFormat,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people, fitted to the terminal.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line, one line an item.
    Ndjson,
    /// YAML.
    Yaml,
    /// Ids or names only, one a line.
    Name,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve workflows on this machine, with local workers
    Dev(DevArgs),
    /// Make a small repository with two workflows that run
    Init(InitArgs),
    /// Check workflow configurations; needs no server
    Validate(ValidateArgs),
    /// Check this machine and the server, and say what to do about it
    Doctor(DoctorArgs),
    /// Show the machines that a run would get, and their prices; launches nothing
    Plan(PlanArgs),
    /// Show which instance size a workflow should have, by what its runs used
    Advise(AdviseArgs),
    /// Run a workflow and follow its log
    Run(RunArgs),
    /// List executions
    Ps(PsArgs),
    /// Show one execution: timeline, failure, end of its log
    Show(ShowArgs),
    /// Show what is different between two executions: what was asked for, and the code
    Diff(DiffArgs),
    /// Print the log of an execution
    Logs(LogsArgs),
    /// Wait for an execution to end
    Wait(WaitArgs),
    /// End an execution
    Cancel(CancelArgs),
    /// Run an execution again: same commit, same parameters
    Retry(RepeatArgs),
    /// Run an execution again: newest commit, same parameters
    Rerun(RepeatArgs),
    /// Run a workflow for the dates of a time that has passed
    Backfill(BackfillArgs),
    /// Groups: the executions of a matrix or a backfill
    #[command(subcommand)]
    Group(GroupCommand),
    /// Artifacts: files that jobs left
    #[command(subcommand)]
    Artifact(ArtifactCommand),
    /// Sum up what runs have cost
    Cost(CostArgs),
    /// Workflows and the repositories that they come from
    #[command(subcommand)]
    Workflow(WorkflowCommand),
    /// Schedules: when workflows run by themselves
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Workers: the agents that run workflows
    #[command(subcommand)]
    Worker(WorkerCommand),
    /// Images that make machines ready sooner
    #[command(subcommand)]
    Image(ImageCommand),
    /// Secrets of workflows
    #[command(subcommand)]
    Secret(SecretCommand),
    /// API tokens: who may come in
    #[command(subcommand)]
    Token(TokenCommand),
    /// Servers by name, each with its token
    #[command(subcommand)]
    Context(ContextCommand),
    /// Send a request to the server and print its answer
    Api(ApiArgs),
    /// Print the schema of config.yaml or of the REST API
    Schema(SchemaArgs),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
}

impl Command {
    /// Whether the exit code is the job's, so that a fault of ours must not look like one.
    pub fn reports_the_job(&self) -> bool {
        match self {
            Self::Run(_) | Self::Wait(_) => true,
            Self::Logs(logs) => logs.follow,
            Self::Retry(repeat) | Self::Rerun(repeat) => repeat.follow,
            Self::Dev(_)
            | Self::Init(_)
            | Self::Validate(_)
            | Self::Doctor(_)
            | Self::Ps(_)
            | Self::Show(_)
            | Self::Diff(_)
            | Self::Cancel(_)
            | Self::Workflow(_)
            | Self::Schedule(_)
            | Self::Worker(_)
            | Self::Plan(_)
            | Self::Advise(_)
            | Self::Backfill(_)
            | Self::Group(_)
            | Self::Cost(_)
            | Self::Artifact(_)
            | Self::Image(_)
            | Self::Secret(_)
            | Self::Token(_)
            | Self::Context(_)
            | Self::Api(_)
            | Self::Schema(_)
            | Self::Completion(_) => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic, clippy::expect_used)]
mod tests;
