//! Requests as such: said twice, page by page, and wrong in every way.

use data_runner_tests::{Repository, Rest, Sandbox, Server, polars, until, workflow};
use reqwest::Method;
use serde_json::{Value, json};

async fn with_hello(sandbox: &Sandbox) -> Server<'_> {
    let repository =
        Repository::with(sandbox.join("etl"), [workflow("hello", &polars(""), "print('hello')\n")]);
    Server::dev(sandbox, &["--workers", "1", repository.url().as_str()]).await
}

async fn execute(rest: &Rest, key: &str, body: Value) -> data_runner_tests::Answer {
    rest.ask(Method::POST, "/workflows/hello/execute", &[("idempotency-key", key)], Some(body)).await
}

#[tokio::test]
async fn an_idempotency_key_gives_the_same_execution_also_after_a_kill() {
    let sandbox = Sandbox::new();
    let mut server = with_hello(&sandbox).await;
    let rest = server.rest.clone();
    let first = execute(&rest, "nightly", json!({"params": {}})).await.ok();
    server.kill();
    server.again().await;
    let again = execute(&rest, "nightly", json!({"params": {}})).await;
    assert_eq!(again.status, 202);
    assert_eq!(again.json()["id"], first["id"]);
    rest.succeeded(first["id"].as_str().unwrap()).await;
    assert_eq!(execute(&rest, "nightly", json!({"params": {}})).await.json()["id"], first["id"]);

    let other = execute(&rest, "nightly", json!({"params": {}, "instance_size": "t3.large"})).await;
    assert_eq!(other.refusal(), (422, "idempotency_key_reused".to_owned()));
    let all = rest.get("/executions").await.ok();
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all:#}");
}

#[tokio::test]
async fn pages_are_whole_while_new_executions_come() {
    let sandbox = Sandbox::new();
    let server = with_hello(&sandbox).await;
    let rest = &server.rest;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(rest.execute("hello", json!({})).await);
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = rest.get(&format!("/executions?limit=3&cursor={cursor}")).await.ok();
        seen.extend(page["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        // What comes meanwhile is newer than any page that is still to be read.
        rest.execute("hello", json!({})).await;
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    let filtered = rest.get("/executions?state=failed").await.ok();
    assert_eq!(filtered["items"], json!([]));
}

/// A request, perhaps with a header and a body.
#[derive(Debug)]
struct Asked<'a> {
    method: Method,
    path: &'a str,
    header: (&'a str, &'a str),
    body: &'a str,
}

fn get(path: &str) -> Asked<'_> {
    Asked { method: Method::GET, path, header: ("", ""), body: "" }
}

fn post<'a>(path: &'a str, body: &'a str) -> Asked<'a> {
    Asked { method: Method::POST, path, header: ("", ""), body }
}

#[tokio::test]
async fn every_refusal_is_a_problem_document() {
    let sandbox = Sandbox::new();
    let server = with_hello(&sandbox).await;
    let rest = &server.rest;
    let refused = async |asked: &Asked<'_>| {
        let (name, value) = asked.header;
        let headers: &[(&str, &str)] = if name.is_empty() { &[] } else { &[(name, value)] };
        let body = (!asked.body.is_empty()).then(|| asked.body.to_owned());
        // Who is refused while he still sends may find the connection closed before he reads why.
        let answer = until("an answer", async || {
            rest.try_ask(asked.method.clone(), asked.path, headers, body.clone()).await
        });
        answer.await.refusal()
    };
    let (execute, nobody) = ("/workflows/hello/execute", uuid::Uuid::new_v4());
    let (execution, worker) = (format!("/executions/{nobody}"), format!("/workers/{nobody}"));
    let cases = [
        (get("/nowhere"), 404, "route_not_found"),
        (get("/workflows/none-like-this"), 404, "workflow_not_found"),
        (get(&execution), 404, "execution_not_found"),
        (get(&worker), 404, "worker_not_found"),
        (post("/repos/sync", r#"{"repo": "none"}"#), 404, "repo_not_found"),
        (Asked { method: Method::DELETE, ..get("/executions") }, 405, "method_not_allowed"),
        (get("/executions?colour=red"), 400, "invalid_parameter"),
        (get("/executions?state=asleep"), 400, "invalid_parameter"),
        (get("/executions?limit=0"), 400, "invalid_parameter"),
        (get("/executions?cursor=AAAA"), 400, "invalid_cursor"),
        (post(execute, "{"), 400, "malformed_request"),
        (post(execute, r#"{"parms": {}}"#), 422, "invalid_request"),
        (Asked { header: ("host", "evil.example.com"), ..get("/executions") }, 403, "host_refused"),
        (
            Asked { header: ("origin", "https://evil.example.com"), ..post(execute, "{}") },
            403,
            "origin_refused",
        ),
        (Asked { header: ("idempotency-key", ""), ..post(execute, "{}") }, 400, "malformed_request"),
    ];
    for (asked, status, code) in &cases {
        assert_eq!(refused(asked).await, (*status, (*code).to_owned()), "{asked:?}");
    }
    let id = rest.execute("hello", json!({})).await;
    rest.succeeded(&id).await;
    let logs = format!("/executions/{id}/logs");
    let form = refused(&Asked { header: ("accept", "image/png"), ..get(&logs) }).await;
    assert_eq!(form, (406, "not_acceptable".to_owned()));
    assert_eq!(refused(&get(&format!("{logs}?attempt=9"))).await, (404, "attempt_not_found".to_owned()));
    assert_eq!(refused(&get(&format!("{logs}?grep=%28"))).await, (400, "invalid_parameter".to_owned()));
    let huge = format!(r#"{{"params": {{"x": "{}"}}}}"#, "x".repeat(8 << 20));
    assert_eq!(refused(&post(execute, &huge)).await, (413, "body_too_large".to_owned()));
}

#[tokio::test]
async fn the_waiting_get_answers_when_the_execution_has_ended() {
    let sandbox = Sandbox::new();
    let server = with_hello(&sandbox).await;
    let id = server.rest.execute("hello", json!({})).await;
    let ended = server.rest.get(&format!("/executions/{id}?wait=60s")).await.ok();
    assert_eq!(ended["state"], "success", "{ended:#}");
    let phases = ended["attempts"][0]["phases"].as_object().unwrap();
    for phase in ["code_ready", "environment_ready", "started", "finished"] {
        assert!(phases.contains_key(phase), "{phases:?}");
    }
}

#[tokio::test]
async fn what_a_monitor_asks_is_answered() {
    let sandbox = Sandbox::new();
    let server = with_hello(&sandbox).await;
    let id = server.rest.execute("hello", json!({})).await;
    server.rest.succeeded(&id).await;
    for path in
        ["/healthz", "/readyz", "/version", "/openapi.json", "/schema/config.json", "/workers", "/repos"]
    {
        let answer = server.rest.get(path).await;
        assert_eq!(answer.status, 200, "{path} {}", answer.text());
    }
    let metrics = server.rest.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().lines().any(|line| line.starts_with("data_runner_")), "{}", metrics.text());
}
