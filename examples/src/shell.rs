//! A worker type for shell scripts: the examples' jobs need nothing that a machine may lack.

use std::sync::Arc;

use data_runner_core::id::InvalidId;
use data_runner_core::port::{Executor, Prepared};
use data_runner_core::workflow::{ScriptLanguage, WorkerTypeSpec};
use data_runner_exec::{CommandExecutor, Runner};

const NAME: &str = "shell";

/// What the supervisor must know: `worker_type: shell` is valid, and runs `workflow.sh`.
pub fn shell_worker_type() -> Result<WorkerTypeSpec, InvalidId> {
    Ok(WorkerTypeSpec {
        name: NAME.parse()?,
        entrypoint: "workflow.sh".to_owned(),
        language: ScriptLanguage::Other,
    })
}

/// What an agent must have: how such a job becomes a command.
pub fn shell_executor(runner: Runner) -> Result<Arc<dyn Executor>, InvalidId> {
    let executor = CommandExecutor::new(NAME.parse()?, runner, |run| {
        let command = vec!["/bin/sh".into(), (&run.job.entrypoint).into()];
        Ok(Prepared { command, ..Prepared::default() })
    });
    Ok(Arc::new(executor))
}
