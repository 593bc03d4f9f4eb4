//! One job in this process, without a supervisor: what `data-runner run --local` does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use data_runner_aws_light::EnvironmentSecrets;
use data_runner_core::id::{AttemptId, AttemptNumber, Claim, ExecutionId, Lease};
use data_runner_core::log::Segment;
use data_runner_core::port::{Executor, JobEnd, RunRequest};
use data_runner_core::workflow::JobSpec;
use data_runner_engine::Alone;
use data_runner_exec::ShimCommand;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{AgentOptions, TarZstd, aws, executors};

/// Runs a job with the stock executors, in a folder of its own below the state folder, which is removed afterwards.
/// Secrets are resolved with this process's environment and credentials. See [`Alone::run`].
///
/// # Errors
/// Nothing here runs jobs of its type, or this machine failed us.
pub async fn run_alone(
    options: &AgentOptions,
    job: JobSpec,
    archive: Bytes,
    stop: CancellationToken,
    print: impl FnMut(Segment) + Send,
) -> anyhow::Result<JobEnd> {
    let shims = ShimCommand::own_program().context("this program's own path is not known")?;
    let runner = executors::runner(options, shims)?;
    let executor = executor_of(executors::stock(options, &runner)?, &job)?;
    let id = Uuid::now_v7();
    let folder = std::path::absolute(options.state_dir.join("local").join(id.to_string()))?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let attempt = AttemptId { execution: ExecutionId::from_uuid(id), number: AttemptNumber::FIRST };
    let run = RunRequest {
        claim: Claim { attempt, lease: Lease::from_uuid(Uuid::now_v7()) },
        job: Arc::new(job),
        folder: folder.clone(),
        // Nobody adopts it: it ends soon after this process, however that ends.
        alone_for: Duration::from_secs(5),
    };
    let imds = aws::metadata(options.own_machine.metadata_endpoint.as_deref())?;
    let alone = Alone {
        executor,
        unpacker: Arc::new(TarZstd),
        secrets: Arc::new(aws::secrets(imds, EnvironmentSecrets::Served)),
    };
    let ended = alone.run(run, archive, stop, print).await;
    remove(&folder);
    ended.map_err(Into::into)
}

fn executor_of(executors: Vec<Arc<dyn Executor>>, job: &JobSpec) -> anyhow::Result<Arc<dyn Executor>> {
    let found = executors.into_iter().find(|executor| executor.worker_type() == job.worker_type);
    found.with_context(|| format!("nothing here runs jobs of the type {}", job.worker_type))
}

/// What a run leaves is of no use; that it cannot be removed is no failure of the run.
fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(folder = %folder.display(), error = &error as &dyn std::error::Error, "a run's folder stays");
    }
}
