//! Workflows that start when those that they need have succeeded, on local workers.

use data_runner_tests::{Repository, Sandbox, Server, cli, polars, until, workflow};
use serde_json::{Value, json};

const ORDERS: &str = r#"
import json, os
with open(os.environ["DATA_RUNNER_OUTPUT"], "w") as file:
    json.dump({"path": "orders.parquet", "rows": 3}, file)
"#;

const REPORT: &str = r#"
import os
print(os.environ["DATA_RUNNER_PARAM_PATH"], os.environ["DATA_RUNNER_PARAM_ROWS"])
"#;

const NEEDS: &str = r#"
needs: [{workflow: orders, within: 1h}]
params:
  path: {type: string, default: "${needs.orders.output.path}"}
  rows: {type: int, default: "${needs.orders.output.rows}"}
"#;

async fn of(server: &Server<'_>, workflow: &str) -> Vec<Value> {
    let page = server.rest.get(&format!("/executions?workflow={workflow}")).await.ok();
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_success_starts_the_next_workflow_with_what_it_wrote_once_also_over_a_restart() {
    let sandbox = Sandbox::new();
    let repository = Repository::with(
        sandbox.join("etl"),
        [workflow("orders", &polars(""), ORDERS), workflow("report", &polars(NEEDS), REPORT)],
    );
    let mut server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    let orders = server.rest.execute("orders", json!({})).await;
    server.rest.succeeded(&orders).await;
    let id = until("the report is started", async || {
        of(&server, "report").await.first().map(|it| it["id"].as_str().unwrap().to_owned())
    })
    .await;
    let report = server.rest.succeeded(&id).await;
    assert_eq!(server.rest.log(&id, "").await, b"orders.parquet 3\n");
    assert_eq!(report["trigger"], "needs");
    assert_eq!(report["needs"], json!([{"workflow": "etl/orders", "execution": orders}]));

    server.kill();
    server.again().await;
    let second = server.rest.execute("orders", json!({})).await;
    server.rest.succeeded(&second).await;
    until("the second report", async || (of(&server, "report").await.len() == 2).then_some(())).await;

    let shown = cli(&sandbox, Some(&server.rest.address), &["workflow", "show", "report"]).await;
    assert!(shown.text().contains("etl/orders") && shown.text().contains("1h"), "{}", shown.text());
    let shown = server.rest.get("/workflows/orders").await.ok();
    assert_eq!(shown["needed_by"], json!(["etl/report"]));
    // By hand, what the orders would have given must be given.
    let refused = server.rest.post("/workflows/report/execute", json!({})).await;
    assert_eq!(refused.status, 422);
    server.rest.succeeded(&server.rest.execute("report", json!({"path": "x", "rows": 1})).await).await;
    assert_eq!(of(&server, "report").await.len(), 3);
}

#[tokio::test]
async fn validate_finds_a_circle_over_the_whole_repository() {
    let sandbox = Sandbox::new();
    let circle = polars("needs: [{workflow: report}]\n");
    let _repository = Repository::with(
        sandbox.join("etl"),
        [workflow("orders", &circle, ORDERS), workflow("report", &polars(NEEDS), REPORT)],
    );
    let found = cli(&sandbox, None, &["validate", &sandbox.text("etl")]).await;
    assert_eq!(found.code, Some(1));
    assert!(found.text().contains("orders → report → orders"), "{}", found.text());
    let one = cli(&sandbox, None, &["validate", &sandbox.text("etl/workflows/report")]).await;
    assert_eq!(one.code, Some(0), "one alone says nothing of the others: {}", one.text());
}
