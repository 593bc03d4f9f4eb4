//! A worker type of one's own: workflows written in awk.
//!
//!     cargo run -p data-runner-examples --bin custom_worker_type
//!
//! It takes two things. The supervisor must know its name, so that `worker_type: awk` is valid in a configuration; an
//! agent must have an executor for it. An agent tells its supervisor what it has, and gets only what it can run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use data_runner_core::execution::{Failure, FailureCause};
use data_runner_core::port::{Executor, Prepared, RunRequest};
use data_runner_core::workflow::{ScriptLanguage, WorkerTypeSpec, WorkerTypes};
use data_runner_engine::Order;
use data_runner_examples::{Repository, SmallSystem, print_outcome};
use data_runner_exec::{CommandExecutor, RunOptions, Runner, ShimCommand, ShimPool};

fn main() -> anyhow::Result<ExitCode> {
    // First of all, while there is one thread: an agent starts this program again as the shim of each job.
    if let Some(code) = data_runner_agent::carry_out_hidden_mode() {
        return Ok(code);
    }
    let folder = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(run(folder.path()))?;
    Ok(ExitCode::SUCCESS)
}

/// What the supervisor must know.
fn awk_worker_type() -> anyhow::Result<WorkerTypeSpec> {
    Ok(WorkerTypeSpec {
        name: "awk".parse()?,
        entrypoint: "workflow.awk".to_owned(),
        // Keys that make sense for Python or SQL only are refused in its configurations.
        language: ScriptLanguage::Other,
    })
}

/// What an agent must have. The stock executor for commands brings the shim, the log, the limits, stopping, and being
/// found again after a crash; left to say is which command a job is.
fn awk_executor(runner: Runner) -> anyhow::Result<Arc<dyn Executor>> {
    Ok(Arc::new(CommandExecutor::new("awk".parse()?, runner, awk_command)))
}

fn awk_command(run: &RunRequest) -> Result<Prepared, Failure> {
    // What is missing is said now, in the user's terms; it does not count as the workflow's own failure.
    let awk = find_awk().ok_or_else(|| {
        Failure::new(FailureCause::Environment, "this worker has no awk")
            .hinting("install gawk or mawk on the workers")
    })?;
    // No shell, so nothing needs quoting. Parameters are in the environment, as in any job.
    let mut command = vec![awk.into(), "-f".into(), (&run.job.entrypoint).into()];
    command.push("input.csv".into());
    Ok(Prepared { command, ..Prepared::default() })
}

fn find_awk() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join("awk")).find(|awk| awk.is_file())
}

const CONFIG: &str = "worker_type: awk
instance_size: t3.small
params:
  region: {type: enum, values: [eu, us], default: eu}
";

const SCRIPT: &str = r#"
BEGIN { FS = ","; wanted = ENVIRON["DATA_RUNNER_PARAM_REGION"] }
$1 == wanted { sum += $2; rows += 1 }
END {
    if (rows == 0) { print "no rows of " wanted > "/dev/stderr"; exit 1 }
    print wanted ": " rows " rows, " sum " in all"
}
"#;

async fn run(folder: &Path) -> anyhow::Result<()> {
    let shims = ShimPool::new(ShimCommand::own_program()?, 1)?;
    let awk = awk_executor(Runner::new(shims, RunOptions::default()))?;
    let worker_types = WorkerTypes::default().with(awk_worker_type()?);
    let system = SmallSystem::start(folder, worker_types, vec![awk]).await?;

    let handle = system.handle();
    let repository = Repository::new(folder).with(
        "orders",
        &[("config.yaml", CONFIG), ("workflow.awk", SCRIPT), ("input.csv", "eu,20\neu,22\n")],
    )?;
    handle.register(repository.registration()).await?;
    for region in ["eu", "us"] {
        let params = serde_json::Map::from_iter([("region".to_owned(), region.into())]);
        let execution = handle.execute("orders", Order { params, ..Order::default() }).await?;
        print_outcome(&handle, &handle.until_ended(execution.id).await?).await?;
    }
    system.end().await
}
