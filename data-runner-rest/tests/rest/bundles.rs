//! Folders that are run without being pushed.

use data_runner_core::port::WorkflowSource as _;
use data_runner_testkit::memory::workflow_source::MemorySource;
use serde_json::{Value, json};

use crate::fixture::{Rest, SIMPLE, files};

async fn archive(config: &str) -> Vec<u8> {
    let source = MemorySource::new();
    let revision = source.publish("HEAD", files(&[("orders", config)]));
    source.fetch(&revision, "workflows/orders", &[]).await.unwrap().to_vec()
}

async fn send(rest: &Rest, path: &str, body: Vec<u8>) -> (u16, Value) {
    let answer = rest.open_bytes("POST", path, &[("content-type", "application/zstd")], body).await;
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_folder_is_taken_and_run_by_its_revision() {
    let rest = Rest::with_orders().await;
    let path = "/bundles?path=workflows/orders";
    let (status, sent) = send(&rest, path, archive(&format!("{SIMPLE}owner: me\n")).await).await;
    assert_eq!((status, &sent["repo"], &sent["name"]), (201, &json!("unpushed"), &json!("orders")), "{sent}");
    let revision = sent["revision"].as_str().unwrap();
    assert_eq!(revision.len(), 64);
    let answer =
        rest.post("/workflows/unpushed/orders/execute", &format!(r#"{{"ref": "{revision}"}}"#)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let execution = answer.json();
    assert_eq!(
        (&execution["workflow"], &execution["revision"]),
        (&json!("unpushed/orders"), &json!(revision))
    );
    let plain = rest.post("/workflows/orders/execute", "").await.json();
    assert_eq!(plain["workflow"], "etl/orders", "the name alone is still the repository's");
    let repos = rest.get("/repos").await.json();
    assert!(repos["items"].as_array().unwrap().iter().any(|repo| repo["name"] == "unpushed"), "{repos}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_run_is_refused_with_the_places_of_its_mistakes() {
    let rest = Rest::start().await;
    let path = "/bundles?path=workflows/orders";
    let (status, problem) = send(&rest, path, archive("worker_type: polars\nsise: x\n").await).await;
    assert_eq!(status, 422, "{problem}");
    let fault = &problem["errors"][1];
    assert_eq!(
        (&fault["file"], &fault["line"]),
        (&json!("workflows/orders/config.yaml"), &json!(2)),
        "{problem}"
    );
    for (path, body, status) in [
        ("/bundles", archive(SIMPLE).await, 400),
        ("/bundles?path=workflows/nope", archive(SIMPLE).await, 422),
        ("/bundles?path=workflows/orders&x=1", archive(SIMPLE).await, 400),
        (path, b"no archive".to_vec(), 422),
    ] {
        let (got, problem) = send(&rest, path, body).await;
        assert_eq!(got, status, "{path}: {problem}");
    }
    let claimed = [("content-length", "99999999999")];
    assert_eq!(rest.ask("POST", path, &claimed, "").await.status, 413);
}
