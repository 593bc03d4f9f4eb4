//! The log of an execution that goes on.

use data_runner_core::execution::Ending;
use data_runner_core::log::Stream;
use data_runner_testkit::sample;

use crate::fixture::{Agent, Rest, URL, files, new_log};

async fn run(rest: &Rest) -> String {
    rest.post("/workflows/orders/execute", "").await.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_follower_sees_bytes_as_they_come_from_before_the_start_to_the_end() {
    let rest = Rest::with_orders().await;
    let id = run(&rest).await;
    let mut reader = rest.follow(&format!("/executions/{id}/logs?follow=true"), &[]).await;
    let agent = Agent::join(&rest, sample::worker_id(1)).await;
    let job = agent.assigned().await;
    let mut log = new_log();
    agent.print(job.claim, &mut log, Stream::Stdout, b"no newline yet").await;
    reader.until("no newline yet").await;
    agent.print(job.claim, &mut log, Stream::Stderr, b" oops\n").await;
    reader.until("oops\n").await;
    agent.finish(job.claim, &log, Ending::Exited { code: 0 }).await;
    assert_eq!(reader.whole().await, b"no newline yet oops\n");
}

#[tokio::test]
async fn events_end_with_the_code_and_a_reader_that_comes_back_misses_nothing() {
    let rest = Rest::with_orders().await;
    let id = run(&rest).await;
    let agent = Agent::join(&rest, sample::worker_id(1)).await;
    let job = agent.assigned().await;
    let mut log = new_log();
    let path = format!("/executions/{id}/logs?follow=true");
    let mut first = rest.follow(&path, &[("accept", "text/event-stream")]).await;
    agent.print(job.claim, &mut log, Stream::Stdout, b"one\ntwo\n").await;
    first.until("id: 2\n").await;
    drop(first);
    agent.print(job.claim, &mut log, Stream::Stdout, b"three\n").await;
    let headers = [("accept", "text/event-stream"), ("last-event-id", "2")];
    let mut second = rest.follow(&path, &headers).await;
    second.until("three").await;
    agent.finish(job.claim, &log, Ending::Signalled { signal: 15 }).await;
    let all = String::from_utf8(second.whole().await).unwrap();
    assert!(!all.contains("two"), "{all}");
    assert!(all.ends_with("event: end\ndata: {\"state\":\"failed\",\"exit_code\":143}\n\n"), "{all}");
}

#[tokio::test]
async fn a_follower_goes_on_with_the_next_attempt_unless_it_asked_for_one() {
    let rest = Rest::start().await;
    let config = "worker_type: polars\ninstance_size: t3.medium\n\
                  retries: [{on: [user_error], max_attempts: 2, backoff: {initial: 0s, factor: 1, max: 0s}}]\n";
    rest.source.publish("main", files(&[("orders", config)]));
    let registered = rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "main"}}"#)).await;
    assert_eq!(registered.json()["errors"], serde_json::json!([]), "{}", registered.text());
    let id = run(&rest).await;
    let agent = Agent::join(&rest, sample::worker_id(1)).await;
    let job = agent.assigned().await;
    let mut log = new_log();
    agent.print(job.claim, &mut log, Stream::Stdout, b"first\n").await;
    let accept = [("accept", "application/x-ndjson")];
    let mut all = rest.follow(&format!("/executions/{id}/logs?follow=true"), &accept).await;
    let mut one = rest.follow(&format!("/executions/{id}/logs?follow=true&attempt=1"), &accept).await;
    all.until("first").await;
    one.until("first").await;
    agent.finish(job.claim, &log, Ending::Exited { code: 1 }).await;
    let again = agent.assigned().await;
    assert_eq!(again.claim.attempt.number.0, 2);
    let mut log = new_log();
    agent.print(again.claim, &mut log, Stream::Stdout, b"second\n").await;
    all.until("second").await;
    agent.finish(again.claim, &log, Ending::Exited { code: 0 }).await;
    let all = String::from_utf8(all.whole().await).unwrap();
    let attempts: Vec<u64> = all
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["attempt"].as_u64().unwrap())
        .collect();
    assert_eq!(attempts, [1, 2], "{all}");
    let one = String::from_utf8(one.whole().await).unwrap();
    assert_eq!(one.lines().count(), 1, "{one}");
    let older = rest.ask("GET", &format!("/executions/{id}/logs?attempt=1"), &[], "").await;
    assert_eq!(older.body, b"first\n");
    let headers = [("accept", "text/event-stream"), ("last-event-id", "1")];
    let resumed = rest.follow(&format!("/executions/{id}/logs?follow=true"), &headers).await;
    let resumed = String::from_utf8(resumed.whole().await).unwrap();
    assert!(!resumed.contains("first") && resumed.contains("id: 2:1\n"), "{resumed}");
}

#[tokio::test]
async fn a_follower_of_a_range_leaves_when_it_has_it() {
    let rest = Rest::with_orders().await;
    let id = run(&rest).await;
    let agent = Agent::join(&rest, sample::worker_id(1)).await;
    let job = agent.assigned().await;
    let mut log = new_log();
    let reader = rest.follow(&format!("/executions/{id}/logs?follow=true&to_line=2"), &[]).await;
    agent.print(job.claim, &mut log, Stream::Stdout, b"1\n2\n3\n").await;
    agent.print(job.claim, &mut log, Stream::Stdout, b"4\n").await;
    assert_eq!(reader.whole().await, b"1\n2\n");
}

#[tokio::test]
async fn a_follower_begins_with_the_tail() {
    let rest = Rest::with_orders().await;
    let id = run(&rest).await;
    let agent = Agent::join(&rest, sample::worker_id(1)).await;
    let job = agent.assigned().await;
    let mut log = new_log();
    agent.print(job.claim, &mut log, Stream::Stdout, b"1\n2\n3\n").await;
    let reader = rest.follow(&format!("/executions/{id}/logs?follow=true&tail=1"), &[]).await;
    agent.print(job.claim, &mut log, Stream::Stdout, b"4\n").await;
    agent.finish(job.claim, &log, Ending::Exited { code: 0 }).await;
    assert_eq!(reader.whole().await, b"3\n4\n");
}

#[tokio::test]
async fn no_more_streams_are_open_than_may_be() {
    let options = data_runner_rest::RouterOptions { streams: 1, ..Default::default() };
    let rest = Rest::over(data_runner_testkit::memory::store::MemoryStore::new(), options).await;
    let one = rest.follow("/events", &[]).await;
    let refused = rest.get("/events").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_streams"));
    assert_eq!(refused.head["retry-after"], "5");
    drop(one);
    rest.follow("/events", &[]).await.until("retry").await;
}
