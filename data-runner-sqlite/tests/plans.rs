//! No query may become slow with history: each one that is kept in `.sqlx` is explained, and may not walk through a
//! table that grows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use data_runner_sqlite::SqliteStore;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
use tempfile::TempDir;

/// Walks that are meant: partial indexes of what is active, tables of a handful of rows, lists that the caller gives,
/// and what is read whole by its meaning.
const MEANT: [&str; 17] = [
    "SCAN json_each VIRTUAL TABLE",
    "SCAN e USING INDEX executions_active",
    "SCAN workers USING INDEX workers_live",
    "SCAN workers USING INDEX workers_terminated",
    "SCAN logs USING INDEX logs_open",
    "SCAN groups USING INDEX groups_active",
    "SCAN deliveries USING INDEX deliveries_pending",
    "SCAN workflows",
    "SCAN repos",
    "SCAN schedules",
    "SCAN needs",
    "SCAN tokens",
    "SCAN tenure",
    "SCAN execution_counts",
    "SCAN CONSTANT ROW",
    "SCAN (subquery",
    "SCAN of",
];

/// What SQLite does for `statement`, a line a step.
async fn plan(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
    sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
        .fetch_all(connection)
        .await
        .unwrap()
        .iter()
        .map(|row| row.get("detail"))
        .collect()
}

fn kept_queries() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx");
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let query: serde_json::Value = serde_json::from_str(&text).unwrap();
            query["query"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn no_checked_query_walks_through_a_table_that_grows() {
    let folder = TempDir::new().unwrap();
    SqliteStore::open(folder.path()).await.unwrap().close().await.unwrap();
    let url = format!("sqlite://{}", folder.path().join("state.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let queries = kept_queries();
    assert!(queries.len() > 30, "the kept queries were not found");
    for query in queries {
        for step in plan(&mut connection, &query).await {
            let meant = !step.contains("SCAN") || MEANT.iter().any(|meant| step.starts_with(meant));
            let sorts_history =
                step.contains("TEMP B-TREE") && query.contains("LIMIT") && !query.contains("UNION");
            assert!(meant && !sorts_history, "{step}\nin\n{query}");
        }
    }
}
