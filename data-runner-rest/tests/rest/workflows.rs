//! Registering workflows and running them.

use data_runner_testkit::memory::workflow_source::RepoFile;
use data_runner_testkit::sample;

use crate::fixture::{Agent, Rest, SIMPLE, URL, files};

#[tokio::test]
async fn registering_a_repository_tells_what_can_be_run_and_what_is_wrong_with_the_rest() {
    let rest = Rest::start().await;
    let broken = "worker_type: polars\ninstance_size: t3.medium\ncolour: red\n";
    rest.source.publish("main", files(&[("orders", SIMPLE), ("broken", broken)]));
    let answer = rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "main"}}"#)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["items"][0]["name"], "orders");
    assert_eq!(json["items"][0]["repo"], "etl");
    assert_eq!(json["items"][0]["state"], "valid");
    assert_eq!(json["items"][0]["worker_type"], "polars");
    let error = &json["errors"][0];
    assert_eq!(error["location"]["file"], "workflows/broken/config.yaml");
    assert_eq!(error["location"]["line"], 3);
    let shown = rest.get("/workflows/broken").await.json();
    assert_eq!(shown["state"], "broken");
    assert_eq!(shown["problems"][0]["code"], error["code"]);
    assert_eq!(rest.get("/repos").await.json()["items"][0]["ref"], "main");
}

#[tokio::test]
async fn a_workflow_goes_by_its_id_its_name_and_its_full_name() {
    let rest = Rest::with_orders().await;
    let id = rest.get("/workflows").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    for name in [id.as_str(), "orders", "etl/orders", "etl%2Forders"] {
        let answer = rest.get(&format!("/workflows/{name}")).await;
        assert_eq!(answer.json()["id"], id.as_str(), "{name}");
        let run = rest.post(&format!("/workflows/{name}/execute"), "").await;
        assert_eq!(run.status, 202, "{name}: {}", run.text());
        assert_eq!(run.json()["workflow"], "etl/orders");
    }
    let unknown = rest.get("/workflows/ordres").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "workflow_not_found"));
    assert!(
        unknown.json()["detail"].as_str().unwrap().contains("did you mean \"orders\"?"),
        "{}",
        unknown.text()
    );
}

#[tokio::test]
async fn a_run_is_answered_with_the_whole_execution_and_where_it_is() {
    let rest = Rest::with_orders().await;
    let run = rest.post("/workflows/orders/execute", "{}").await;
    assert_eq!(run.status, 202, "{}", run.text());
    let execution = run.json();
    let id = execution["id"].as_str().unwrap();
    assert_eq!(run.head["location"], format!("/executions/{id}"));
    assert_eq!(execution["state"], "queued");
    assert_eq!(execution["trigger"], "manual");
    for field in ["failure", "exit_code", "cost_usd", "retry_of", "finished_at", "log", "output"] {
        assert!(execution[field].is_null() && execution.get(field).is_some(), "{field}");
    }
    let shown = rest.get(&format!("/executions/{id}")).await.json();
    assert_eq!(shown["log"]["lines"], 0);
    assert_eq!(shown["revision"], execution["revision"]);
}

