//! Polars: a Python script in an environment of its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::execution::{Failure, FailureCause};
use data_runner_core::id::WorkerType;
use data_runner_core::port::{ExecuteError, Executor, Prepared, RunRequest, RunningJob};

use crate::environment::{Environments, hinting, wanted_by};
use crate::job_env::temporary_folder;
use crate::runner::{Engine, Runner};
use crate::running::machine;
use crate::s3::for_polars;
use crate::shim::record::MemorySign;

/// What a workflow gets that says nothing about its packages, or says nothing about this one.
const BROUGHT: &str = "polars==2.1.0";

/// Runs `workflow.py` scripts; the worker type `polars`.
///
/// Packages come from a `uv.lock` beside the script, or its PEP 723 block, or the configuration's requirements with
/// Polars added, or are Polars alone; what is not locked is locked once. The script runs with `-u`, in its folder, with
/// the bundle's `include` folders on PYTHONPATH and POLARS_MAX_THREADS set to the processors that it may use. `s3://`
/// works with the machine's role, which Polars finds by itself.
#[derive(Debug, Clone)]
pub struct PolarsExecutor {
    worker_type: WorkerType,
    runner: Runner,
    environments: Environments,
}

impl PolarsExecutor {
    /// Runs the jobs of `worker_type` (`polars`).
    pub fn new(worker_type: WorkerType, runner: Runner, environments: Environments) -> Self {
        Self { worker_type, runner, environments }
    }

    fn prepare_blocking(&self, run: &RunRequest) -> Result<Prepared, ExecuteError> {
        let script = run.working_directory().join(&run.job.entrypoint);
        is_a_file(&script, &run.job.entrypoint)?;
        let packages = &run.job.packages;
        let (requirements, python) = wanted_by(run, BROUGHT).map_err(ExecuteError::Failed)?;
        let environment = self.environments.get(&requirements, python.as_deref(), packages.into());
        let environment = environment.map_err(|error| hinting(error, packages))?;
        let mut notes = environment.notes.clone();
        notes.extend(environment.version_of("polars").map(|version| format!("Polars {version}")));
        let command = vec![environment.python().into(), "-u".into(), OsString::from(&run.job.entrypoint)];
        let mut env = vec![("POLARS_MAX_THREADS".to_owned(), self.runner.cpus_for(run).to_string().into())];
        env.push(("POLARS_OOC_SPILL_DIR".to_owned(), spill_folder(run).into()));
        env.extend(for_polars(&self.runner.variables_for(run)));
        if !run.job.python_path.is_empty() {
            let folders = run.job.python_path.iter().map(|folder| run.code().join(folder));
            let path = std::env::join_paths(folders)
                .map_err(|error| {
                    Failure::new(FailureCause::Source, format!("`include` names a folder that {error}"))
                })
                .map_err(ExecuteError::Failed)?;
            env.push(("PYTHONPATH".to_owned(), path));
        }
        Ok(Prepared { command, env, notes, packages: environment.packages, ..Prepared::default() })
    }
}

/// Where Polars puts what does not fit into memory.
fn spill_folder(run: &RunRequest) -> PathBuf {
    temporary_folder(run).join("polars")
}

/// How Python and Polars say that memory ran out, when no kernel says it for them.
fn memory_signs() -> Vec<MemorySign> {
    // A MemoryError that nobody caught; and a Rust program whose allocator found nothing (it aborts: 128 + SIGABRT).
    [(1, "MemoryError"), (134, "memory allocation of ")]
        .map(|(code, line)| MemorySign { code, line_starts_with: line.to_owned() })
        .into()
}

/// An entrypoint must be a regular file: some programs take a folder and do nothing, successfully.
pub(crate) fn is_a_file(path: &std::path::Path, name: &str) -> Result<(), ExecuteError> {
    if path.is_file() {
        return Ok(());
    }
    let failure = Failure::new(FailureCause::Source, format!("{name} is not there, or is not a file"));
    Err(ExecuteError::Failed(failure.hinting("`entrypoint` names a file in the workflow's folder")))
}

#[async_trait]
impl Executor for PolarsExecutor {
    fn worker_type(&self) -> WorkerType {
        self.worker_type.clone()
    }

    async fn prepare(&self, run: Arc<RunRequest>) -> Result<Prepared, ExecuteError> {
        let this = self.clone();
        let prepared = tokio::task::spawn_blocking(move || this.prepare_blocking(&run)).await;
        prepared.map_err(|error| machine("making the environment", error))?
    }

    async fn start(
        &self,
        run: Arc<RunRequest>,
        prepared: Prepared,
    ) -> Result<Box<dyn RunningJob>, ExecuteError> {
        let spill = Some(spill_folder(&run));
        self.runner.start(&run, &prepared, Engine { memory_signs: memory_signs(), spill, sql: false }).await
    }

    async fn adopt(&self, run: Arc<RunRequest>) -> Result<Option<Box<dyn RunningJob>>, ExecuteError> {
        self.runner.adopt(&run).await
    }
}
