//! The agent's loop: it performs what [`data_runner_core::agent::Agent`] decides.
//!
//! One task owns the machine. For each event it lets core decide, writes the records to disk, and then performs the
//! effects; none of these waits: connecting, fetching, starting, reading logs and saying things happen in tasks of
//! their own, whose answers come back as events. So a flood of logs delays no heartbeat, and a slow download no cancel.
//!
//! Where to look: [`AgentBuilder`] for what an agent is made of, `performer` for the loop, `connection` for a session,
//! `job_tasks` for what is done for one attempt, `secrets` for their values, `state_folder` for what is on disk,
//! `bundles` for code, `alone` for one job without any supervisor.

mod alone;
mod artifacts;
mod builder;
mod bundles;
mod code;
mod connection;
mod job_tasks;
mod performer;
mod secrets;
mod state_folder;
mod trash;

use crate::chain::chain;

pub use alone::Alone;
pub use builder::{AgentBuilder, AgentError, AgentLoop, Signal};
pub use code::{CodeUnpacker, Download};
pub use secrets::NoSecrets;
pub use state_folder::StateFolderError;
