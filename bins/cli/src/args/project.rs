//! Flags of the commands that need no server.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Flags of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where; it is made if need be
    #[arg(default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
}

/// Flags of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Repositories, workflow folders or config.yaml files
    #[arg(default_value = ".", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How findings are printed: human, json, or github (annotations of GitHub Actions)
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", hide_possible_values = true)]
    pub format: ValidateFormat,
}

/// How findings of `validate` are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ValidateFormat {
    /// With the line and a caret.
    #[default]
    Human,
    /// One JSON document.
    Json,
    /// Annotations of GitHub Actions.
    Github,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The state directory that `dev` would use
    #[arg(long, default_value = ".data-runner", value_name = "DIR")]
    pub state_dir: PathBuf,
}
