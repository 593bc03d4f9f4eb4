//! Flags of the commands about images.

use clap::{Args, Subcommand};
use data_runner_core::id::WorkerType;

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Bake images for machines of the cloud, and wait for them
    Bake(BakeArgs),
    /// List images
    #[command(visible_alias = "ls")]
    List,
}

/// Flags of `image bake`.
#[derive(Debug, Args)]
pub struct BakeArgs {
    /// For jobs of this worker type; may be repeated
    #[arg(long = "worker-type", value_name = "TYPE", default_values = ["polars", "duckdb"])]
    pub worker_types: Vec<WorkerType>,
    /// For machines of this architecture: x86_64 or arm64
    #[arg(long, value_name = "ARCHITECTURE", default_value = "x86_64", value_parser = ["x86_64", "arm64"])]
    #[arg(hide_possible_values = true)]
    pub architecture: String,
    /// Do not wait
    #[arg(long, short)]
    pub detach: bool,
}
