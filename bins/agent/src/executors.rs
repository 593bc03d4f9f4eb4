//! What this agent can run.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use data_runner_aws_light::{EnvironmentSecrets, Imds, MachineCredentials};
use data_runner_core::port::Executor;
use data_runner_exec::{
    DuckdbExecutor, EnvironmentOptions, Environments, IndexAuth, PolarsExecutor, RunOptions, Runner,
    ShimCommand, ShimPool,
};

use crate::{AgentOptions, aws};

/// Where the credentials for the package index are.
const INDEX_AUTH: &str = "DATA_RUNNER_PYTHON_INDEX_AUTH";

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
    let imds = aws::metadata(options.own_machine.metadata_endpoint.as_deref())?;
    let environments = environments(tools, imds.clone(), options.own_machine.environment_secrets())?;
    let polars = PolarsExecutor::new("polars".parse()?, runner.clone(), environments.clone());
    let duckdb = DuckdbExecutor::new("duckdb".parse()?, runner.clone(), environments)
        .with_credentials(Arc::new(aws::OfMachine(MachineCredentials::new(imds))));
    Ok(vec![Arc::new(polars), Arc::new(duckdb)])
}

/// What makes environments under `tools`. `DATA_RUNNER_PYTHON_INDEX_AUTH` says where the credentials are for the index that
/// `DATA_RUNNER_PYTHON_INDEX_URL` names.
pub(crate) fn environments(
    tools: PathBuf,
    imds: Option<Imds>,
    environment: EnvironmentSecrets,
) -> anyhow::Result<Environments> {
    let mut options = EnvironmentOptions::new(tools);
    if let Some(reference) = std::env::var(INDEX_AUTH).ok().filter(|reference| !reference.is_empty()) {
        let reference = reference.parse().context(INDEX_AUTH)?;
        let index = options.index.as_mut().with_context(|| {
            format!("{INDEX_AUTH} is given without DATA_RUNNER_PYTHON_INDEX_URL, whose credentials it names")
        })?;
        let resolver = Arc::new(aws::secrets(imds, environment));
        index.auth = Some(IndexAuth { reference, resolver });
    }
    Ok(Environments::new(options))
}
