//! What workflows were, and what changed.

use std::sync::Arc;

use data_runner_core::event::Change;
use data_runner_core::execution::{Attempt, Ending, ExecutionState, Phases};
use data_runner_core::id::AttemptNumber;
use data_runner_core::workflow::PackageLock;
use data_runner_testkit::memory::store::MemoryStore;
use data_runner_testkit::memory::workflow_source::RepoFile;
use data_runner_testkit::sample;
use serde_json::json;

use crate::fixture::{Rest, SIMPLE, ended, files};

/// `etl/orders` in a second version, and the revisions of both.
async fn changed(rest: &Rest) -> [String; 2] {
    let first = rest.get("/workflows/orders").await.json()["revision"].as_str().unwrap().to_owned();
    let mut repository = files(&[("orders", SIMPLE)]);
    let script = RepoFile::text("print('good day')\n");
    repository.insert("workflows/orders/workflow.py".to_owned(), script);
    rest.source.publish("main", repository);
    let synced = rest.post("/repos/sync", "").await;
    assert_eq!(synced.status, 200, "{}", synced.text());
    let second = synced.json()["items"][0]["revision"].as_str().unwrap().to_owned();
    [first, second]
}

#[tokio::test]
async fn a_workflows_history_is_told_the_newest_first() {
    let rest = Rest::with_orders().await;
    let [first, second] = changed(&rest).await;
    let revisions = |answer: serde_json::Value| {
        let items = answer["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["revision"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = rest.get("/workflows/etl/orders/history").await.json();
    assert_eq!(revisions(all), [second.clone(), first.clone()]);
    assert_eq!(revisions(rest.get("/workflows/orders/history?limit=1").await.json()), [second]);
    let back = rest.get(&format!("/workflows/orders/history?ref={first}")).await.json();
    assert_eq!(revisions(back), [first]);
    assert_eq!(rest.get("/workflows/orders/history?limit=0").await.status, 400);
    assert_eq!(rest.get("/workflows/orders/history?ref=nowhere").await.status, 422);
}

#[tokio::test]
async fn the_newest_change_of_a_workflow_is_shown_and_any_other_that_is_asked_for() {
    let rest = Rest::with_orders().await;
    let [first, second] = changed(&rest).await;
    let newest = rest.get("/workflows/orders/diff").await.json();
    assert_eq!((&newest["from"], &newest["to"]), (&json!(first), &json!(second)));
    let diff = newest["diff"].as_str().unwrap();
    assert!(diff.contains("-print('hello')") && diff.contains("+print('good day')"), "{diff}");
    let back = rest.get(&format!("/workflows/orders/diff?from={second}&to={first}")).await.json();
    assert!(back["diff"].as_str().unwrap().contains("+print('hello')"), "{back}");
    let none = rest.get(&format!("/workflows/orders/diff?from={first}&to={first}")).await.json();
    assert_eq!(none["diff"], "");
}

#[tokio::test]
async fn what_changed_between_two_executions_is_told() {
    let rest = Rest::with_orders().await;
    let id = |answer: serde_json::Value| answer["id"].as_str().unwrap().to_owned();
    let before = id(rest.post("/workflows/orders/execute", "{}").await.json());
    changed(&rest).await;
    let larger = r#"{"instance_size": "m7i.large"}"#;
    let after = id(rest.post("/workflows/orders/execute", larger).await.json());
    let answer = rest.get(&format!("/executions/{before}/diff?with={after}")).await.json();
    let changes = answer["changes"].as_array().unwrap();
    let pointers: Vec<_> = changes.iter().map(|change| change["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/bundle", "/instance_size", "/revision"]);
    assert_eq!((&changes[1]["from"], &changes[1]["to"]), (&json!("t3.medium"), &json!("m7i.large")));
    assert!(answer["diff"].as_str().unwrap().contains("+print('good day')"), "{answer}");

    let same = rest.get(&format!("/executions/{before}/diff?with={before}")).await.json();
    assert_eq!((&same["changes"], &same["diff"]), (&json!([]), &json!("")));
    assert_eq!(rest.get(&format!("/executions/{before}/diff")).await.status, 400);
}

#[tokio::test]
async fn the_packages_of_an_execution_are_told_as_far_as_they_are_known() {
    let store = MemoryStore::new();
    let epoch = store.acquire_now().unwrap();
    for (n, list) in [(1, "polars==2.1.0\ntiny==1.0\n"), (2, "")] {
        let mut execution = sample::execution(n);
        let packages = (!list.is_empty()).then(|| PackageLock::of_freeze("3.12.4", list).unwrap());
        execution.attempts = vec![Attempt {
            number: AttemptNumber::FIRST,
            worker: sample::worker_id(1),
            lease: sample::lease(n),
            phases: Phases::default(),
            packages: packages.map(Arc::new),
            end: Some(ended(Ending::Exited { code: 0 })),
        }];
        execution.state = ExecutionState::Success { at: sample::at(9) };
        store.commit_now(epoch, sample::at(9), vec![Change::PutExecution(Arc::new(execution))]).unwrap();
    }
    store.release();
    let rest = Rest::over(store, Default::default()).await;
    let ids = [1, 2].map(|n| sample::execution_id(n).to_string());
    let package = |name: &str, version: &str| json!({"name": name, "version": version, "url": null});
    let lock = rest.get(&format!("/executions/{}/lock", ids[0])).await.json();
    assert_eq!(
        lock,
        json!({"python": "3.12.4", "packages": [package("polars", "2.1.0"), package("tiny", "1.0")]})
    );
    let unknown = rest.get(&format!("/executions/{}/lock", ids[1])).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "lock_not_found"));
}

#[tokio::test]
async fn code_that_is_not_kept_any_more_is_said_to_be_so() {
    let rest = Rest::with_orders().await;
    let before = rest.post("/workflows/orders/execute", "{}").await.json();
    let [first, _] = changed(&rest).await;
    let after = rest.post("/workflows/orders/execute", "{}").await.json();
    rest.source.forget(&first.parse().unwrap());
    let path =
        format!("/executions/{}/diff?with={}", before["id"].as_str().unwrap(), after["id"].as_str().unwrap());
    let answer = rest.get(&path).await.json();
    assert!(answer["diff"].is_null(), "{answer}");
    assert_eq!(answer["changes"].as_array().unwrap().len(), 2, "{answer}");
}

#[tokio::test]
async fn the_whole_definition_is_told_of_a_workflow_and_of_an_execution_as_it_was() {
    let rest = Rest::with_orders().await;
    let id = rest.post("/workflows/orders/execute", "{}").await.json()["id"].as_str().unwrap().to_owned();
    let mut repository = files(&[("orders", &format!("{SIMPLE}timeout: 5m\n"))]);
    repository.insert("workflows/orders/workflow.py".to_owned(), RepoFile::text("print('later')\n"));
    rest.source.publish("main", repository);
    assert_eq!(rest.post("/repos/sync", "").await.status, 200);

    let now = rest.get("/workflows/orders").await.json();
    let now = now["definition"].as_str().unwrap();
    assert!(now.contains("timeout: 5m") && now.contains("priority: 50"), "defaults are spelt out: {now}");
    let was = rest.get(&format!("/executions/{id}/definition")).await.json();
    assert_eq!(
        (was["file"].as_str(), was["text"].as_str()),
        (Some("workflows/orders/config.yaml"), Some(SIMPLE))
    );
    assert!(
        rest.get("/workflows").await.json()["items"][0]["definition"].is_null(),
        "in listings it is left out"
    );
}
