//! Commits: what is pushed is seen, and what runs keeps what it started with.

use data_runner_tests::{Repository, Sandbox, Server, polars, until, workflow};
use serde_json::json;

const WAITS: &str = r#"
import os, time
print("VERSION started", flush=True)
while not os.path.exists(os.environ["DATA_RUNNER_PARAM_GATE"]):
    time.sleep(0.01)
print("VERSION ends")
"#;

fn version(name: &str) -> Vec<(String, Vec<u8>)> {
    workflow("job", &polars("params:\n  gate: {type: string}\n"), &WAITS.replace("VERSION", name))
}

#[tokio::test]
async fn a_push_is_seen_by_the_poll_and_what_runs_keeps_its_commit() {
    let sandbox = Sandbox::new();
    let repository = Repository::new(sandbox.join("etl"));
    let first = repository.commit(version("first"));
    let repo =
        format!("repositories:\n  - {{name: etl, url: \"{}\", ref: main, poll: 1s}}\n", repository.url());
    let server = Server::supervisor(&sandbox, &repo).await;
    let rest = &server.rest;
    // The repository is registered while REST is served already.
    until("the workflow", async || (rest.get("/workflows/etl/job").await.status == 200).then_some(())).await;
    let old = rest.execute("job", json!({"gate": sandbox.text("gate")})).await;
    rest.logs(&old, "first started").await;

    let mut files = version("second");
    files.extend(workflow("added", &polars(""), "print('added')\n"));
    let second = repository.commit(files);
    until("the poll to see the push", async || {
        let workflow = rest.get("/workflows/etl/job").await.ok();
        (workflow["revision"] == json!(second)).then_some(())
    })
    .await;
    let new = rest.execute("job", json!({"gate": sandbox.text("gate")})).await;
    let added = rest.execute("added", json!({})).await;
    sandbox.touch("gate");

    assert_eq!(rest.succeeded(&old).await["revision"], json!(first));
    assert_eq!(rest.log(&old, "").await, b"first started\nfirst ends\n");
    assert_eq!(rest.succeeded(&new).await["revision"], json!(second));
    assert_eq!(rest.log(&new, "").await, b"second started\nsecond ends\n");
    rest.succeeded(&added).await;
}

#[tokio::test]
async fn a_sync_by_hand_takes_the_new_commit_a_retry_the_old_and_a_rerun_the_newest() {
    let sandbox = Sandbox::new();
    let say = |text: &str| workflow("say", &polars(""), &format!("print({text:?})\n"));
    let repository = Repository::new(sandbox.join("etl"));
    repository.commit(say("one"));
    let server = Server::dev(&sandbox, &[]).await;
    let rest = &server.rest;
    rest.register(&repository.url()).await;
    let one = rest.execute("say", json!({})).await;
    rest.succeeded(&one).await;

    let head = repository.commit(say("two"));
    let synced = rest.post("/repos/sync", json!({})).await.ok();
    assert_eq!(synced["items"][0]["revision"], json!(head), "{synced:#}");
    let new_of = |answer: serde_json::Value| answer["id"].as_str().unwrap().to_owned();
    let retry = new_of(rest.post(&format!("/executions/{one}/retry"), json!({})).await.ok());
    let rerun = new_of(rest.post(&format!("/executions/{one}/rerun"), json!({})).await.ok());
    rest.succeeded(&retry).await;
    rest.succeeded(&rerun).await;
    assert_eq!(rest.log(&retry, "").await, b"one\n");
    assert_eq!(rest.log(&rerun, "").await, b"two\n");
}

#[tokio::test]
async fn a_workflow_whose_folder_is_gone_is_refused_and_its_history_stays() {
    let sandbox = Sandbox::new();
    let repository = Repository::with(
        sandbox.join("etl"),
        [workflow("stays", &polars(""), "print()\n"), workflow("goes", &polars(""), "print()\n")],
    );
    let server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    let rest = &server.rest;
    let id = rest.execute("goes", json!({})).await;
    rest.succeeded(&id).await;
    repository.remove("workflows/goes");
    rest.post("/repos/sync", json!({})).await.ok();
    let answer = rest.post("/workflows/goes/execute", json!({})).await;
    assert!([404, 409].contains(&answer.refusal().0), "{}", answer.text());
    assert_eq!(rest.execution(&id).await["state"], "success");
}

#[tokio::test]
async fn an_older_commit_can_be_run_by_its_id() {
    let sandbox = Sandbox::new();
    let repository = Repository::new(sandbox.join("etl"));
    let old = repository.commit(workflow("say", &polars(""), "print('old')\n"));
    repository.commit(workflow("say", &polars(""), "print('new')\n"));
    let server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    let answer = server.rest.post("/workflows/say/execute", json!({"ref": old})).await.ok();
    let id = answer["id"].as_str().unwrap();
    assert_eq!(server.rest.succeeded(id).await["revision"], json!(old));
    assert_eq!(server.rest.log(id, "").await, b"old\n");
}

#[tokio::test]
async fn a_rewritten_history_takes_nothing_from_what_ran_before() {
    let sandbox = Sandbox::new();
    let say = |text: &str| workflow("say", &polars(""), &format!("print({text:?})\n"));
    let repository = Repository::new(sandbox.join("etl"));
    let old = repository.commit(say("before"));
    let mut server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    let first = server.rest.execute("say", json!({})).await;
    server.rest.succeeded(&first).await;

    let new = repository.rewrite(say("after"));
    let synced = server.rest.post("/repos/sync", json!({})).await.ok();
    assert_eq!(synced["items"][0]["revision"], json!(new), "{synced:#}");
    // Also by a supervisor that remembers nothing of it.
    server.kill();
    server.again().await;
    let rest = &server.rest;
    let retry = rest.post(&format!("/executions/{first}/retry"), json!({})).await.ok();
    let retry = retry["id"].as_str().unwrap();
    assert_eq!(rest.succeeded(retry).await["revision"], json!(old));
    assert_eq!(rest.log(retry, "").await, b"before\n");
    let by_commit = rest.post("/workflows/say/execute", json!({"ref": old})).await.ok();
    let by_commit = by_commit["id"].as_str().unwrap();
    rest.succeeded(by_commit).await;
    assert_eq!(rest.log(by_commit, "").await, b"before\n");
    let rerun = rest.post(&format!("/executions/{first}/rerun"), json!({})).await.ok();
    let rerun = rerun["id"].as_str().unwrap();
    assert_eq!(rest.succeeded(rerun).await["revision"], json!(new));
    assert_eq!(rest.log(rerun, "").await, b"after\n");
}
