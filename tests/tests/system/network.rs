//! A wire that breaks, and one that is flooded.

use std::time::{Duration, Instant};

use data_runner_tests::{Agent, Proxy, Repository, Sandbox, Server, polars, until, workflow};
use serde_json::{Value, json};

const TALKS: &str = r#"
import os, time
folder = os.environ["DATA_RUNNER_PARAM_FOLDER"]
for step in ["one", "two", "three"]:
    for i in range(5_000):
        print(step, i)
    open(f"{folder}/{os.environ['DATA_RUNNER_EXECUTION_ID']}-{step}", "w").close()
    while not os.path.exists(folder + "/go-" + step):
        time.sleep(0.01)
"#;

async fn idle(server: &Server<'_>, agent: &Agent<'_>) -> String {
    let worker = agent.worker().await;
    until("the agent to join", async || {
        let worker = server.rest.get(&format!("/workers/{worker}")).await;
        (worker.status == 200 && worker.json()["state"] == "idle").then_some(())
    })
    .await;
    worker
}

#[tokio::test]
async fn a_cut_wire_costs_neither_the_job_nor_a_byte_of_its_log() {
    let sandbox = Sandbox::new();
    let config = polars("params:\n  folder: {type: string}\n");
    let repository = Repository::with(sandbox.join("etl"), [workflow("talks", &config, TALKS)]);
    let server = Server::supervisor(&sandbox, "local: {workers: 1}\n").await;
    let rest = &server.rest;
    rest.register(&repository.url()).await;
    let proxy = Proxy::before(&server.grpc()).await;
    let agent = Agent::start(&sandbox, "agent", &proxy.url());
    let worker = idle(&server, &agent).await;
    // One for the local worker, one for the agent behind the wire.
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(rest.execute("talks", json!({"folder": sandbox.text("")})).await);
    }
    let said = async |id: &str, step: &str| {
        let mark = sandbox.join(&format!("{id}-{step}"));
        until("the job to go on", async || mark.exists().then_some(())).await;
    };
    for id in &ids {
        rest.logs(id, "one 4999").await;
    }
    let mut workers: Vec<Value> = Vec::new();
    for id in &ids {
        workers.push(rest.execution(id).await["worker_id"].clone());
    }
    assert!(workers.contains(&json!(worker)), "{workers:?} are not {worker}");

    proxy.cut();
    sandbox.touch("go-one");
    for id in &ids {
        said(id, "two").await;
    }
    proxy.mend();
    for id in &ids {
        rest.logs(id, "two 4999").await;
    }
    // Cut again in the middle of what it says, and until after its end.
    sandbox.touch("go-two");
    proxy.cut();
    sandbox.touch("go-three");
    for id in &ids {
        said(id, "three").await;
    }
    proxy.mend();
    let wanted: String = ["one", "two", "three"]
        .iter()
        .flat_map(|step| (0..5_000).map(move |i| format!("{step} {i}\n")))
        .collect();
    for id in &ids {
        assert_eq!(rest.succeeded(id).await["attempt"], 1);
        assert!(rest.log(id, "").await == wanted.as_bytes());
    }
}

#[tokio::test]
async fn a_flood_of_output_delays_no_cancel_and_no_other_request() {
    let sandbox = Sandbox::new();
    let script = "import os\nblock = b'flood ' * 10_000 + b'\\n'\nwhile True:\n    os.write(1, block)\n";
    let repository = Repository::with(sandbox.join("etl"), [workflow("floods", &polars(""), script)]);
    let server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let rest = &server.rest;
    let id = rest.execute("floods", json!({})).await;
    until("the flood", async || {
        let bytes = rest.execution(&id).await["log"]["bytes"].as_u64().unwrap();
        (bytes > 20_000_000).then_some(())
    })
    .await;
    let began = Instant::now();
    rest.get("/executions").await.ok();
    rest.post(&format!("/executions/{id}/cancel"), json!({})).await.ok();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let ended = rest.ended(&id).await;
    assert_eq!(ended["state"], "cancelled", "{ended:#}");
    let left = sandbox.processes();
    assert!(!left.iter().any(|process| process.command.contains("workflow.py")), "{left:?}");
    // The log is whole: what the store says it has is what it gives.
    let length = ended["log"]["bytes"].as_u64().unwrap();
    let log = rest.log(&id, "").await;
    assert_eq!(log.len() as u64, length);
    assert!(log.chunks(60_001).all(|line| line.starts_with(b"flood ")));
    assert_eq!(ended["log"]["truncated"], false);
}
