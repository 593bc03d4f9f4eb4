//! Workflows that run by themselves.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use data_runner_tests::{Repository, Rest, Sandbox, Server, polars, until, workflow};
use serde_json::Value;
use tokio::time::Instant;

/// What is left of this minute.
fn left() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Duration::from_secs(60).saturating_sub(Duration::from_millis((now.as_millis() % 60_000) as u64))
}

/// The executions that the schedule made, by the moment of each.
async fn made(rest: &Rest) -> Vec<(String, Value)> {
    let listed = rest.get("/executions").await.ok();
    let items = listed["items"].as_array().unwrap().iter();
    items.map(|item| (item["schedule"]["due"].as_str().unwrap().to_owned(), item.clone())).collect()
}

#[tokio::test]
async fn a_time_of_a_schedule_makes_one_execution_though_the_supervisor_is_killed_before_and_after_it() {
    let sandbox = Sandbox::new();
    let mut server = Server::supervisor(&sandbox, "local: {workers: 1}\n").await;
    let config = polars("schedule:\n  - {cron: \"* * * * *\", timezone: UTC}\n");
    let repository = Repository::with(sandbox.join("etl"), [workflow("job", &config, "print('done')")]);
    let rest = server.rest.clone();
    rest.register(&repository.url()).await;
    if left() < Duration::from_secs(5) {
        tokio::time::sleep(left()).await;
    }
    let schedules = rest.get("/schedules").await.ok();
    let due = schedules["items"][0]["next"].as_str().unwrap().to_owned();

    // Nobody is there when it is due; the next one comes soon enough.
    let minute = Instant::now() + left();
    tokio::time::sleep_until(minute - Duration::from_secs(1)).await;
    server.kill();
    tokio::time::sleep_until(minute).await;
    server.again().await;
    let execution = until("the execution of the schedule", async || {
        made(&rest).await.into_iter().find(|(at, _)| *at == due).map(|(_, execution)| execution)
    })
    .await;
    server.kill();
    server.again().await;
    let execution = rest.succeeded(execution["id"].as_str().unwrap()).await;
    assert_eq!(execution["trigger"], "schedule", "{execution:#}");

    let made = made(&rest).await;
    let times: BTreeSet<&str> = made.iter().map(|(due, _)| due.as_str()).collect();
    assert_eq!(times.len(), made.len(), "{times:?}");
    let known = rest.get("/schedules").await.ok();
    assert_eq!(known["items"][0]["last"]["outcome"], "submitted", "{known:#}");
}
