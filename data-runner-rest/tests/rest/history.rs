//! What workflows were, and what changed.

use data_runner_testkit::memory::workflow_source::RepoFile;
use serde_json::json;

use crate::fixture::{Rest, SIMPLE, files};

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
