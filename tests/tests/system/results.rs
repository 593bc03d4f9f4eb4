//! Workflows of a git repository give right results, side by side.

use data_runner_tests::{Repository, Sandbox, Server, polars, workflow};
use serde_json::{Value, json};

const MAKE_DATA: &str = r#"
import json, os
import polars as pl

folder, rows = os.environ["DATA_RUNNER_PARAM_FOLDER"], json.loads(os.environ["DATA_RUNNER_PARAMS"])["rows"]
orders = pl.DataFrame({
    "order": list(range(rows)),
    "customer": [i % 7 for i in range(rows)],
    "amount": [(i * 37) % 101 for i in range(rows)],
})
orders.write_parquet(f"{folder}/orders.parquet")
pl.DataFrame({"customer": list(range(7)), "country": ["ES", "DE", "ES", "FR", "DE", "ES", "IT"]}).write_parquet(
    f"{folder}/customers.parquet"
)
print(f"wrote {rows} orders")
json.dump({"rows": orders.height}, open(os.environ["DATA_RUNNER_OUTPUT"], "w"))
"#;

const JOIN: &str = r#"
import json, os
import polars as pl

folder = os.environ["DATA_RUNNER_PARAM_FOLDER"]
sums = (
    pl.scan_parquet(f"{folder}/orders.parquet")
    .join(pl.scan_parquet(f"{folder}/customers.parquet"), on="customer")
    .group_by("country").agg(pl.col("amount").sum())
    .collect()
)
json.dump(dict(sums.iter_rows()), open(os.environ["DATA_RUNNER_OUTPUT"], "w"))
"#;

const RANK: &str = r#"
.mode csv
CREATE TABLE ranked AS
SELECT customer, "order", amount, row_number() OVER (PARTITION BY customer ORDER BY amount DESC, "order") AS place
FROM read_parquet(getvariable('folder') || '/orders.parquet');
SELECT customer, "order", amount FROM ranked WHERE place <= getvariable('top') ORDER BY customer, place;
"#;

const OWN_PACKAGE: &str = r#"
import tabulate

print(tabulate.tabulate([["a", 1]], headers=["name", "n"], tablefmt="github"))
print(tabulate.__version__)
"#;

const FOLDER: &str = "params:\n  folder: {type: string}\n";

fn repository(sandbox: &Sandbox) -> Repository {
    let rank = "worker_type: duckdb\ninstance_size: t3.small\nparams:\n  folder: {type: string}\n  top: {type: int, default: 3}\n";
    let package = polars("dependencies: {requirements: [tabulate==0.9.0]}\n");
    let make = polars("params:\n  folder: {type: string}\n  rows: {type: int, default: 1000}\n");
    Repository::with(
        sandbox.join("etl"),
        [
            workflow("make-data", &make, MAKE_DATA),
            workflow("join", &polars(FOLDER), JOIN),
            vec![
                ("workflows/rank/config.yaml".to_owned(), rank.into()),
                ("workflows/rank/workflow.sql".to_owned(), RANK.into()),
            ],
            workflow("own-package", &package, OWN_PACKAGE),
        ],
    )
}

/// The orders as the workflow makes them: number, customer, amount.
fn orders(rows: u64) -> Vec<(u64, u64, u64)> {
    (0..rows).map(|i| (i, i % 7, (i * 37) % 101)).collect()
}

fn sums(rows: u64) -> Value {
    let countries = ["ES", "DE", "ES", "FR", "DE", "ES", "IT"];
    let mut sums = std::collections::BTreeMap::new();
    for (_, customer, amount) in orders(rows) {
        *sums.entry(countries[usize::try_from(customer).unwrap()]).or_insert(0) += amount;
    }
    json!(sums)
}

fn ranked(rows: u64, top: usize) -> String {
    let mut text = String::from("customer,order,amount\n");
    for customer in 0..7 {
        let mut own: Vec<_> = orders(rows).into_iter().filter(|order| order.1 == customer).collect();
        own.sort_by_key(|(number, _, amount)| (u64::MAX - amount, *number));
        for (number, customer, amount) in own.into_iter().take(top) {
            text.push_str(&format!("{customer},{number},{amount}\n"));
        }
    }
    text
}

#[tokio::test]
async fn polars_and_duckdb_read_the_parquet_of_another_workflow_and_compute_what_is_right() {
    let sandbox = Sandbox::new();
    let repository = repository(&sandbox);
    let server = Server::dev(&sandbox, &[]).await;
    let rest = &server.rest;
    let registered = rest.register(&repository.url()).await;
    assert_eq!(registered["items"].as_array().unwrap().len(), 4, "{registered:#}");
    let folder = sandbox.text("");

    let made = rest.execute("make-data", json!({"folder": folder, "rows": 500})).await;
    assert_eq!(rest.succeeded(&made).await["output"], json!({"rows": 500}));
    let join = rest.execute("join", json!({"folder": folder})).await;
    let rank = rest.execute("rank", json!({"folder": folder, "top": 2})).await;
    let package = rest.execute("own-package", json!({})).await;

    assert_eq!(rest.succeeded(&join).await["output"], sums(500));
    rest.succeeded(&rank).await;
    let table = String::from_utf8(rest.log(&rank, "stream=stdout").await).unwrap();
    assert_eq!(table.replace('\r', ""), ranked(500, 2));
    rest.succeeded(&package).await;
    let said = String::from_utf8(rest.log(&package, "stream=stdout").await).unwrap();
    assert!(said.contains("| name") && said.ends_with("0.9.0\n"), "{said}");
}

#[tokio::test]
async fn two_workers_run_two_executions_at_the_same_time() {
    let sandbox = Sandbox::new();
    // Each ends only if the other runs beside it.
    let meet = r#"
import os, time
own, other = os.environ["DATA_RUNNER_PARAM_OWN"], os.environ["DATA_RUNNER_PARAM_OTHER"]
open(own, "w").close()
while not os.path.exists(other):
    time.sleep(0.01)
"#;
    let config = polars("params:\n  own: {type: string}\n  other: {type: string}\ntimeout: 2m\n");
    let repository = Repository::with(sandbox.join("etl"), [workflow("meet", &config, meet)]);
    let server = Server::dev(&sandbox, &["--workers", "2", repository.url().as_str()]).await;
    let (a, b) = (sandbox.text("a"), sandbox.text("b"));
    let first = server.rest.execute("meet", json!({"own": a, "other": b})).await;
    let second = server.rest.execute("meet", json!({"own": b, "other": a})).await;
    let (first, second) = (server.rest.succeeded(&first).await, server.rest.succeeded(&second).await);
    assert_ne!(first["worker_id"], second["worker_id"]);
}

#[tokio::test]
async fn the_repositories_of_dev_may_be_plain_folders_with_uncommitted_files() {
    let sandbox = Sandbox::new();
    for (path, content) in workflow("hello", &polars(""), "print('uncommitted')\n") {
        let path = sandbox.join("plain").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let server = Server::dev(&sandbox, &["plain"]).await;
    let id = server.rest.execute("plain/hello", json!({})).await;
    server.rest.succeeded(&id).await;
    assert_eq!(server.rest.log(&id, "").await, b"uncommitted\n");
}
