//! Running jobs on a machine: executors for Polars and DuckDB and for any command, the environments that they need,
//! and the shim that owns a running job.

pub mod bundle;
mod command;
mod duckdb;
mod environment;
mod group;
mod job_env;
pub mod machine;
mod mask;
mod polars;
mod pool;
mod process;
mod remains;
mod runner;
mod running;
mod s3;
mod script;
pub mod shim;
mod spool;

pub use command::CommandExecutor;
pub use duckdb::DuckdbExecutor;
pub use environment::{EnvironmentOptions, Environments, IndexAuth, PackageIndex};
pub use polars::PolarsExecutor;
pub use pool::{ShimCommand, ShimPool};
pub use process::{ProcessIdentity, boot_id};
pub use runner::{RunOptions, Runner};
pub use s3::{CloudCredentials, CloudKeys};
pub use shim::record::{MemorySign, ShimRecord};
