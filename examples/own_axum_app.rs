//! Data Runner's REST API inside an axum application of one's own, beside routes that use the engine directly.
//!
//!     cargo run -p data-runner-examples --bin own_axum_app

use std::path::Path;
use std::process::ExitCode;

use axum::Router;
use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::routing::post;
use data_runner_core::workflow::WorkerTypes;
use data_runner_engine::{Handle, Order, RequestError};
use data_runner_examples::{Repository, SmallSystem, shell_executor, shell_worker_type};
use data_runner_exec::{RunOptions, Runner, ShimCommand, ShimPool};
use data_runner_rest::RouterOptions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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
    let worker_types = WorkerTypes::default().with(shell_worker_type()?);
    let shims = ShimPool::new(ShimCommand::own_program()?, 1)?;
    let shell = shell_executor(Runner::new(shims, RunOptions::default()))?;
    let system = SmallSystem::start(folder, worker_types.clone(), vec![shell]).await?;
    let repository = Repository::new(folder).with(
        "greet",
        &[
            ("config.yaml", "worker_type: shell\ninstance_size: t3.small\nparams: {name: {type: string}}\n"),
            ("workflow.sh", "echo \"hello, $DATA_RUNNER_PARAM_NAME\"\n"),
        ],
    )?;
    system.handle().register(repository.registration()).await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let app = app(system.handle(), worker_types);
    // Any server serves it; this one also ends the streams that are open when it is to stop.
    let server = tokio::spawn(data_runner_rest::serve(listener, app, stop.clone().cancelled_owned()));

    visit(&url).await?;

    stop.cancel();
    server.await??;
    system.end().await
}

/// The application: its own routes, and Data Runner below `/data-runner`.
fn app(handle: Handle, worker_types: WorkerTypes) -> Router {
    let api = data_runner_rest::router(
        handle.clone(),
        // The same worker types as the supervisor's, for `/validate`.
        RouterOptions { worker_types, ..RouterOptions::default() },
    );
    Router::new().route("/greetings/{name}", post(greet)).with_state(handle).nest("/data-runner", api)
}

/// A route of the application's own: it runs a workflow and answers when that has ended.
async fn greet(
    State(handle): State<Handle>,
    extract::Path(name): extract::Path<String>,
) -> Result<String, (StatusCode, String)> {
    let params = serde_json::Map::from_iter([("name".to_owned(), name.into())]);
    let order = Order { params, ..Order::default() };
    let execution = handle.execute("greet", order).await.map_err(refused)?;
    let ended = handle.until_ended(execution.id).await.map_err(refused)?;
    Ok(format!("greeting ended as {}", ended.state.name()))
}

fn refused(error: RequestError) -> (StatusCode, String) {
    (StatusCode::BAD_GATEWAY, error.to_string())
}

/// What a client of the application sees.
async fn visit(url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let answer = client.post(format!("{url}/greetings/Ada")).send().await?.error_for_status()?;
    println!("POST /greetings/Ada: {}", answer.text().await?);

    let answer = client.get(format!("{url}/data-runner/executions")).send().await?.error_for_status()?;
    let executions: serde_json::Value = answer.json().await?;
    let newest = &executions["items"][0];
    println!("GET /data-runner/executions: {} {}", newest["workflow"], newest["state"]);

    let log = format!("{url}/data-runner/executions/{}/logs", newest["id"].as_str().unwrap_or_default());
    let answer = client.get(log).send().await?.error_for_status()?;
    print!("GET /data-runner/executions/ID/logs: {}", answer.text().await?);
    Ok(())
}
