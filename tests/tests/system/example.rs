//! The example repository, on one machine: everything that its README says.

use std::process::Command;

use data_runner_tests::{Receiver, Repository, Sandbox, Server, until};
use serde_json::{Value, json};

/// `3.11`, as the interpreter here is.
fn python() -> String {
    let version = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = Command::new("python3").args(["-c", version]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The shop's own supervisor.yaml, with its repository here and the package index that this machine uses.
fn settings(shop: &Repository) -> String {
    let text = shop.text("supervisor.yaml");
    let (before, repository) = text.split_once("  - name: shop\n").unwrap();
    let (_, after) = repository.split_once("hooks:").unwrap();
    let here = format!("{before}  - {{name: shop, url: \"{}\"}}\nhooks:{after}", shop.url());
    here.lines().filter(|line| !line.starts_with("python:")).map(|line| format!("{line}\n")).collect()
}

/// The newest execution of a workflow, as soon as there is one.
async fn newest(server: &Server<'_>, workflow: &str) -> String {
    until(&format!("an execution of {workflow}"), async || {
        let page = server.rest.get(&format!("/executions?workflow=shop/{workflow}")).await.ok();
        page["items"][0]["id"].as_str().map(str::to_owned)
    })
    .await
}

async fn said(server: &Server<'_>, id: &str) -> String {
    String::from_utf8(server.rest.log(id, "stream=stdout").await).unwrap()
}

#[tokio::test]
async fn the_example_repository_does_what_it_says() {
    let (sandbox, mut alerts, mut heartbeats) =
        (Sandbox::new(), Receiver::start().await, Receiver::start().await);
    let (lake, python) = (sandbox.text("lake"), format!("\"{}\"", python()));
    let shop = Repository::shop(
        sandbox.join("shop"),
        &[("/tmp/data-runner-shop", lake.as_str()), ("\"3.11\"", &python)],
    );
    let (alert, heartbeat) = (alerts.url(), heartbeats.url());
    let variables = [
        ("SHOP_KEY", "letmein"),
        ("SHOP_ALERTS", alert.as_str()),
        ("HEARTBEAT_URL", heartbeat.as_str()),
        ("GITHUB_HOOK_SECRET", "of-github"),
        ("GITLAB_HOOK_TOKEN", "of-gitlab"),
    ];
    let server = Server::supervisor_with(&sandbox, &settings(&shop), &variables).await;
    assert!(heartbeats.next().await.body.is_empty(), "it says that it serves");
    heartbeats.answer(204);
    server.rest.knows("warehouse").await;

    // The report starts by itself when both have succeeded.
    let orders = server.rest.execute("raw_orders", json!({})).await;
    let prices = server.rest.execute("prices", json!({})).await;
    let loaded = server.rest.succeeded(&orders).await;
    assert_eq!(loaded["output"]["rows"], 200);
    assert!(said(&server, &orders).await.starts_with("200 orders of "));
    server.rest.succeeded(&prices).await;
    assert!(said(&server, &prices).await.contains("30"), "the dearest");
    let report = newest(&server, "report").await;
    let reported = server.rest.succeeded(&report).await;
    assert_eq!(reported["trigger"], "needs");
    assert!(said(&server, &report).await.contains("units sold"));

    // One for each region.
    let group = server.rest.post("/workflows/by_region/execute", json!({})).await.ok();
    let group = group["id"].as_str().unwrap().to_owned();
    until("the end of the group", async || {
        let group = server.rest.get(&format!("/groups/{group}")).await.ok();
        group["ended_at"].is_string().then(|| assert_eq!(group["counts"]["success"], 3, "{group:#}"))
    })
    .await;

    // What fails is tried again, and then told as Slack takes it.
    let failing = server.rest.execute("raw_orders", json!({"rows": -1})).await;
    let failed = server.rest.ended(&failing).await;
    assert_eq!((&failed["state"], failed["attempts"].as_array().unwrap().len()), (&json!("failed"), 2));
    let alert: Value = serde_json::from_str(&alerts.next().await.body).unwrap();
    alerts.answer(204);
    assert!(alert["text"].as_str().unwrap().contains("raw_orders"), "{alert}");
}