#[tokio::test]
async fn an_idempotency_key_gives_the_same_execution_and_fits_one_body_only() {
    let rest = Rest::with_orders().await;
    let key = [("idempotency-key", "nightly-1")];
    let first = rest
        .ask("POST", "/workflows/orders/execute", &key, r#"{"params": {}, "instance_size": "t3.small"}"#)
        .await;
    let again = rest
        .ask("POST", "/workflows/etl/orders/execute", &key, r#"{ "instance_size":"t3.small","params":{} }"#)
        .await;
    assert_eq!((first.status, again.status), (202, 202), "{}", again.text());
    assert_eq!(first.json()["id"], again.json()["id"]);
    let other = rest.ask("POST", "/workflows/orders/execute", &key, "{}").await;
    assert_eq!((other.status, other.code().as_str()), (422, "idempotency_key_reused"));
    assert!(!other.text().contains("POST /"), "the caller's own key is shown: {}", other.text());
    assert_eq!(rest.get("/executions").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_parameters_come_back_all_at_once() {
    let rest = Rest::start().await;
    let config =
        "worker_type: polars\ninstance_size: t3.medium\nparams:\n  day: {type: date}\n  n: {type: int}\n";
    rest.source.publish("main", files(&[("orders", config)]));
    rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "main"}}"#)).await;
    let refused = rest.post("/workflows/orders/execute", r#"{"params": {"n": "many", "x": 1}}"#).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "invalid_request"));
    let problem = refused.json();
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 3, "{}", refused.text());
    for error in errors {
        assert!(error["pointer"].as_str().unwrap().starts_with("/params"), "{error}");
        assert!(error["code"].is_string() && error["message"].is_string());
    }
    let good = rest.post("/workflows/orders/execute", r#"{"params": {"n": "7", "day": "2026-08-01"}}"#).await;
    assert_eq!(good.json()["params"], serde_json::json!({"day": "2026-08-01", "n": 7}), "{}", good.text());
}

#[tokio::test]
async fn a_workflow_is_paused_resumed_and_deleted() {
    let rest = Rest::with_orders().await;
    let paused = rest.ask("PATCH", "/workflows/orders", &[], r#"{"paused": true}"#).await;
    assert_eq!((paused.status, paused.json()["paused"].as_bool()), (200, Some(true)), "{}", paused.text());
    let resumed = rest.ask("PATCH", "/workflows/etl/orders", &[], r#"{"paused": false}"#).await;
    assert_eq!(resumed.json()["paused_at"], serde_json::Value::Null);
    let deleted = rest.ask("DELETE", "/workflows/orders", &[], "").await;
    assert_eq!((deleted.status, deleted.json()["state"].as_str().unwrap()), (200, "deleted"));
    assert_eq!(rest.get("/workflows").await.json()["items"], serde_json::json!([]));
    assert_eq!(rest.get("/workflows/orders").await.status, 404);
    let id = deleted.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(rest.get(&format!("/workflows/{id}")).await.json()["state"], "deleted");
    let run = rest.post(&format!("/workflows/{id}/execute"), "").await;
    assert_eq!((run.status, run.code().as_str()), (409, "workflow_gone"), "{}", run.text());
}

#[tokio::test]
async fn a_sync_brings_what_was_pushed_and_says_what_it_could_not_fetch() {
    let rest = Rest::with_orders().await;
    let mut pushed = files(&[("orders", SIMPLE), ("returns", SIMPLE)]);
    pushed.insert("README.md".to_owned(), RepoFile::text("hello"));
    let revision = rest.source.publish("main", pushed);
    let synced = rest.post("/repos/sync", "").await;
    assert_eq!(synced.json()["items"][0]["revision"], revision.to_string(), "{}", synced.text());
    assert_eq!(rest.get("/workflows/returns").await.status, 200);
    rest.source.go_down();
    let failed = rest.post("/repos/sync", r#"{"repo": "etl"}"#).await;
    assert!(failed.json()["items"][0]["error"].is_string(), "{}", failed.text());
    let unknown = rest.post("/repos/sync", r#"{"repo": "nope"}"#).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "repo_not_found"));
}

#[tokio::test]
async fn a_repository_that_does_not_answer_is_a_bad_gateway() {
    let rest = Rest::start().await;
    rest.source.go_down();
    let refused = rest.post("/workflows", &format!(r#"{{"repo": "{URL}"}}"#)).await;
    assert_eq!((refused.status, refused.code().as_str()), (502, "source_unreachable"), "{}", refused.text());
    rest.source.come_back();
    let refused = rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "nope"}}"#)).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "revision_not_found"), "{}", refused.text());
}

#[tokio::test]
async fn validate_finds_everything_that_is_wrong_and_refuses_nothing() {
    let rest = Rest::start().await;
    let good = rest.post("/validate", &serde_json::json!({"config": SIMPLE}).to_string()).await;
    assert_eq!(good.json(), serde_json::json!({"valid": true, "problems": []}));
    let wrong =
        serde_json::json!({"config": "worker_type: polarbear\ncolour: red\n", "files": ["config.yaml"]});
    let bad = rest.post("/validate", &wrong.to_string()).await;
    assert_eq!((bad.status, bad.json()["valid"].as_bool()), (200, Some(false)));
    assert!(bad.json()["problems"].as_array().unwrap().len() >= 3, "{}", bad.text());
    let missing = serde_json::json!({"config": SIMPLE, "files": ["config.yaml"]});
    let answer = rest.post("/validate", &missing.to_string()).await.json();
    assert_eq!(answer["valid"], false, "workflow.py is not there");
}

#[tokio::test]
async fn a_second_run_is_refused_or_says_for_whom_it_waits() {
    let rest = Rest::start().await;
    let limited = |on_conflict| format!("{SIMPLE}concurrency: {{limit: 1, on_conflict: {on_conflict}}}\n");
    let (skipping, queueing) = (limited("skip"), limited("queue"));
    rest.source.publish("main", files(&[("skipping", &skipping), ("queueing", &queueing)]));
    rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "main"}}"#)).await;
    let shown = rest.get("/workflows/skipping").await.json();
    let concurrency = serde_json::json!({"limit": 1, "key": "", "on_conflict": "skip"});
    assert_eq!((&shown["concurrency"], shown["priority"].as_u64()), (&concurrency, Some(50)));
    rest.post("/workflows/skipping/execute", "").await;
    let refused = rest.post("/workflows/skipping/execute", "").await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "concurrency_limit"), "{}", refused.text());

    rest.post("/executions/latest/cancel", "").await;
    let first = rest.post("/workflows/queueing/execute", "").await.json()["id"].clone();
    let agent = Agent::join(&rest, sample::worker_id(1)).await;
    agent.assigned().await;
    let second = rest.post("/workflows/queueing/execute", "").await.json();
    assert_eq!(second["waiting"]["reason"], "concurrency", "{second:#}");
    assert_eq!(second["waiting"]["behind"], serde_json::json!([first]));
    let again = rest.get("/executions/latest").await.json();
    assert_eq!(again["waiting"], second["waiting"]);
}

#[tokio::test]
async fn a_budget_is_shown_with_what_is_used_of_it() {
    let rest = Rest::start().await;
    let config = format!("{SIMPLE}budget: {{per_run_usd: 0.5, per_month_usd: 40, on_exceed: block}}\n");
    rest.source.publish("main", files(&[("orders", &config), ("free", SIMPLE)]));
    rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "main"}}"#)).await;
    let budget = |month: Option<f64>| {
        serde_json::json!({
            "per_run_usd": 0.5, "per_month_usd": 40.0, "on_exceed": "block", "month_usd": month,
        })
    };
    let listed = rest.get("/workflows").await.json();
    assert!(listed["items"][0]["budget"].is_null(), "{listed:#}");
    assert_eq!(listed["items"][1]["budget"], budget(None));
    assert_eq!(rest.get("/workflows/orders").await.json()["budget"], budget(Some(0.0)));
    assert_eq!(rest.get("/workflows/orders/plan").await.json()["budget"], budget(Some(0.0)));
    rest.post("/workflows/orders/execute", "").await;
    let costs = rest.get("/costs").await.json();
    assert_eq!(costs["items"][0]["budget"], budget(Some(0.0)), "{costs:#}");
}
