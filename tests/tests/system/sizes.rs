//! Sizes: what runs used, what follows from it, and a size up when memory ran out.

use data_runner_tests::{Repository, Sandbox, Server, cli, polars, workflow};
use serde_json::{Value, json};

const SQL: &str = "\
CREATE TABLE orders AS SELECT range AS id, range % 7 AS customer FROM range(200000);
COPY orders TO 'orders.parquet';
SELECT customer, count(*) AS n FROM 'orders.parquet' GROUP BY customer ORDER BY customer;
";

/// Needs more memory than the smallest size has, for as long as it takes to be seen where no kernel watches.
const HUNGRY: &str = "\
import time
held = bytearray(700 << 20)
time.sleep(2.5)
print('it was enough')
";

fn repository(sandbox: &Sandbox) -> Repository {
    let sales = "worker_type: duckdb\ninstance_size: m5.xlarge\n";
    let small =
        |compute: &str| format!("worker_type: polars\ninstance_size: t3.nano\ncompute: {{{compute}}}\n");
    Repository::with(
        sandbox.join("etl"),
        [
            vec![
                ("workflows/sales/config.yaml".to_owned(), sales.into()),
                ("workflows/sales/workflow.sql".to_owned(), SQL.into()),
            ],
            workflow("hungry", &small("on_out_of_memory: larger"), HUNGRY),
            workflow("starving", &small("on_out_of_memory: fail"), HUNGRY),
            workflow("plain", &polars(""), "print('hello')\n"),
        ],
    )
}

async fn run(sandbox: &Sandbox, server: &Server<'_>, arguments: &[&str]) -> String {
    let ended = cli(sandbox, Some(&server.rest.address), arguments).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.text()
}

#[tokio::test]
async fn statements_usage_and_advice_follow_from_what_ran() {
    let sandbox = Sandbox::new();
    let server = Server::dev(&sandbox, &[repository(&sandbox).url().as_str()]).await;
    let rest = &server.rest;
    let early: Value =
        serde_json::from_str(&run(&sandbox, &server, &["advise", "sales", "-o", "json"]).await).unwrap();
    assert_eq!(early["verdict"], "too_little_evidence");
    let mut last = String::new();
    for _ in 0..3 {
        last = rest.execute("sales", json!({})).await;
        rest.succeeded(&last).await;
    }
    let attempt = rest.execution(&last).await["attempts"][0].clone();
    let rows: Vec<_> =
        attempt["sql"]["statements"].as_array().unwrap().iter().map(|it| &it["rows"]).collect();
    assert_eq!(rows, [200_000, 200_000, 7], "{attempt:#}");
    assert!(attempt["usage"]["peak_folder_bytes"].as_u64().unwrap() > 0, "{attempt:#}");
    assert_eq!(attempt["usage"]["received_bytes"], Value::Null, "others may use this machine");
    let page = run(&sandbox, &server, &["show", &last]).await;
    for part in
        ["COPY orders TO 'orders.parquet'", "Last result", "│ customer │", "folder", "size       m5.xlarge"]
    {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    let advice = run(&sandbox, &server, &["advise", "sales"]).await;
    assert!(advice.contains("m5.large would do instead of m5.xlarge"), "{advice}");
    assert!(advice.contains("costs nothing"), "there are no prices here: {advice}");
}

#[tokio::test]
async fn what_ran_out_of_memory_goes_on_with_the_next_size_where_that_is_allowed() {
    let sandbox = Sandbox::new();
    let server = Server::dev(&sandbox, &[repository(&sandbox).url().as_str()]).await;
    let rest = &server.rest;
    let (hungry, starving) =
        (rest.execute("hungry", json!({})).await, rest.execute("starving", json!({})).await);
    let grown = rest.succeeded(&hungry).await;
    let sizes: Vec<_> = grown["attempts"].as_array().unwrap().iter().map(|it| &it["instance_size"]).collect();
    assert_eq!(sizes, ["t3.nano", "t3.micro"], "{grown:#}");
    assert_eq!(grown["enlarged"], json!([{"after_attempt": 1, "from": "t3.nano", "to": "t3.micro"}]));
    let events = rest.get(&format!("/executions/{hungry}/events")).await.ok();
    let told = events["items"].as_array().unwrap().iter().any(|event| {
        event["message"].as_str().is_some_and(|text| text.contains("on t3.micro instead of t3.nano"))
    });
    assert!(told, "{events:#}");
    let failed = rest.ended(&starving).await;
    assert_eq!((&failed["state"], &failed["failure"]["cause"]), (&json!("failed"), &json!("out_of_memory")));
    assert_eq!(failed["attempts"].as_array().unwrap().len(), 1);
}
