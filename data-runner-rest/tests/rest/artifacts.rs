//! Files that jobs left.

use data_runner_core::artifact::ArtifactOffer;
use data_runner_core::execution::Ending;
use data_runner_core::id::{Claim, Sha256};
use data_runner_core::port::{BlobRef, OnePiece, TransportError};
use data_runner_testkit::sample;

use crate::fixture::{Agent, Rest, SIMPLE, URL, files, new_log};

const KEEPS: &str = "artifacts: [{name: report, path: 'out/*'}]\n";

/// A server whose workflow keeps files, an agent, and what it runs.
async fn running() -> (Rest, Agent, Claim) {
    let rest = Rest::start().await;
    rest.source.publish("main", files(&[("orders", &format!("{SIMPLE}{KEEPS}"))]));
    let answer = rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "main"}}"#)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let agent = Agent::join(&rest, sample::worker_id(1)).await;
    rest.post("/workflows/orders/execute", "").await;
    let claim = agent.assigned().await.claim;
    (rest, agent, claim)
}

impl Agent {
    async fn keep(&self, claim: Claim, path: &str, bytes: &'static [u8]) -> Result<(), TransportError> {
        let blob = BlobRef { hash: Sha256::of(bytes), bytes: bytes.len() as u64 };
        let offer = ArtifactOffer { claim, name: "report".parse().unwrap(), path: path.to_owned(), blob };
        self.session.keep_artifact(offer, Box::new(OnePiece::from(bytes::Bytes::from_static(bytes)))).await
    }
}

#[tokio::test]
async fn files_are_listed_and_downloaded_as_soon_as_they_are_there() {
    let (rest, agent, claim) = running().await;
    let path = format!("/executions/{}/artifacts", claim.attempt.execution);
    assert_eq!(rest.get(&path).await.json()["items"], serde_json::json!([]));
    agent.keep(claim, "out/b.json", b"{}").await.unwrap();
    agent.keep(claim, "out/a\".html", b"<b>").await.unwrap();
    agent.keep(claim, "out/b.json", b"{}").await.unwrap();
    let listed = rest.get(&path).await.json();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "what is brought again is there once: {listed:#}");
    assert_eq!((&items[1]["path"], &items[1]["bytes"]), (&"out/b.json".into(), &2.into()));
    assert_eq!((&items[1]["attempt"], &items[1]["name"]), (&1.into(), &"report".into()));
    assert_eq!(items[1]["sha256"], Sha256::of(b"{}").to_string());
    agent.finish(claim, &new_log(), Ending::Exited { code: 3 }).await;

    let json = rest.get(&format!("/artifacts/{}", items[1]["id"].as_str().unwrap())).await;
    assert_eq!((json.status, json.text().as_str()), (200, "{}"));
    assert_eq!(json.head["content-type"], "application/json");
    assert_eq!(json.head["content-length"], "2");
    assert_eq!(json.head["etag"], format!("\"{}\"", Sha256::of(b"{}")));
    let html = format!("/artifacts/{}", items[0]["id"].as_str().unwrap());
    let page = rest.get(&html).await;
    assert_eq!(page.head["content-type"], "application/octet-stream", "a browser must not run it");
    assert_eq!(page.head["x-content-type-options"], "nosniff");
    let disposition = page.head["content-disposition"].to_str().unwrap();
    assert_eq!(disposition, "attachment; filename=\"a_.html\"; filename*=UTF-8''a%22.html");
    let head = rest.ask("HEAD", &html, &[], "").await;
    assert_eq!((head.body.len(), &head.head["content-length"]), (0, &"3".parse().unwrap()));
}

#[tokio::test]
async fn nothing_is_taken_that_nobody_wants_or_after_the_end() {
    let (rest, agent, claim) = running().await;
    for path in ["other/a", "out/x/a", "out/../out/a"] {
        let refused = agent.keep(claim, path, b"x").await;
        assert!(matches!(refused, Err(TransportError::Refused { .. })), "{path}: {refused:?}");
    }
    let id = claim.attempt.execution;
    agent.finish(claim, &new_log(), Ending::Exited { code: 0 }).await;
    rest.get(&format!("/executions/{id}?wait=10s")).await;
    let refused = agent.keep(claim, "out/a", b"x").await;
    assert!(matches!(refused, Err(TransportError::Refused { .. })), "{refused:?}");
    assert_eq!(rest.get(&format!("/executions/{id}/artifacts")).await.json()["items"], serde_json::json!([]));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let rest = Rest::with_orders().await;
    for (path, code) in [
        ("/artifacts/nonsense", "artifact_not_found"),
        ("/artifacts/01900000-0000-7000-8000-000000000000", "artifact_not_found"),
        ("/executions/01900000-0000-7000-8000-000000000000/artifacts", "execution_not_found"),
    ] {
        let answer = rest.get(path).await;
        assert_eq!((answer.status, answer.code()), (404, code.to_owned()));
    }
}
