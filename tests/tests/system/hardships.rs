//! Frozen processes, shims that die, workers that a person takes away, and kills under load: an execution has one live
//! attempt at most, and always ends.

use data_runner_tests::{Repository, Sandbox, Server, Signal, polars, signal, until, workflow};
use serde_json::json;
use sqlx::{Connection as _, Row as _, SqliteConnection};

/// Holds a lock for as long as it lives, so that a second one at the same time fails by itself.
const ALONE: &str = r#"
import fcntl, os, sys, time
folder = os.environ["DATA_RUNNER_PARAM_FOLDER"]
lock = open(folder + "/lock", "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit("two at once")
print("started", flush=True)
while not os.path.exists(folder + "/gate"):
    time.sleep(0.01)
print("ended")
"#;

/// So that a silent agent is given up after seconds.
const SHORT: &str = "local: {workers: 1}\nagents: {heartbeat: 1s, suspect_after: 2s, lost_after: 3s}\n";

fn alone(sandbox: &Sandbox, config: &str) -> Repository {
    let config = polars(&format!("params:\n  folder: {{type: string}}\n{config}"));
    Repository::with(sandbox.join("etl"), [workflow("alone", &config, ALONE)])
}

/// Starts the workflow and waits until its job runs.
async fn started(server: &Server<'_>, sandbox: &Sandbox) -> String {
    let id = server.rest.execute("alone", json!({"folder": sandbox.text("")})).await;
    server.rest.logs(&id, "started").await;
    id
}

#[tokio::test]
async fn a_frozen_agent_is_ended_with_its_job_before_the_next_attempt_starts() {
    let sandbox = Sandbox::new();
    let retries = "retries: [{on: [worker_lost], max_attempts: 2, backoff: {initial: 1s, max: 1s}}]\n";
    let repository = alone(&sandbox, retries);
    let server = Server::supervisor(&sandbox, SHORT).await;
    server.rest.register(&repository.url()).await;
    let id = started(&server, &sandbox).await;
    for agent in sandbox.agents() {
        signal(agent.pid, Signal::STOP);
    }
    until("the second attempt", async || {
        let execution = server.rest.execution(&id).await;
        (execution["state"] == "running" && execution["attempt"] == 2).then_some(())
    })
    .await;
    sandbox.touch("gate");
    let ended = server.rest.succeeded(&id).await;
    assert_eq!(ended["attempts"][0]["failure"]["cause"], "worker_lost", "{ended:#}");
    assert_eq!(server.rest.log(&id, "attempt=1").await, b"started\n");
    assert_eq!(server.rest.log(&id, "attempt=2").await, b"started\nended\n");
}

#[tokio::test]
async fn a_supervisor_that_was_frozen_gives_nobody_up() {
    let sandbox = Sandbox::new();
    let repository = alone(&sandbox, "");
    let server = Server::supervisor(&sandbox, SHORT).await;
    server.rest.register(&repository.url()).await;
    let id = started(&server, &sandbox).await;
    let worker = server.rest.execution(&id).await["worker_id"].clone();
    server.program.signal(Signal::STOP);
    // This is what is tested: more silence than an agent is allowed.
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    server.program.signal(Signal::CONT);
    let looks = server.rest.get("/version").await;
    assert_eq!(looks.status, 200);
    sandbox.touch("gate");
    let ended = server.rest.succeeded(&id).await;
    assert_eq!((&ended["attempt"], &ended["worker_id"]), (&json!(1), &worker), "{ended:#}");
    assert_eq!(server.rest.log(&id, "").await, b"started\nended\n");
}

#[tokio::test]
async fn a_job_whose_shim_is_killed_dies_with_it_and_that_is_told() {
    let sandbox = Sandbox::new();
    let repository = alone(&sandbox, "retries: [{on: [worker_lost], max_attempts: 1}]\n");
    let server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let id = started(&server, &sandbox).await;
    let job =
        sandbox.processes().into_iter().find(|process| process.command.contains("workflow.py")).unwrap();
    signal(job.parent(), Signal::KILL);
    let ended = server.rest.ended(&id).await;
    assert_eq!(
        (&ended["state"], &ended["failure"]["cause"]),
        (&json!("failed"), &json!("worker_lost")),
        "{ended:#}"
    );
    assert!(!ended["failure"]["message"].as_str().unwrap().is_empty());
    assert!(!data_runner_tests::is_alive(job.pid));
}

#[tokio::test]
async fn a_worker_that_a_person_terminates_goes_and_its_execution_runs_elsewhere() {
    let sandbox = Sandbox::new();
    let repository = alone(&sandbox, "");
    let server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let rest = &server.rest;
    let id = started(&server, &sandbox).await;
    let worker = rest.execution(&id).await["worker_id"].as_str().unwrap().to_owned();
    let answer = rest.ask(reqwest::Method::DELETE, &format!("/workers/{worker}"), &[], None).await;
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    until("the second attempt", async || {
        let execution = rest.execution(&id).await;
        (execution["state"] == "running" && execution["attempt"] == 2).then_some(())
    })
    .await;
    sandbox.touch("gate");
    let ended = rest.succeeded(&id).await;
    assert_eq!(ended["attempts"][0]["failure"]["cause"], "interrupted", "{ended:#}");
    assert_ne!(ended["worker_id"], json!(worker));
    assert_eq!(rest.get(&format!("/workers/{worker}")).await.ok()["state"], "terminated");
}

#[tokio::test]
async fn a_worker_that_a_person_drains_finishes_its_job_first() {
    let sandbox = Sandbox::new();
    let repository = alone(&sandbox, "");
    let server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let rest = &server.rest;
    let id = started(&server, &sandbox).await;
    let worker = rest.execution(&id).await["worker_id"].as_str().unwrap().to_owned();
    rest.post(&format!("/workers/{worker}/drain"), json!({})).await.ok();
    assert_eq!(rest.execution(&id).await["state"], "running");
    sandbox.touch("gate");
    assert_eq!(rest.succeeded(&id).await["attempt"], 1);
    until("the worker to go", async || {
        (rest.get(&format!("/workers/{worker}")).await.ok()["state"] == "terminated").then_some(())
    })
    .await;
    // Another one takes its place.
    let next = rest.execute("alone", json!({"folder": sandbox.text("")})).await;
    assert_ne!(rest.succeeded(&next).await["worker_id"], json!(worker));
}

#[tokio::test]
async fn kills_under_load_lose_no_execution_and_no_byte() {
    const EXECUTIONS: usize = 16;
    let sandbox = Sandbox::new();
    let script = r#"
import os
name = os.environ["DATA_RUNNER_PARAM_NAME"]
open(f"{os.environ['DATA_RUNNER_PARAM_FOLDER']}/ran-{name}", "a").write("x")
for i in range(3000):
    print(name, i)
"#;
    let config = polars(
        "params:\n  name: {type: string}\n  folder: {type: string}\n\
         retries: [{on: [worker_lost], max_attempts: 5, backoff: {initial: 1s, max: 1s}}]\n",
    );
    let repository = Repository::with(sandbox.join("etl"), [workflow("prints", &config, script)]);
    let mut server = Server::dev(&sandbox, &["--workers", "2", repository.url().as_str()]).await;
    let rest = server.rest.clone();
    let mut ids = Vec::new();
    for name in 0..EXECUTIONS {
        ids.push(rest.execute("prints", json!({"name": name.to_string(), "folder": sandbox.text("")})).await);
    }
    for kill in 1..=6 {
        let wanted = kill * 2;
        until("some of them to have ended", async || {
            let ended = rest.get("/executions?state=success&limit=100").await.ok();
            (ended["items"].as_array().unwrap().len() >= wanted).then_some(())
        })
        .await;
        if kill % 2 == 0 {
            sandbox.agents().iter().take(1).for_each(|agent| signal(agent.pid, Signal::KILL));
        }
        server.kill();
        server.again().await;
    }
    for (name, id) in ids.iter().enumerate() {
        let ended = rest.succeeded(id).await;
        // An agent that is killed between the assignment and the start of the job reports that it never ran.
        let attempts = ended["attempts"].as_array().unwrap();
        for before in attempts.iter().rev().skip(1) {
            assert_eq!(
                (&before["failure"]["cause"], &before["phases"]["started"]),
                (&json!("worker_lost"), &json!(null))
            );
        }
        let wanted: String = (0..3000).map(|i| format!("{name} {i}\n")).collect();
        assert!(rest.log(id, "").await == wanted.as_bytes());
        let ran = std::fs::read_to_string(sandbox.join(&format!("ran-{name}"))).unwrap();
        assert_eq!(ran, "x", "{name} ran once");
    }
    server.terminate();
    assert_eq!(server.program.end().await.code(), Some(0));
    let url = format!("sqlite://{}", server.database().display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let verdict = sqlx::query("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(verdict.get::<String, _>(0), "ok");
}
