//! A provisioner of one's own: machines that are tasks of this program, in place of processes or a cloud.
//!
//!     cargo run -p data-runner-examples --bin custom_provisioner
//!
//! The provisioner is `src/task_provisioner.rs`; its tests run the testkit's contract suite. Here is how little the
//! rest of the system knows of it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::event::ShutDown;
use data_runner_core::orchestrator::Policy;
use data_runner_core::port::Provisioner;
use data_runner_core::workflow::{Polling, WorkerTypes};
use data_runner_engine::{Gate, Order, SupervisorBuilder};
use data_runner_examples::{
    Repository, TaskOptions, TaskProvisioner, print_outcome, shell_executor, shell_worker_type,
};
use data_runner_exec::{RunOptions, Runner, ShimCommand, ShimPool};
use data_runner_git::{LocalPaths, Opener, OpenerOptions};
use data_runner_grpc::{GrpcTransport, ServerOptions};
use data_runner_local::FolderBlobs;
use data_runner_sqlite::SqliteStore;

fn main() -> anyhow::Result<ExitCode> {
    // First of all, while there is one thread: an agent starts this program again as the shim of each job.
    if let Some(code) = data_runner_agent::carry_out_hidden_mode() {
        return Ok(code);
    }
    let folder = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(run(folder.path()))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(folder: &Path) -> anyhow::Result<()> {
    let store = Arc::new(SqliteStore::open(folder.join("state")).await?);
    let gate = Gate::default();
    let anywhere = "127.0.0.1:0".parse()?;
    let (transport, address) =
        GrpcTransport::bind(anywhere, Arc::new(gate.clone()), ServerOptions::default()).await?;

    let shims = ShimPool::new(ShimCommand::own_program()?, 2)?;
    let machines = TaskProvisioner::new(TaskOptions {
        folder: folder.join("machines"),
        grpc_url: format!("http://{address}"),
        executors: vec![shell_executor(Runner::new(shims, RunOptions::default()))?],
    });

    let supervisor = SupervisorBuilder {
        state: store.clone(),
        catalog: store.clone(),
        logs: store.clone(),
        blobs: Arc::new(FolderBlobs::new(folder.join("blobs"))),
        artifacts: Arc::new(FolderBlobs::new(folder.join("artifacts"))),
        opener: Arc::new(Opener::new(OpenerOptions {
            local: LocalPaths::Files,
            ..OpenerOptions::new(folder.join("mirrors"))
        })),
        transport,
        gate,
        provisioner: Some(Arc::new(machines.clone())),
        // How many machines there are, and how each is treated, is policy: no provisioner decides it. To look at these
        // costs nothing, so they are looked at often.
        policy: Policy { list_every: Duration::from_millis(200), ..Policy::local(2, 1) },
        worker_types: WorkerTypes::default().with(shell_worker_type()?),
        polling: Polling::default(),
        clock: SupervisorBuilder::system_clock(),
    }
    .start()
    .await?;

    let handle = supervisor.handle();
    let repository = Repository::new(folder).with(
        "hello",
        &[
            ("config.yaml", "worker_type: shell\ninstance_size: t3.small\n"),
            ("workflow.sh", "echo hello from a machine of my own\n"),
        ],
    )?;
    handle.register(repository.registration()).await?;
    let execution = handle.execute("hello", Order::default()).await?;
    print_outcome(&handle, &handle.until_ended(execution.id).await?).await?;

    handle.shut_down(ShutDown::Drain).await?;
    for machine in machines.list().await? {
        println!("machine {}: {:?}", machine.id, machine.state);
    }
    supervisor.stop().await;
    store.close().await?;
    Ok(())
}
