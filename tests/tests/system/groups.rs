//! Executions that belong together, on local workers: matrices and backfills.

use data_runner_tests::{Finished, Repository, Sandbox, Server, cli, polars, until, workflow};
use serde_json::{Value, json};

const PRINTS: &str = r#"
import os, sys
region = os.environ["DATA_RUNNER_PARAM_REGION"]
print(region, os.environ["DATA_RUNNER_PARAM_DAY"])
sys.exit(3 if region == os.environ["DATA_RUNNER_PARAM_BAD"] else 0)
"#;

const MATRIX: &str = r#"
params:
  region: {type: enum, values: [eu, us, none]}
  day: {type: date, default: "${schedule.date}"}
  bad: {type: string, default: none}
matrix: {values: {region: [eu, us]}, max_parallel: 1}
"#;

const DAILY: &str = r#"
schedule: [{cron: "0 6 * * 1-5"}]
params:
  region: {type: string, default: eu}
  day: {type: date, default: "${schedule.date}"}
  bad: {type: string, default: none}
"#;

async fn serving(sandbox: &Sandbox) -> Server<'_> {
    let repository = Repository::with(
        sandbox.join("etl"),
        [workflow("load", &polars(MATRIX), PRINTS), workflow("daily", &polars(DAILY), PRINTS)],
    );
    Server::dev(sandbox, &["--workers", "2", repository.url().as_str()]).await
}

async fn run(sandbox: &Sandbox, server: &Server<'_>, arguments: &[&str]) -> Finished {
    cli(sandbox, Some(&server.rest.address), arguments).await
}

async fn ended(server: &Server<'_>, id: &str) -> Value {
    until("the group has ended", async || {
        let group = server.rest.get(&format!("/groups/{id}")).await.ok();
        group["ended_at"].is_string().then_some(group)
    })
    .await
}

fn column(group: &Value, name: &str) -> Vec<String> {
    let members = group["members"].as_array().unwrap();
    members.iter().map(|it| it[name].as_str().unwrap_or("-").to_owned()).collect()
}

#[tokio::test]
async fn a_matrix_makes_an_execution_for_each_value_and_ends_well_only_if_all_did() {
    let sandbox = Sandbox::new();
    let server = serving(&sandbox).await;
    let good = run(&sandbox, &server, &["run", "load", "-o", "json"]).await;
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    let group: Value = serde_json::from_str(&good.text()).unwrap();
    assert_eq!(group["counts"]["success"], 2);
    let first = group["members"][0]["execution"].as_str().unwrap();
    let execution = server.rest.execution(first).await;
    assert_eq!((&execution["params"]["region"], &execution["group"]), (&json!("eu"), &group["id"]));
    assert!(server.rest.log(first, "").await.starts_with(b"eu "));

    let bad = run(&sandbox, &server, &["run", "load", "-p", "bad=us"]).await;
    assert_eq!(bad.code, Some(1), "{}", bad.stderr);
    assert!(bad.text().contains("1 success, 1 failed"), "{}", bad.text());
    // One combination is an execution like any other.
    assert_eq!(run(&sandbox, &server, &["run", "load", "-p", "region=us"]).await.code, Some(0));
    let detached = run(&sandbox, &server, &["run", "load", "--detach"]).await;
    let group = ended(&server, detached.text().trim()).await;
    assert_eq!(column(&group, "state"), ["success", "success"]);
    let listed = run(&sandbox, &server, &["group", "list", "-o", "name"]).await;
    assert_eq!(listed.text().lines().count(), 3, "{}", listed.text());
}

#[tokio::test]
async fn a_backfill_runs_each_date_of_the_schedule_and_can_be_tried_dry_paused_and_cancelled() {
    let sandbox = Sandbox::new();
    let server = serving(&sandbox).await;
    let range = ["--from", "2026-07-31", "--to", "2026-08-04"];
    let dry =
        run(&sandbox, &server, &[&["backfill", "daily", "--dry-run", "-o", "name"], &range[..]].concat())
            .await;
    // Friday, Monday, Tuesday.
    assert_eq!(dry.text(), "2026-07-31\n2026-08-03\n2026-08-04\n", "{}", dry.stderr);
    let done = run(&sandbox, &server, &[&["backfill", "daily", "-o", "json"], &range[..]].concat()).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let group: Value = serde_json::from_str(&done.text()).unwrap();
    assert_eq!(column(&group, "schedule_date"), ["2026-07-31", "2026-08-03", "2026-08-04"]);
    let last = group["members"][2]["execution"].as_str().unwrap();
    assert_eq!(server.rest.log(last, "").await, b"eu 2026-08-04\n");
    assert_eq!(server.rest.execution(last).await["trigger"], "backfill");

    // The matrix for each day, of which there is no schedule.
    let body = json!({"from": "2026-07-01", "to": "2026-07-02", "dry_run": true});
    let plan = server.rest.post("/workflows/load/backfill", body).await.ok();
    assert_eq!(plan["items"].as_array().unwrap().len(), 4);

    let body = json!({"from": "2025-01-01", "to": "2025-12-31"});
    let group = server.rest.post("/workflows/daily/backfill", body).await.ok();
    let id = group["id"].as_str().unwrap();
    let paused = server.rest.post(&format!("/groups/{id}/pause"), json!({})).await.ok();
    assert_eq!(paused["state"], "paused");
    assert_eq!(server.rest.post(&format!("/groups/{id}/resume"), json!({})).await.ok()["state"], "running");
    assert_eq!(run(&sandbox, &server, &["group", "cancel", id]).await.code, Some(0));
    let group = ended(&server, id).await;
    assert_eq!(group["state"], "cancelled");
    assert!(group["counts"]["skipped"].as_u64().unwrap() > 200, "{}", group["counts"]);
    let again = server.rest.post(&format!("/groups/{id}/resume"), json!({})).await;
    assert_eq!(again.refusal(), (409, "already_ended".to_owned()));
}

#[tokio::test]
async fn a_group_goes_on_where_it_was_when_the_supervisor_is_killed() {
    let sandbox = Sandbox::new();
    let mut server = serving(&sandbox).await;
    let body = json!({"from": "2026-07-01", "to": "2026-07-14"});
    let group = server.rest.post("/workflows/daily/backfill", body).await.ok();
    let id = group["id"].as_str().unwrap().to_owned();
    until("some have succeeded", async || {
        let group = server.rest.get(&format!("/groups/{id}")).await.ok();
        (group["counts"]["success"].as_u64() >= Some(2)).then_some(())
    })
    .await;
    server.kill();
    server.again().await;
    let group = ended(&server, &id).await;
    assert_eq!(group["counts"]["success"], 10, "{group:#}");
    let mut executions = column(&group, "execution");
    executions.sort();
    executions.dedup();
    assert_eq!(executions.len(), 10);
    let all = server.rest.get("/executions?workflow=daily&limit=100").await.ok();
    assert_eq!(all["items"].as_array().unwrap().len(), 10, "each date has one execution");
}
