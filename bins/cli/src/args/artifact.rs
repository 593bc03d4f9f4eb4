//! Flags of `artifact`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with files that jobs left.
#[derive(Debug, Subcommand)]
pub enum ArtifactCommand {
    /// List the files that an execution left and that are kept
    #[command(visible_alias = "ls")]
    List {
        /// The execution: its id, a prefix of it that is unambiguous, or `latest`
        #[arg(default_value = "latest")]
        execution: String,
    },
    /// Download a file that a job left, or all files of an execution
    Get(ArtifactGetArgs),
}

/// Flags of `artifact get`.
#[derive(Debug, Args)]
pub struct ArtifactGetArgs {
    /// The file: its id; with --execution its path or its artifact's name. With --all the execution
    pub artifact: String,
    /// Look for it in this execution, in its newest attempt that has it
    #[arg(long, short, value_name = "EXECUTION", conflicts_with = "all")]
    pub execution: Option<String>,
    /// Where to write it; `-` for stdout [default: its own name, here]
    #[arg(long, short, value_name = "FILE", conflicts_with = "all")]
    pub file: Option<PathBuf>,
    /// Download all files of the execution's newest attempt that has any, below this folder
    #[arg(long, value_name = "FOLDER")]
    pub all: Option<PathBuf>,
}
