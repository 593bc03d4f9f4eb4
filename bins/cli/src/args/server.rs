//! Flags of the commands about what the server holds.

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;

/// What to do with workflows.
#[derive(Debug, Subcommand)]
pub enum WorkflowCommand {
    /// List workflows
    #[command(visible_alias = "ls")]
    List,
    /// Show one workflow: its parameters and what it wants
    Show {
        /// Its name, repository/name, or its id
        workflow: String,
        /// All of its configuration instead, as YAML, with the defaults that hold
        #[arg(long)]
        definition: bool,
    },
    /// Register the workflows of a repository
    Register {
        /// The repository: a URL or a path on the server's machine
        repo: String,
        /// The branch, tag or commit to follow
        #[arg(long = "ref", value_name = "REF")]
        reference: Option<String>,
        /// Register only this folder of it, such as workflows/etl-job-2
        #[arg(long, value_name = "FOLDER")]
        path: Option<String>,
    },
    /// Show the revisions that changed a workflow or what it includes
    History {
        /// Its name, repository/name, or its id
        workflow: String,
        /// From this branch, tag or commit back, instead of the newest synced one
        #[arg(long = "ref", value_name = "REF")]
        reference: Option<String>,
        /// How many
        #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
        limit: u32,
    },
    /// Show what is different in a workflow's code between two revisions
    Diff {
        /// Its name, repository/name, or its id
        workflow: String,
        /// A branch, tag or commit [default: the version before the other]
        from: Option<String>,
        /// A branch, tag or commit [default: the newest synced one]
        to: Option<String>,
    },
    /// Show which workflows start which, by their needs
    Graph {
        /// Only what lies before and behind this one: its name, repository/name, or its id
        workflow: Option<String>,
    },
    /// Look for new commits in all repositories now
    Sync,
    /// Stop a workflow's schedules; it can still be run by hand
    Pause {
        /// Its name, repository/name, or its id
        workflow: String,
    },
    /// Let a workflow's schedules go on
    Resume {
        /// Its name, repository/name, or its id
        workflow: String,
    },
}

/// What to do with workers.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// List workers
    #[command(visible_alias = "ls")]
    List {
        /// Also those that are gone
        #[arg(long, short)]
        all: bool,
    },
    /// Show one worker
    Show {
        /// Its id, or a prefix of it that is unambiguous
        worker: String,
    },
    /// Give a worker no more work; it goes when its jobs have ended
    Drain {
        /// Its id, or a prefix of it that is unambiguous
        worker: String,
    },
    /// End a worker at once; its jobs are interrupted
    Terminate {
        /// Its id, or a prefix of it that is unambiguous
        worker: String,
    },
}

/// Flags of `api`.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// The method, such as GET or POST
    #[arg(value_name = "METHOD")]
    pub method: String,
    /// The path with its query, such as /executions?limit=5
    pub path: String,
    /// The body as JSON; @FILE reads a file, - reads stdin
    #[arg(long, short, value_name = "BODY")]
    pub data: Option<String>,
    /// Another header; may be repeated
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    pub header: Vec<String>,
}

/// Flags of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which: config or openapi
    #[arg(value_enum, hide_possible_values = true)]
    pub kind: SchemaKind,
}

/// Which schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaKind {
    /// The JSON Schema of config.yaml.
    Config,
    /// The OpenAPI document of the REST API.
    Openapi,
}

/// Flags of `completion`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// For which shell
    #[arg(value_enum)]
    pub shell: Shell,
}
