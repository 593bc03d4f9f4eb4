//! A supervisor inside a program of one's own, on the stock adapters: state in SQLite, agents as processes.
//!
//!     cargo run -p data-runner-examples --bin embed_supervisor
//!
//! The program is its own agent too, as a hidden mode, so that it is all that must be installed.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use data_runner_agent::AgentOptions;
use data_runner_core::event::ShutDown;
use data_runner_core::orchestrator::Policy;
use data_runner_core::workflow::{Polling, WorkerTypes};
use data_runner_engine::{Gate, Order, SupervisorBuilder};
use data_runner_examples::{Repository, print_outcome, shell_executor, shell_worker_type};
use data_runner_exec::ShimCommand;
use data_runner_git::{LocalPaths, Opener, OpenerOptions};
use data_runner_grpc::{GrpcTransport, ServerOptions};
use data_runner_local::{FolderBlobs, LocalOptions, LocalProvisioner};
use data_runner_sqlite::SqliteStore;

const AGENT_MODE: &str = "internal-agent";

fn main() -> anyhow::Result<ExitCode> {
    // First of all, while there is one thread: an agent starts this program again as the shim of each job.
    if let Some(code) = data_runner_agent::carry_out_hidden_mode() {
        return Ok(code);
    }
    let runtime = tokio::runtime::Runtime::new()?;
    if std::env::args_os().nth(1).is_some_and(|mode| mode == AGENT_MODE) {
        runtime.block_on(agent())?;
    } else {
        let folder = tempfile::tempdir()?;
        runtime.block_on(supervise(folder.path()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn supervise(folder: &Path) -> anyhow::Result<()> {
    // One store stands behind three ports: the state, the logs, and the queries.
    let store = Arc::new(SqliteStore::open(folder.join("state")).await?);
    // An agent gets the code of its own live attempts only: the transport asks the gate, and the engine answers there.
    let gate = Gate::default();
    let anywhere = "127.0.0.1:0".parse()?;
    let (transport, address) =
        GrpcTransport::bind(anywhere, Arc::new(gate.clone()), ServerOptions::default()).await?;
    let provisioner = LocalProvisioner::new(LocalOptions {
        agent_command: vec![std::env::current_exe()?.into(), AGENT_MODE.into()],
        state: folder.join("workers"),
        grpc_url: format!("http://{address}"),
        env: Vec::new(),
        joining: None,
    })?;
    let supervisor = SupervisorBuilder {
        state: store.clone(),
        catalog: store.clone(),
        logs: store.clone(),
        blobs: Arc::new(FolderBlobs::new(folder.join("blobs"))),
        artifacts: Arc::new(FolderBlobs::new(folder.join("artifacts"))),
        // Plain folders as repositories, with the files as they are; a server would take git URLs only, the default.
        opener: Arc::new(Opener::new(OpenerOptions {
            local: LocalPaths::Files,
            ..OpenerOptions::new(folder.join("mirrors"))
        })),
        transport,
        gate,
        provisioner: Some(Arc::new(provisioner)),
        policy: Policy::local(1, 1),
        worker_types: WorkerTypes::default().with(shell_worker_type()?),
        polling: Polling::default(),
        clock: SupervisorBuilder::system_clock(),
    }
    .start()
    .await?;

    // From here on everything goes through the handle, which may be cloned and given to whoever needs it.
    let handle = supervisor.handle();
    let repository = Repository::new(folder).with(
        "greet",
        &[
            ("config.yaml", "worker_type: shell\ninstance_size: t3.small\nparams: {name: {type: string}}\n"),
            ("workflow.sh", "echo \"hello, $DATA_RUNNER_PARAM_NAME\"\n"),
        ],
    )?;
    handle.register(repository.registration()).await?;
    let params = serde_json::Map::from_iter([("name".to_owned(), "embedder".into())]);
    let execution = handle.execute("greet", Order { params, ..Order::default() }).await?;
    let ended = handle.until_ended(execution.id).await?;
    print_outcome(&handle, &ended).await?;

    // Ends the agents after their jobs. Without it they would go on, and find the next supervisor on the same state.
    handle.shut_down(ShutDown::Drain).await?;
    supervisor.stop().await;
    store.close().await?;
    Ok(())
}

/// What the provisioner tells an agent comes in environment variables; these options read them.
#[derive(Parser)]
struct Agent {
    #[command(flatten)]
    options: AgentOptions,
}

async fn agent() -> anyhow::Result<()> {
    let Agent { options } = Agent::parse_from([AGENT_MODE]);
    let runner = data_runner_agent::runner(&options, ShimCommand::own_program()?)?;
    data_runner_agent::run_with(&options, vec![shell_executor(runner)?]).await
}
