//! `kill -9` of an agent: its jobs go on under their shims and are taken over, or their end is told. Never are they
//! stuck.

use data_runner_tests::{Agent, Repository, Sandbox, Server, Signal, polars, signal, until, workflow};
use serde_json::{Value, json};

const TALKS: &str = r#"
import os, time
folder = os.environ["DATA_RUNNER_PARAM_FOLDER"]
print("started", flush=True)
while not os.path.exists(folder + "/gate"):
    time.sleep(0.01)
for i in range(10_000):
    print("after", i)
open(folder + "/done", "w").close()
"#;

/// So that a silent agent is given up after seconds.
const SHORT: &str = "local: {workers: 1}\nagents: {heartbeat: 1s, suspect_after: 2s, lost_after: 3s}\n";

fn talks(sandbox: &Sandbox, config: &str) -> Repository {
    let config = polars(&format!("params:\n  folder: {{type: string}}\n{config}"));
    Repository::with(sandbox.join("etl"), [workflow("talks", &config, TALKS)])
}

fn whole_log() -> Vec<u8> {
    let after: String = (0..10_000).map(|i| format!("after {i}\n")).collect();
    format!("started\n{after}").into_bytes()
}

/// The process of a local worker's agent.
fn agent_of(sandbox: &Sandbox, worker: &Value) -> i32 {
    let worker = worker.as_str().unwrap();
    let agents = sandbox.agents();
    let own = agents.iter().find(|agent| agent.has("DATA_RUNNER_WORKER_ID", worker));
    own.unwrap_or_else(|| panic!("no agent of {worker} among {agents:?}")).pid
}

#[tokio::test]
async fn a_local_agent_that_is_killed_is_started_again_and_takes_its_job_over() {
    let sandbox = Sandbox::new();
    let repository = talks(&sandbox, "");
    let server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let id = server.rest.execute("talks", json!({"folder": sandbox.text("")})).await;
    server.rest.logs(&id, "started").await;
    let before = server.rest.execution(&id).await;
    let killed = agent_of(&sandbox, &before["worker_id"]);
    signal(killed, Signal::KILL);
    sandbox.touch("gate");
    until("the job to go on without its agent", async || sandbox.join("done").exists().then_some(())).await;
    let ended = server.rest.succeeded(&id).await;
    assert_eq!((&ended["attempt"], &ended["worker_id"]), (&json!(1), &before["worker_id"]));
    assert!(server.rest.log(&id, "").await == whole_log());
    assert_ne!(agent_of(&sandbox, &before["worker_id"]), killed);
}

#[tokio::test]
async fn agent_and_supervisor_killed_at_once_lose_nothing() {
    let sandbox = Sandbox::new();
    let repository = talks(&sandbox, "");
    let mut server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let rest = server.rest.clone();
    let id = rest.execute("talks", json!({"folder": sandbox.text("")})).await;
    rest.logs(&id, "started").await;
    let worker = rest.execution(&id).await["worker_id"].clone();
    server.kill();
    signal(agent_of(&sandbox, &worker), Signal::KILL);
    sandbox.touch("gate");
    until("the job to go on alone", async || sandbox.join("done").exists().then_some(())).await;
    server.again().await;
    assert_eq!(rest.succeeded(&id).await["attempt"], 1);
    assert!(rest.log(&id, "").await == whole_log());
}

/// A supervisor with a local worker and an agent that joined, each with one job; the id of the joined agent's.
async fn both_busy(sandbox: &Sandbox, server: &Server<'_>, agent: &Agent<'_>) -> (String, String) {
    let (rest, worker) = (&server.rest, agent.worker().await);
    until("the agent to join", async || {
        let worker = rest.get(&format!("/workers/{worker}")).await;
        (worker.status == 200 && worker.json()["state"] == "idle").then_some(())
    })
    .await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let id = rest.execute("talks", json!({"folder": sandbox.text("")})).await;
        ids.push(id);
    }
    for id in &ids {
        rest.logs(id, "started").await;
    }
    let first = rest.execution(&ids[0]).await["worker_id"] == json!(worker);
    let (joined, local) = if first { (0, 1) } else { (1, 0) };
    assert_eq!(rest.execution(&ids[joined]).await["worker_id"], json!(worker));
    (ids[joined].clone(), ids[local].clone())
}

#[tokio::test]
async fn a_separate_agent_that_is_killed_and_started_again_takes_its_job_over() {
    let sandbox = Sandbox::new();
    let repository = talks(&sandbox, "");
    let server = Server::supervisor(&sandbox, "local: {workers: 1}\n").await;
    server.rest.register(&repository.url()).await;
    let mut agent = Agent::start(&sandbox, "agent", &server.grpc());
    let (id, other) = both_busy(&sandbox, &server, &agent).await;
    agent.program.kill();
    sandbox.touch("gate");
    server.rest.succeeded(&other).await;
    agent.again();
    assert_eq!(server.rest.succeeded(&id).await["attempt"], 1);
    assert!(server.rest.log(&id, "").await == whole_log());
}

#[tokio::test]
async fn a_separate_agent_that_stays_away_costs_its_execution_the_worker_and_says_so() {
    let sandbox = Sandbox::new();
    let repository = talks(&sandbox, "retries: [{on: [worker_lost], max_attempts: 1}]\n");
    let server = Server::supervisor(&sandbox, SHORT).await;
    server.rest.register(&repository.url()).await;
    let mut agent = Agent::start(&sandbox, "agent", &server.grpc());
    let (id, other) = both_busy(&sandbox, &server, &agent).await;
    agent.program.kill();
    let ended = server.rest.ended(&id).await;
    assert_eq!(ended["state"], "failed", "{ended:#}");
    assert_eq!(ended["failure"]["cause"], "worker_lost", "{ended:#}");
    assert!(!ended["failure"]["message"].as_str().unwrap().is_empty());
    // Time is proof of its end only because its job was stopped meanwhile.
    let jobs: Vec<_> =
        sandbox.processes().into_iter().filter(|process| process.command.contains("workflow.py")).collect();
    assert_eq!(jobs.len(), 1, "the other one's: {jobs:?}");
    // What was printed until then is kept, and that the rest is missing is said.
    assert_eq!(server.rest.log(&id, "").await, b"started\n");
    let answer = server.rest.get(&format!("/executions/{id}/logs")).await;
    assert_eq!(answer.header("data-runner-log-state"), "truncated");
    sandbox.touch("gate");
    server.rest.succeeded(&other).await;
}

#[tokio::test]
async fn an_execution_whose_worker_is_lost_is_run_again_elsewhere_by_policy() {
    let sandbox = Sandbox::new();
    let retries = "retries: [{on: [worker_lost], max_attempts: 2, backoff: {initial: 1s, max: 1s}}]\n";
    let repository = talks(&sandbox, retries);
    let server = Server::supervisor(&sandbox, SHORT).await;
    server.rest.register(&repository.url()).await;
    let mut agent = Agent::start(&sandbox, "agent", &server.grpc());
    let (id, other) = both_busy(&sandbox, &server, &agent).await;
    agent.program.kill();
    let queued = until("the second attempt to be wanted", async || {
        let execution = server.rest.execution(&id).await;
        (execution["state"] == "queued").then_some(execution)
    })
    .await;
    assert_eq!(queued["attempts"][0]["failure"]["cause"], "worker_lost", "{queued:#}");
    sandbox.touch("gate");
    server.rest.succeeded(&other).await;
    let ended = server.rest.succeeded(&id).await;
    assert_eq!(
        (&ended["attempt"], &ended["worker_id"]),
        (&json!(2), &server.rest.execution(&other).await["worker_id"])
    );
}
