//! What this agent can run.

use std::sync::Arc;

use anyhow::Context as _;
use data_runner_core::port::Executor;
use data_runner_exec::{RunOptions, Runner, ShimCommand, ShimPool};

use crate::AgentOptions;

/// What starts jobs, as the options want it, under the shims that `shims` makes. Must be called within a runtime.
pub fn runner(options: &AgentOptions, shims: ShimCommand) -> anyhow::Result<Runner> {
    let ahead = usize::try_from(options.slots.get()).unwrap_or(1);
    let shims = ShimPool::new(shims, ahead).context("no shim could be started")?;
    let run = RunOptions {
        log_quota: options.log_quota_bytes,
        passthrough: options.pass_env.clone(),
    };
    Ok(Runner::new(shims, run))
}

/// The executors of the stock worker types.
pub(crate) fn stock(_options: &AgentOptions, _runner: Runner) -> Vec<Arc<dyn Executor>> {
    Vec::new()
}
