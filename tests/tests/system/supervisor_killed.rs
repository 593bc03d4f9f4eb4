//! `kill -9` of a supervisor: jobs go on, and the next supervisor takes them back with every byte of their logs.

use data_runner_tests::{Agent, Repository, Sandbox, Server, polars, until, workflow};
use serde_json::json;

/// Prints, waits for its gate, prints on, and says in a file that it is done.
const TALKS: &str = r#"
import os, time
folder = os.environ["DATA_RUNNER_PARAM_FOLDER"]
for i in range(20_000):
    print("before", i)
while not os.path.exists(folder + "/gate"):
    time.sleep(0.01)
for i in range(20_000):
    print("after", i)
open(folder + "/done", "w").close()
if os.path.exists(folder + "/hold"):
    while not os.path.exists(folder + "/end"):
        time.sleep(0.01)
"#;

fn talks(sandbox: &Sandbox) -> Repository {
    let config = polars("params:\n  folder: {type: string}\n");
    Repository::with(sandbox.join("etl"), [workflow("talks", &config, TALKS)])
}

fn whole_log() -> Vec<u8> {
    let lines = |word: &'static str| (0..20_000).map(move |i| format!("{word} {i}\n"));
    lines("before").chain(lines("after")).collect::<String>().into_bytes()
}

/// Kills the supervisor in the middle of a job; `while_down` says how far the job comes before the next one starts.
async fn survives(server: &mut Server<'_>, sandbox: &Sandbox, job: WhileDown) {
    let rest = server.rest.clone();
    let id = rest.execute("talks", json!({"folder": sandbox.text("")})).await;
    rest.logs(&id, "before 19999").await;
    let before = rest.execution(&id).await;

    server.kill();
    if job == WhileDown::GoesOn {
        sandbox.touch("hold");
    }
    sandbox.touch("gate");
    until("the job to go on without a supervisor", async || sandbox.join("done").exists().then_some(()))
        .await;
    server.again().await;
    if job == WhileDown::GoesOn {
        rest.logs(&id, "after 19999").await;
        let during = rest.execution(&id).await;
        assert_eq!(during["state"], "running", "{during:#}");
        sandbox.touch("end");
    }

    let ended = rest.succeeded(&id).await;
    assert_eq!(ended["attempt"], 1, "the job ran once: {ended:#}");
    assert_eq!(ended["worker_id"], before["worker_id"]);
    assert_eq!(ended["started_at"], before["started_at"]);
    let log = rest.log(&id, "stream=stdout").await;
    assert!(log == whole_log(), "{} bytes instead of {}", log.len(), whole_log().len());
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhileDown {
    /// It runs when the next supervisor comes.
    GoesOn,
    /// It has ended by then.
    Ends,
}

#[tokio::test]
async fn a_job_of_dev_goes_on_and_is_taken_back() {
    let sandbox = Sandbox::new();
    let repository = talks(&sandbox);
    let mut server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    survives(&mut server, &sandbox, WhileDown::GoesOn).await;
}

#[tokio::test]
async fn a_job_of_dev_that_ends_meanwhile_is_taken_back_with_its_end() {
    let sandbox = Sandbox::new();
    let repository = talks(&sandbox);
    let mut server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    survives(&mut server, &sandbox, WhileDown::Ends).await;
}

#[tokio::test]
async fn a_job_of_a_separate_agent_goes_on_and_is_taken_back() {
    let sandbox = Sandbox::new();
    let repository = talks(&sandbox);
    let mut server = Server::supervisor(&sandbox, "local: {workers: 1}\n").await;
    server.rest.register(&repository.url()).await;
    let agent = Agent::start(&sandbox, "agent", &server.grpc());
    let worker = agent.worker().await;
    // The local worker is given something to do, so that the next job is the separate agent's.
    let rest = server.rest.clone();
    until("the agent to join", async || {
        let worker = rest.get(&format!("/workers/{worker}")).await;
        (worker.status == 200 && worker.json()["state"] == "idle").then_some(())
    })
    .await;
    let first = rest.execute("talks", json!({"folder": sandbox.text("")})).await;
    let second = rest.execute("talks", json!({"folder": sandbox.text("")})).await;
    rest.logs(&first, "before 19999").await;
    rest.logs(&second, "before 19999").await;
    let on = async |id: &str| rest.execution(id).await["worker_id"].as_str().unwrap().to_owned();
    let workers = [on(&first).await, on(&second).await];
    assert!(workers.contains(&worker), "{workers:?} are not {worker}");

    server.kill();
    sandbox.touch("gate");
    until("the jobs to go on", async || sandbox.join("done").exists().then_some(())).await;
    server.again().await;
    for id in [first, second] {
        let ended = rest.succeeded(&id).await;
        assert_eq!(ended["attempt"], 1, "{ended:#}");
        assert!(rest.log(&id, "stream=stdout").await == whole_log());
    }
}

#[tokio::test]
async fn what_waited_when_the_supervisor_was_killed_runs_after_its_next_start() {
    let sandbox = Sandbox::new();
    let repository = talks(&sandbox);
    let mut server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let rest = server.rest.clone();
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(rest.execute("talks", json!({"folder": sandbox.text("")})).await);
    }
    server.kill();
    sandbox.touch("gate");
    server.again().await;
    for id in &ids {
        let ended = rest.succeeded(id).await;
        assert_eq!(ended["attempt"], 1, "{ended:#}");
        assert!(rest.log(id, "").await == whole_log());
    }
}

#[tokio::test]
async fn three_kills_in_a_row_change_nothing() {
    let sandbox = Sandbox::new();
    let repository = talks(&sandbox);
    let mut server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    let rest = server.rest.clone();
    let id = rest.execute("talks", json!({"folder": sandbox.text("")})).await;
    for _ in 0..3 {
        server.kill();
        server.again().await;
    }
    sandbox.touch("gate");
    assert_eq!(rest.succeeded(&id).await["attempt"], 1);
    assert!(rest.log(&id, "").await == whole_log());
}
