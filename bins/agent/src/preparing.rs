//! Makes what jobs of a worker type need, ahead of any job: for a machine that becomes an image.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use data_runner_aws_light::EnvironmentSecrets;
use data_runner_core::id::{
    AttemptId, AttemptNumber, Claim, ExecutionId, Lease, QualifiedName, Sha256, WorkerType,
};
use data_runner_core::port::{Executor, RunRequest};
use data_runner_core::workflow::{
    BundleRef, Dependencies, DuckdbDependency, JobSpec, PackageChoice, Resources, WorkerTypes,
};
use data_runner_exec::{DuckdbExecutor, PolarsExecutor, RunOptions, Runner, ShimCommand, ShimPool};

use crate::{aws, executors};

/// The hidden first argument; a worker type and the agent's state folder follow.
pub(crate) const MODE: &str = "internal-prepare";

/// What DuckDB reads and writes S3 with.
const NEEDED: &str = "httpfs";
/// What jobs may ask for beside it. Not every machine reaches the place where it comes from.
const WELCOME: &str = "aws";

/// Prepares as for a job that asks for nothing special.
pub(crate) async fn prepare(worker_type: &str, state: &Path) -> anyhow::Result<()> {
    let worker_type: WorkerType = worker_type.parse()?;
    let types = WorkerTypes::default();
    let spec = types.get(worker_type.as_str()).with_context(|| format!("nothing runs {worker_type}"))?;
    let shims = ShimPool::new(ShimCommand::own_program()?, 0)?;
    let runner = Runner::new(shims, RunOptions::default());
    // A machine that becomes an image is of the cloud.
    let environments =
        executors::environments(state.join("tools"), aws::metadata(None)?, EnvironmentSecrets::Refused)?;
    let is_duckdb = worker_type.as_str() == "duckdb";
    let executor: Arc<dyn Executor> = if is_duckdb {
        Arc::new(DuckdbExecutor::new(worker_type, runner, environments))
    } else {
        Arc::new(PolarsExecutor::new(worker_type, runner, environments))
    };
    let folder = state.join("preparing");
    prepare_with(&*executor, &spec.entrypoint, &folder, &[NEEDED]).await?;
    if is_duckdb
        && let Err(error) = prepare_with(&*executor, &spec.entrypoint, &folder, &[NEEDED, WELCOME]).await
    {
        eprintln!("the extension {WELCOME} is left out: {error:#}");
    }
    Ok(())
}

async fn prepare_with(
    executor: &dyn Executor,
    entrypoint: &str,
    folder: &Path,
    extensions: &[&str],
) -> anyhow::Result<()> {
    let run = request(&executor.worker_type(), entrypoint, folder, extensions)?;
    std::fs::create_dir_all(run.working_directory())?;
    std::fs::write(run.working_directory().join(entrypoint), "")?;
    let prepared = executor.prepare(Arc::new(run)).await;
    std::fs::remove_dir_all(folder)?;
    prepared.map(drop).map_err(|error| anyhow!(error))
}

fn request(
    worker_type: &WorkerType,
    entrypoint: &str,
    folder: &Path,
    extensions: &[&str],
) -> anyhow::Result<RunRequest> {
    let nothing = uuid::Uuid::nil();
    let execution = ExecutionId::from_uuid(nothing);
    let attempt = AttemptId { execution, number: AttemptNumber(1) };
    let job = JobSpec {
        workflow: QualifiedName { repo: "data-runner".parse()?, name: "prepare".parse()? },
        revision: "0000000000000000000000000000000000000000".parse()?,
        worker_type: worker_type.clone(),
        bundle: BundleRef { hash: Sha256::of(b""), bytes: 0 },
        folder: "workflow".to_owned(),
        entrypoint: entrypoint.to_owned(),
        python_path: Vec::new(),
        params: BTreeMap::new(),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        dependencies: Dependencies {
            duckdb: DuckdbDependency {
                version: None,
                extensions: extensions.iter().map(|name| (*name).to_owned()).collect(),
            },
            ..Dependencies::default()
        },
        packages: PackageChoice::Worker,
        resources: Resources { memory_bytes: 1 << 30, cpus: 1 },
        timeout: Duration::from_secs(3600),
        grace: Duration::from_secs(10),
        artifacts: Vec::new(),
    };
    Ok(RunRequest {
        claim: Claim { attempt, lease: Lease::from_uuid(nothing) },
        job: Arc::new(job),
        folder: folder.to_owned(),
        alone_for: Duration::from_secs(3600),
    })
}
