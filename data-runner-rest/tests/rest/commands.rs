//! What can be done to executions and workers, and what is told of it.

use std::time::Duration;

use data_runner_core::execution::Ending;
use data_runner_core::log::Stream;
use data_runner_testkit::sample;

use crate::fixture::{Agent, Rest, new_log};

async fn run(rest: &Rest) -> String {
    rest.post("/workflows/orders/execute", "").await.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_caller_may_wait_for_the_end() {
    let rest = Rest::with_orders().await;
    let id = run(&rest).await;
    let waiting = rest.get(&format!("/executions/{id}?wait=50ms")).await.json();
    assert_eq!(waiting["state"], "queued", "the time was over first");
    let agent = Agent::join(&rest, sample::worker_id(1)).await;
    let job = agent.assigned().await;
    let mut log = new_log();
    let path = format!("/executions/{id}?wait=60s");
    let told = async {
        agent.print(job.claim, &mut log, Stream::Stdout, b"one\ntwo\n").await;
        agent.finish(job.claim, &log, Ending::Exited { code: 3 }).await;
    };
    let (answer, ()) = tokio::join!(rest.get(&path), told);
    let execution = answer.json();
    assert_eq!((execution["state"].as_str(), execution["exit_code"].as_i64()), (Some("failed"), Some(3)));
    assert_eq!(execution["failure"]["cause"], "user_error");
    assert_eq!(execution["log"]["tail"], serde_json::json!(["one", "two"]));
    assert_eq!(execution["log"]["lines"], 2);
    assert_eq!(execution["attempts"][0]["state"], "failed");
    assert_eq!(execution["worker_id"], sample::worker_id(1).to_string());
}

#[tokio::test]
async fn a_cancel_is_taken_once() {
    let rest = Rest::with_orders().await;
    let id = run(&rest).await;
    let cancelled = rest.post(&format!("/executions/{id}/cancel"), "{}").await;
    assert_eq!((cancelled.status, cancelled.json()["state"].as_str().unwrap()), (202, "cancelled"));
    let again = rest.post(&format!("/executions/{id}/cancel"), "").await;
    assert_eq!((again.status, again.code().as_str()), (409, "already_ended"));
}

#[tokio::test]
async fn a_retry_and_a_rerun_are_new_executions_that_name_the_old_one() {
    let rest = Rest::with_orders().await;
    let id = run(&rest).await;
    rest.post(&format!("/executions/{id}/cancel"), "").await;
    for verb in ["retry", "rerun"] {
        let key = [("idempotency-key", "again")];
        let answer = rest.ask("POST", &format!("/executions/{id}/{verb}"), &key, "").await;
        assert_eq!(answer.status, 202, "{verb}: {}", answer.text());
        let new = answer.json();
        assert_eq!(
            (new["retry_of"].as_str().unwrap(), new["trigger"].as_str().unwrap()),
            (id.as_str(), verb)
        );
        assert_eq!(answer.head["location"], format!("/executions/{}", new["id"].as_str().unwrap()));
        let same = rest.ask("POST", &format!("/executions/{id}/{verb}"), &key, "{}").await;
        assert_eq!(same.json()["id"], new["id"], "{verb}");
    }
}

#[tokio::test]
async fn workers_are_listed_drained_and_ended() {
    let rest = Rest::start().await;
    let (first, second) = (sample::worker_id(1), sample::worker_id(2));
    let mut commits = rest.handle().commits();
    let (_first, _second) = (Agent::join(&rest, first).await, Agent::join(&rest, second).await);
    let both = commits.wait_for(|published| published.workers == 2);
    tokio::time::timeout(Duration::from_secs(10), both).await.unwrap().unwrap();
    let listed = rest.get("/workers").await.json();
    let ids: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [second.to_string(), first.to_string()]);
    let page = rest.get("/workers?limit=1").await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(
        rest.get(&format!("/workers?cursor={cursor}")).await.json()["items"][0]["id"],
        first.to_string()
    );
    let shown = rest.get(&format!("/workers/{first}")).await.json();
    assert_eq!((shown["origin"].as_str(), shown["state"].as_str()), (Some("joined"), Some("idle")));
    assert_eq!(shown["worker_types"], serde_json::json!(["polars"]));
    let drained = rest.post(&format!("/workers/{first}/drain"), "").await;
    assert_eq!(drained.status, 202, "{}", drained.text());
    assert_eq!(drained.json()["reason"], "an operator asked for it");
    let ended = rest.ask("DELETE", &format!("/workers/{second}"), &[], "").await;
    assert_eq!(ended.status, 202, "{}", ended.text());
    assert_eq!(rest.get("/workers/nobody").await.code(), "worker_not_found");
}

#[tokio::test]
async fn events_tell_an_executions_story_page_by_page_and_as_a_stream() {
    let rest = Rest::with_orders().await;
    let mut live = rest.follow("/events", &[]).await;
    live.until("retry: 1000").await;
    let id = run(&rest).await;
    rest.post(&format!("/executions/{id}/cancel"), "").await;
    let seen = live.until("execution_cancelled").await;
    assert!(!seen.contains("repo_changed"), "without a place it begins with what comes: {seen}");
    let story = rest.get(&format!("/executions/{id}/events")).await.json();
    let kinds: Vec<&str> =
        story["items"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"execution_queued"), Some(&"execution_cancelled")));
    let page = rest.get(&format!("/executions/{id}/events?limit=1")).await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest_of = rest.get(&format!("/executions/{id}/events?cursor={cursor}")).await.json();
    assert_eq!(rest_of["items"][0]["id"], story["items"][1]["id"]);

    let queued = story["items"][0]["id"].as_str().unwrap();
    let mut resumed = rest.follow("/events", &[("last-event-id", queued)]).await;
    let seen = resumed.until("execution_cancelled").await;
    assert!(!seen.contains("execution_queued"), "{seen}");
    assert!(
        rest.follow("/events?after=0", &[])
            .await
            .until("execution_queued")
            .await
            .contains("workflow_changed")
    );
}
