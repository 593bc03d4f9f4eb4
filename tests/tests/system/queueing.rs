//! Who runs when: concurrency, priority, and how long somebody waits.

use data_runner_tests::{Repository, Sandbox, Server, polars, workflow};
use serde_json::json;

/// Waits for a file, if it is told one.
const WAIT: &str = r#"
import os, time

wanted = os.environ["DATA_RUNNER_PARAM_FILE"]
print("runs", flush=True)
while wanted and not os.path.exists(wanted):
    time.sleep(0.02)
"#;

const FILE: &str = "params:\n  file: {type: string, default: \"\"}\n  region: {type: string, default: eu}\n";

fn waiting(name: &str, more: &str) -> Vec<(String, Vec<u8>)> {
    workflow(name, &polars(&format!("{FILE}{more}")), WAIT)
}

#[tokio::test]
async fn who_has_to_wait_for_others_does_so_and_says_it_also_after_a_kill() {
    let sandbox = Sandbox::new();
    let key = "concurrency: {limit: 1, key: \"${params.region}\", on_conflict: ";
    let repository = Repository::with(
        sandbox.join("etl"),
        [
            waiting("queue", &format!("{key}queue}}\n")),
            waiting("skip", &format!("{key}skip}}\n")),
            waiting("replace", &format!("{key}cancel_running}}\n")),
        ],
    );
    let mut server = Server::dev(&sandbox, &["--workers", "4", repository.url().as_str()]).await;
    let rest = server.rest.clone();
    let file = sandbox.join("go");
    let params = json!({"file": file.to_str().unwrap()});

    let first = rest.execute("queue", params.clone()).await;
    rest.logs(&first, "runs").await;
    let second = rest.execute("queue", params.clone()).await;
    let other = rest.execute("queue", json!({"region": "us"})).await;
    rest.succeeded(&other).await;
    server.kill();
    server.again().await;
    let waiting = rest.execution(&second).await["waiting"].clone();
    assert_eq!((&waiting["reason"], &waiting["behind"]), (&json!("concurrency"), &json!([first])));

    let running = rest.execute("skip", params.clone()).await;
    let skipped = rest.post("/workflows/skip/execute", json!({"params": params})).await;
    assert_eq!(skipped.refusal(), (409, "concurrency_limit".to_owned()));

    let old = rest.execute("replace", params.clone()).await;
    rest.logs(&old, "runs").await;
    let new = rest.execute("replace", json!({})).await;
    let new = rest.succeeded(&new).await;
    let old = rest.ended(&old).await;
    assert_eq!(old["state"], "cancelled");
    assert!(old["finished_at"].as_str() <= new["started_at"].as_str(), "{old:#} {new:#}");

    std::fs::write(file, "").unwrap();
    let first = rest.succeeded(&first).await;
    let second = rest.succeeded(&second).await;
    assert!(first["finished_at"].as_str() <= second["started_at"].as_str(), "{first:#} {second:#}");
    rest.succeeded(&running).await;
}

#[tokio::test]
async fn the_line_goes_by_priority_and_who_waits_for_too_long_fails() {
    let sandbox = Sandbox::new();
    let repository = Repository::with(
        sandbox.join("etl"),
        [
            waiting("usual", ""),
            waiting("urgent", "priority: 90\n"),
            waiting("impatient", "start_within: 1s\n"),
        ],
    );
    let server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let rest = &server.rest;
    let file = sandbox.join("go");
    let busy = rest.execute("usual", json!({"file": file.to_str().unwrap()})).await;
    rest.logs(&busy, "runs").await;
    let impatient = rest.execute("impatient", json!({})).await;
    let usual = rest.execute("usual", json!({})).await;
    let urgent = rest.execute("urgent", json!({})).await;

    let failed = rest.ended(&impatient).await;
    assert_eq!(failed["failure"]["cause"], "no_capacity", "{failed:#}");
    let told = "it was not started within 1s: all workers that may exist (1) are busy";
    assert_eq!(failed["failure"]["message"], told);

    std::fs::write(file, "").unwrap();
    let (urgent, usual) = (rest.succeeded(&urgent).await, rest.succeeded(&usual).await);
    assert!(urgent["finished_at"].as_str() <= usual["started_at"].as_str(), "{urgent:#} {usual:#}");
}
