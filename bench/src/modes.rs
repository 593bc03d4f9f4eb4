//! The processes that are measured.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use data_runner_agent::AgentOptions;
use data_runner_core::orchestrator::{Policy, Pool};
use data_runner_core::port::{Executor, Prepared, Provisioner};
use data_runner_core::workflow::{Polling, ScriptLanguage, WorkerTypeSpec, WorkerTypes};
use data_runner_engine::{Gate, Supervisor, SupervisorBuilder};
use data_runner_exec::{CommandExecutor, Runner, ShimCommand};
use data_runner_git::{LocalPaths, Opener, OpenerOptions};
use data_runner_grpc::{GrpcTransport, ServerOptions};
use data_runner_local::FolderBlobs;
use data_runner_rest::RouterOptions;
use data_runner_sqlite::SqliteStore;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How the supervisor of the bench is started.
#[derive(clap::Args)]
pub struct SupervisorArgs {
    #[arg(long)]
    state_dir: PathBuf,
    /// Its addresses are written to this file, REST and gRPC, a line each, once it serves.
    #[arg(long)]
    ready_file: PathBuf,
}

/// Runs a future in a runtime of its own.
pub fn in_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(work);
    runtime.shutdown_background();
    ended
}

/// The worker types of the stock supervisor, and those of the bench.
fn worker_types() -> anyhow::Result<WorkerTypes> {
    let mut types = WorkerTypes::default();
    for name in ["true", "command"] {
        let language = ScriptLanguage::Other;
        types = types.with(WorkerTypeSpec {
            name: name.parse()?,
            entrypoint: "workflow.sh".to_owned(),
            language,
        });
    }
    Ok(types)
}

/// A supervisor of the bench, and what it stands on.
pub struct Parts {
    pub supervisor: Supervisor,
    store: Arc<SqliteStore>,
    grpc: SocketAddr,
}

impl Parts {
    /// Ends it; what runs goes on.
    pub async fn end(self) -> anyhow::Result<()> {
        self.supervisor.stop().await;
        Ok(self.store.close().await?)
    }
}

/// The stock parts, wired as any embedder would.
pub async fn parts(
    state: &Path,
    provisioner: Option<Arc<dyn Provisioner>>,
    policy: Policy,
) -> anyhow::Result<Parts> {
    std::fs::create_dir_all(state)?;
    let store = Arc::new(SqliteStore::open(state).await?);
    let grpc = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = grpc.local_addr()?;
    let gate = Gate::default();
    let mut opener = OpenerOptions::new(state.join("repositories"));
    opener.local = LocalPaths::Commits;
    let builder = SupervisorBuilder {
        state: store.clone(),
        catalog: store.clone(),
        logs: store.clone(),
        blobs: Arc::new(FolderBlobs::new(state.join("blobs"))),
        artifacts: Arc::new(FolderBlobs::new(state.join("artifacts"))),
        opener: Arc::new(Opener::new(opener)),
        transport: GrpcTransport::serve(grpc, Arc::new(gate.clone()), ServerOptions::default()),
        gate,
        provisioner,
        policy,
        worker_types: worker_types()?,
        polling: Polling::every(Duration::from_secs(3600)),
        clock: SupervisorBuilder::system_clock(),
    };
    Ok(Parts { supervisor: builder.start().await?, store, grpc: address })
}

/// A process that holds a supervisor and serves REST.
pub async fn supervise(args: SupervisorArgs) -> anyhow::Result<()> {
    let policy = Policy { pool: Pool::None, ..Policy::local(1, 1) };
    let parts = parts(&args.state_dir, None, policy).await?;
    let rest = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let addresses = format!("{}\n{}\n", rest.local_addr()?, parts.grpc);
    let router = data_runner_rest::router(parts.supervisor.handle(), RouterOptions::default());
    let stop = CancellationToken::new();
    let serving = tokio::spawn(data_runner_rest::serve(rest, router, stop.clone().cancelled_owned()));
    std::fs::write(&args.ready_file, addresses)?;
    signal(SignalKind::terminate())?.recv().await;
    stop.cancel();
    serving.await.context("the server ended badly")??;
    parts.end().await
}

/// The stock agent with the executors of the bench beside its own.
pub async fn work(options: AgentOptions) -> anyhow::Result<()> {
    // Beside an agent as it is installed lies the small shim; the task that starts the bench has just built it.
    let small = std::env::current_exe()?.with_file_name("data-runner-shim");
    let shims = if small.is_file() { ShimCommand(vec![small.into()]) } else { ShimCommand::own_program()? };
    let runner: Runner = data_runner_agent::runner(&options, shims)?;
    let nothing = CommandExecutor::new("true".parse()?, runner.clone(), |_| {
        Ok(Prepared { command: vec!["/bin/true".into()], ..Prepared::default() })
    });
    let command = CommandExecutor::new("command".parse()?, runner.clone(), |run| {
        Ok(Prepared { command: vec!["/bin/sh".into(), (&run.job.entrypoint).into()], ..Prepared::default() })
    });
    let mut executors: Vec<Arc<dyn Executor>> = vec![Arc::new(nothing), Arc::new(command)];
    executors.extend(data_runner_agent::stock_executors(&options, &runner)?);
    data_runner_agent::run_with(&options, executors).await
}
