//! The agent's wiring: options, adapters, signals. `data-runner-agent` is these lines and a `main`; the command line
//! carries the same as a hidden mode, so that `data-runner dev` needs no second program.

mod alone;
mod aws;
mod download;
mod executors;
mod joining;
mod options;
mod own_machine;
mod preparing;
mod signals;
mod telemetry;
mod unpack;
mod worker_id;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use data_runner_core::agent::{AgentPolicy, EndReason};
use data_runner_core::port::Executor;
use data_runner_core::worker::AgentFacts;
use data_runner_engine::{AgentBuilder, SystemClock};
use data_runner_exec::{ShimCommand, machine};
use tokio::sync::mpsc;

pub use alone::run_alone;
pub use executors::{runner, stock as stock_executors};
pub use options::{AgentOptions, LogFormat};
pub use own_machine::{Moment, OwnMachineOptions};
pub use unpack::TarZstd;

/// Does what this process is asked to do by a hidden first argument, if it is: `internal-shim` makes it the shim of one
/// job, `internal-prepare TYPE STATE` lets it make what jobs of that type need. Call it first thing in `main`, while the
/// process has one thread.
pub fn carry_out_hidden_mode() -> Option<ExitCode> {
    let mode = std::env::args_os().nth(1)?;
    if mode == preparing::MODE {
        return Some(prepare());
    }
    (mode == data_runner_exec::shim::MODE).then(|| {
        let code = data_runner_exec::shim::main();
        ExitCode::from(u8::try_from(code).unwrap_or(1))
    })
}

fn prepare() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(2).collect();
    let [worker_type, state] = &arguments[..] else {
        eprintln!("error: {} wants a worker type and a folder", preparing::MODE);
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let prepared = runtime
        .context("the runtime could not be started")
        .and_then(|runtime| runtime.block_on(preparing::prepare(worker_type, state.as_ref())));
    match prepared {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs an agent in a runtime of its own until it ends. What went wrong is said on stderr, with all its causes.
pub fn run_to_end(options: &AgentOptions) -> ExitCode {
    telemetry::install(options);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.context("the runtime could not be started").and_then(|runtime| {
        let ended = runtime.block_on(run(options));
        // A job's task that still blocks is not waited for: its job goes on under its shim.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the agent ends");
            ExitCode::FAILURE
        }
    }
}

/// Runs an agent with the stock executors. See [`run_with`].
pub async fn run(options: &AgentOptions) -> anyhow::Result<()> {
    let shims = match &options.shim {
        Some(program) => ShimCommand(vec![program.into()]),
        None => ShimCommand::own_program().context("this program's own path is not known")?,
    };
    let runner = executors::runner(options, shims)?;
    run_with(options, executors::stock(options, &runner)?).await
}

/// Runs an agent with these executors until it is drained, stopped, or without a supervisor for too long (which is an
/// error: its results wait on disk for the next start). A machine that is its own is powered off after that.
pub async fn run_with(options: &AgentOptions, executors: Vec<Arc<dyn Executor>>) -> anyhow::Result<()> {
    let agent = serve(options, executors);
    match options.own_machine.machine() {
        Some(machine) => machine.live(&options.state_dir, agent).await,
        None => agent.await,
    }
}

async fn serve(options: &AgentOptions, executors: Vec<Arc<dyn Executor>>) -> anyhow::Result<()> {
    data_runner_pki::install_crypto();
    let (tell, mut signals) = mpsc::channel(4);
    signals::listen(tell.clone(), options.own_machine.on_terminate())
        .context("signals cannot be listened to")?;
    std::fs::create_dir_all(&options.state_dir)
        .with_context(|| format!("the state folder {} cannot be made", options.state_dir.display()))?;
    own_machine::note_first_start(&options.state_dir).context("the state folder cannot be written to")?;
    let worker = worker_id::of(options)?;
    let transport = tokio::select! {
        transport = joining::transport(options, worker) => transport?,
        Some(_) = signals.recv() => {
            tracing::info!("asked to end before it joined");
            return Ok(());
        }
    };
    let imds = aws::metadata(options.own_machine.metadata_endpoint.as_deref())?;
    if let (Some(_), Some(imds)) = (options.own_machine.machine(), imds.clone()) {
        own_machine::watch(imds, tell);
    }
    let machine = machine::facts();
    let agent = AgentBuilder {
        worker,
        transport: Arc::new(transport),
        executors,
        unpacker: Arc::new(TarZstd),
        download: Some(Arc::new(download::HttpDownload::new()?)),
        secrets: Arc::new(aws::secrets(imds, options.own_machine.environment_secrets())),
        state: options.state_dir.clone(),
        bundle_cache_bytes: options.bundle_cache_bytes,
        policy: options
            .own_machine
            .policy(AgentPolicy { slots: options.slots.get(), ..AgentPolicy::default() }),
        facts: AgentFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            worker_types: Vec::new(),
            cpus: machine.cpus,
            memory_bytes: machine.memory_bytes,
            slots: options.slots.get(),
            host: machine.host,
        },
        clock: Arc::new(SystemClock::start()),
    };
    match agent.open()?.run(signals).await? {
        reason @ (EndReason::Drained | EndReason::Stopped) => {
            tracing::info!(?reason, "the agent ends");
            Ok(())
        }
        EndReason::Abandoned => anyhow::bail!("no supervisor at {} for too long", options.supervisor),
    }
}
