//! What this agent can run.

use std::sync::Arc;

use anyhow::Context as _;
use data_runner_aws_light::MachineCredentials;
use data_runner_core::port::Executor;
use data_runner_exec::{
    DuckdbExecutor, EnvironmentOptions, Environments, PolarsExecutor, RunOptions, Runner, ShimCommand,
    ShimPool,
};

use crate::{AgentOptions, aws};

/// What starts jobs, as the options want it, under the shims that `shims` makes. Must be called within a runtime.
pub fn runner(options: &AgentOptions, shims: ShimCommand) -> anyhow::Result<Runner> {
    let ahead = usize::try_from(options.slots.get()).unwrap_or(1);
    let shims = ShimPool::new(shims, ahead).context("no shim could be started")?;
    let passthrough = options.pass_env.iter().cloned().chain(options.own_machine.passes()).collect();
    let run = RunOptions {
        log_quota: options.log_quota_bytes,
        passthrough,
        alone_on_machine: options.own_machine.power_off.is_some() && ahead == 1,
    };
    Ok(Runner::new(shims, run))
}

/// The executors of the stock worker types.
pub fn stock(options: &AgentOptions, runner: &Runner) -> anyhow::Result<Vec<Arc<dyn Executor>>> {
    let tools = options.tools();
    // Jobs run in other folders: what they are given must not depend on ours.
    let tools =
        std::path::absolute(&tools).with_context(|| format!("there is no folder {}", tools.display()))?;
    let environments = Environments::new(EnvironmentOptions::new(tools));
    let polars = PolarsExecutor::new("polars".parse()?, runner.clone(), environments.clone());
    let imds = aws::metadata(options.own_machine.metadata_endpoint.as_deref())?;
    let duckdb = DuckdbExecutor::new("duckdb".parse()?, runner.clone(), environments)
        .with_credentials(Arc::new(aws::OfMachine(MachineCredentials::new(imds))));
    Ok(vec![Arc::new(polars), Arc::new(duckdb)])
}
