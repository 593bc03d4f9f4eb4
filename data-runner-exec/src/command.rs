//! An executor for any program: the simplest way to a worker type of one's own.

use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::execution::Failure;
use data_runner_core::id::WorkerType;
use data_runner_core::port::{ExecuteError, Executor, Prepared, RunRequest, RunningJob};

use crate::runner::{Engine, Runner};

type CommandOf = dyn Fn(&RunRequest) -> Result<Prepared, Failure> + Send + Sync;

/// Runs each job as the command that a function makes of it.
///
/// ```no_run
/// # use data_runner_core::port::Prepared;
/// # fn example(runner: data_runner_exec::Runner) -> Result<(), data_runner_core::id::InvalidId> {
/// use data_runner_exec::CommandExecutor;
///
/// let shell = CommandExecutor::new("shell".parse()?, runner, |run| {
///     Ok(Prepared { command: vec!["/bin/sh".into(), (&run.job.entrypoint).into()], ..Prepared::default() })
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CommandExecutor {
    worker_type: WorkerType,
    runner: Runner,
    command_of: Arc<CommandOf>,
}

impl CommandExecutor {
    /// Runs jobs of `worker_type` as `command_of` says; a failure that it gives is the job's.
    pub fn new(
        worker_type: WorkerType,
        runner: Runner,
        command_of: impl Fn(&RunRequest) -> Result<Prepared, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self { worker_type, runner, command_of: Arc::new(command_of) }
    }
}

#[async_trait]
impl Executor for CommandExecutor {
    fn worker_type(&self) -> WorkerType {
        self.worker_type.clone()
    }

    async fn prepare(&self, run: Arc<RunRequest>) -> Result<Prepared, ExecuteError> {
        (self.command_of)(&run).map_err(ExecuteError::Failed)
    }

    async fn start(
        &self,
        run: Arc<RunRequest>,
        prepared: Prepared,
    ) -> Result<Box<dyn RunningJob>, ExecuteError> {
        self.runner.start(&run, &prepared, Engine::default()).await
    }

    async fn adopt(&self, run: Arc<RunRequest>) -> Result<Option<Box<dyn RunningJob>>, ExecuteError> {
        self.runner.adopt(&run).await
    }
}
