//! SIGTERM: what runs ends first, and nothing is left. A second one waits for nobody.

use data_runner_tests::{Agent, Repository, Sandbox, Server, Signal, polars, until, workflow};
use serde_json::json;

const WAITS: &str = r#"
import os, time
print("started", flush=True)
while not os.path.exists(os.environ["DATA_RUNNER_PARAM_GATE"]):
    time.sleep(0.01)
print("ended well")
"#;

fn waits(sandbox: &Sandbox) -> Repository {
    let config = polars("params:\n  gate: {type: string}\n");
    Repository::with(sandbox.join("etl"), [workflow("waits", &config, WAITS)])
}

#[tokio::test]
async fn dev_lets_its_jobs_end_and_leaves_with_0() {
    let sandbox = Sandbox::new();
    let repository = waits(&sandbox);
    let mut server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let rest = server.rest.clone();
    let running = rest.execute("waits", json!({"gate": sandbox.text("gate")})).await;
    rest.logs(&running, "started").await;
    let waiting = rest.execute("waits", json!({"gate": sandbox.text("gate")})).await;

    server.terminate();
    let state = until("the drain to be seen", async || {
        let execution = rest.execution(&waiting).await;
        (execution["waiting"]["reason"] == "draining").then_some(execution)
    })
    .await;
    assert_eq!(state["state"], "queued", "{state:#}");
    let refused = rest.post("/workflows/waits/execute", json!({"params": {"gate": "x"}})).await;
    assert_eq!(refused.refusal(), (503, "unavailable".to_owned()));
    sandbox.touch("gate");
    assert_eq!(server.program.end().await.code(), Some(0), "{}", server.program.said());
    let left = sandbox.processes();
    assert!(left.is_empty(), "{left:?}");

    server.again().await;
    assert_eq!(rest.succeeded(&running).await["attempt"], 1);
    assert_eq!(rest.log(&running, "").await, b"started\nended well\n");
    rest.succeeded(&waiting).await;
}

#[tokio::test]
async fn a_second_sigterm_ends_dev_and_its_jobs_at_once() {
    let sandbox = Sandbox::new();
    let repository = waits(&sandbox);
    let mut server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let rest = server.rest.clone();
    let id = rest.execute("waits", json!({"gate": sandbox.text("gate")})).await;
    rest.logs(&id, "started").await;
    server.terminate();
    until("the first one to be heard", async || {
        server.program.said().contains("execution left").then_some(())
    })
    .await;
    server.terminate();
    assert_eq!(server.program.end().await.code(), Some(0), "{}", server.program.said());
    let left = sandbox.processes();
    assert!(left.is_empty(), "{left:?}");

    // It was not the job's fault: it runs again after the next start.
    sandbox.touch("gate");
    server.again().await;
    let ended = rest.succeeded(&id).await;
    assert_eq!(ended["attempts"][0]["failure"]["cause"], "interrupted", "{ended:#}");
    assert_eq!(ended["attempt"], 2);
}

#[tokio::test]
async fn dev_with_nothing_to_do_leaves_soon() {
    let sandbox = Sandbox::new();
    let mut server = Server::dev(&sandbox, &[]).await;
    server.program.signal(Signal::INT);
    assert_eq!(server.program.end().await.code(), Some(0), "{}", server.program.said());
    let left = sandbox.processes();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_separate_agent_lets_its_job_end_and_leaves_with_0() {
    let sandbox = Sandbox::new();
    let repository = waits(&sandbox);
    let server = Server::supervisor(&sandbox, "local: {workers: 1}\n").await;
    let rest = &server.rest;
    rest.register(&repository.url()).await;
    let mut agent = Agent::start(&sandbox, "agent", &server.grpc());
    let worker = agent.worker().await;
    until("the agent to join", async || {
        (rest.get(&format!("/workers/{worker}")).await.status == 200).then_some(())
    })
    .await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(rest.execute("waits", json!({"gate": sandbox.text("gate")})).await);
    }
    for id in &ids {
        rest.logs(id, "started").await;
    }
    agent.program.signal(Signal::TERM);
    until("the drain to be seen", async || {
        (rest.get(&format!("/workers/{worker}")).await.ok()["state"] == "draining").then_some(())
    })
    .await;
    sandbox.touch("gate");
    assert_eq!(agent.program.end().await.code(), Some(0), "{}", agent.program.said());
    for id in &ids {
        assert_eq!(rest.succeeded(id).await["attempt"], 1);
    }
}

#[tokio::test]
async fn a_supervisor_that_is_asked_to_end_ends_its_local_agents_and_lets_nothing_run() {
    let sandbox = Sandbox::new();
    let repository = waits(&sandbox);
    let mut server = Server::supervisor(&sandbox, "local: {workers: 1}\n").await;
    let rest = server.rest.clone();
    rest.register(&repository.url()).await;
    let id = rest.execute("waits", json!({"gate": sandbox.text("gate")})).await;
    rest.logs(&id, "started").await;
    server.terminate();
    until("the drain to be heard", async || server.program.said().contains("draining").then_some(())).await;
    sandbox.touch("gate");
    assert_eq!(server.program.end().await.code(), Some(0), "{}", server.program.said());
    let left = sandbox.processes();
    assert!(left.is_empty(), "{left:?}");
    server.again().await;
    assert_eq!(rest.succeeded(&id).await["attempt"], 1);
}

#[tokio::test]
async fn a_second_sigterm_stops_the_job_of_a_separate_agent_and_it_runs_elsewhere() {
    let sandbox = Sandbox::new();
    let repository = waits(&sandbox);
    let server = Server::supervisor(&sandbox, "local: {workers: 1}\n").await;
    let rest = &server.rest;
    rest.register(&repository.url()).await;
    let mut agent = Agent::start(&sandbox, "agent", &server.grpc());
    let worker = agent.worker().await;
    until("the agent to join", async || {
        (rest.get(&format!("/workers/{worker}")).await.status == 200).then_some(())
    })
    .await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(rest.execute("waits", json!({"gate": sandbox.text("gate")})).await);
    }
    for id in &ids {
        rest.logs(id, "started").await;
    }
    let first = rest.execution(&ids[0]).await["worker_id"] == json!(worker);
    let id = if first { &ids[0] } else { &ids[1] };
    agent.program.signal(Signal::TERM);
    until("the drain to be seen", async || {
        (rest.get(&format!("/workers/{worker}")).await.ok()["state"] == "draining").then_some(())
    })
    .await;
    agent.program.signal(Signal::TERM);
    assert_eq!(agent.program.end().await.code(), Some(0), "{}", agent.program.said());
    sandbox.touch("gate");
    let ended = rest.succeeded(id).await;
    assert_eq!(ended["attempts"][0]["failure"]["cause"], "interrupted", "{ended:#}");
    assert_ne!(ended["worker_id"], json!(worker));
}
