//! Pages of executions.
//!
//! Each filter has an index whose order within the filter is that of the ids, so a page costs what it shows, not what
//! the store holds. Several states are several ranges of one index, each cut to the page's length and then merged.
//! A group has an index of its own, and a label is looked up in its own table; further filters then test the executions that were found so, one by one.

use data_runner_core::execution::{Execution, StateName};
use data_runner_core::id::GroupId;
use data_runner_core::port::{ExecutionQuery, StateError};
use data_runner_core::time::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqlitePool};
use std::time::Duration;

use crate::body::{ExecutionRow, Key};
use crate::error::store_error;

/// Ids sort by the millisecond of creation (RFC 9562); times are kept to the microsecond. Beyond this distance the
/// order of ids is the order of times.
const ID_RESOLUTION: Duration = Duration::from_millis(2);

pub(super) async fn read(readers: &SqlitePool, query: &ExecutionQuery) -> Result<Vec<Execution>, StateError> {
    let mut sql = statement(query);
    // Not kept: there are as many texts as combinations of filters.
    let rows = sql.build().persistent(false).fetch_all(readers).await.map_err(store_error)?;
    rows.iter().map(|row| decode(row)?.decode()).collect()
}

/// The statement for `query`, with its values bound.
pub(crate) fn statement(query: &ExecutionQuery) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("WITH page(id) AS MATERIALIZED (SELECT id FROM (");
    match (&query.group, &query.label) {
        (Some(group), _) => by_group(&mut sql, query, *group),
        (None, Some((key, value))) => by_label(&mut sql, query, key, value),
        (None, None) => by_state(&mut sql, query),
    }
    sql.push(") ORDER BY id DESC LIMIT ").push_bind(query.limit);
    sql.push(
        ") SELECT e.id, e.workflow, e.created_at, e.body, s.body AS spec, (
            SELECT '[' || coalesce(group_concat(a.body, ',' ORDER BY a.number), '') || ']'
            FROM attempts AS a WHERE a.execution = e.id
        ) AS attempts
        FROM page CROSS JOIN executions AS e ON e.id = page.id CROSS JOIN execution_specs AS s ON s.execution = e.id
        ORDER BY page.id DESC",
    );
    sql
}

fn by_state(sql: &mut QueryBuilder<Sqlite>, query: &ExecutionQuery) {
    let states = match (query.states.as_slice(), query.workflow) {
        ([], None) => {
            sql.push("SELECT id FROM executions AS e WHERE true");
            within(sql, query, "e.id");
            sql.push(" ORDER BY id DESC LIMIT ").push_bind(query.limit);
            return;
        }
        // The index goes by workflow, state, id: of any state means of each.
        ([], Some(_)) => StateName::ALL.as_slice(),
        (states, _) => states,
    };
    for (place, state) in StateName::ALL.into_iter().filter(|state| states.contains(state)).enumerate() {
        sql.push(if place == 0 { "" } else { " UNION ALL " });
        sql.push("SELECT id FROM (SELECT id FROM executions AS e INDEXED BY ");
        sql.push(if query.workflow.is_some() { "executions_by_workflow" } else { "executions_by_state" });
        sql.push(" WHERE state = ").push_bind(state.as_str());
        if let Some(workflow) = query.workflow {
            sql.push(" AND workflow = ").push_bind(workflow.key());
        }
        within(sql, query, "e.id");
        sql.push(" ORDER BY id DESC LIMIT ").push_bind(query.limit).push(")");
    }
}

fn by_label(sql: &mut QueryBuilder<Sqlite>, query: &ExecutionQuery, key: &str, value: &str) {
    sql.push(
        "SELECT l.execution AS id FROM execution_labels AS l CROSS JOIN executions AS e ON e.id = l.execution
        WHERE l.key = ",
    );
    sql.push_bind(key.to_owned()).push(" AND l.value = ").push_bind(value.to_owned());
    within(sql, query, "l.execution");
    one_by_one(sql, query);
    sql.push(" ORDER BY l.execution DESC LIMIT ").push_bind(query.limit);
}

/// The executions of a group are found by their own index; labels too are then tested one by one.
fn by_group(sql: &mut QueryBuilder<Sqlite>, query: &ExecutionQuery, group: GroupId) {
    sql.push(
        "SELECT g.execution AS id FROM execution_specs AS g INDEXED BY execution_specs_by_group
        CROSS JOIN executions AS e ON e.id = g.execution WHERE json_extract(g.body, '$.group.group') = ",
    );
    sql.push_bind(group.to_string());
    within(sql, query, "g.execution");
    one_by_one(sql, query);
    if let Some((key, value)) = &query.label {
        sql.push(
            " AND EXISTS (SELECT 1 FROM execution_labels AS l WHERE l.execution = g.execution AND l.key = ",
        );
        sql.push_bind(key.clone()).push(" AND l.value = ").push_bind(value.clone()).push(")");
    }
    sql.push(" ORDER BY g.execution DESC LIMIT ").push_bind(query.limit);
}

/// Tests each execution that was found otherwise for its workflow and state.
fn one_by_one(sql: &mut QueryBuilder<Sqlite>, query: &ExecutionQuery) {
    if let Some(workflow) = query.workflow {
        sql.push(" AND e.workflow = ").push_bind(workflow.key());
    }
    if !query.states.is_empty() {
        sql.push(" AND e.state IN (");
        let mut list = sql.separated(", ");
        for state in &query.states {
            list.push_bind(state.as_str());
        }
        sql.push(")");
    }
}

/// Cuts the ids to the page's place and time. The times themselves are tested too; the range of ids only spares the
/// look at everything newer or older.
fn within(sql: &mut QueryBuilder<Sqlite>, query: &ExecutionQuery, id: &str) {
    if let Some(before) = query.before {
        sql.push(" AND ").push(id).push(" < ").push_bind(before.key());
    }
    if let Some(until) = query.until {
        sql.push(" AND e.created_at < ").push_bind(until.micros());
        bound(sql, id, " < ", " >= ", "ASC", until.after(ID_RESOLUTION), vec![0xff; 17]);
    }
    if let Some(since) = query.since {
        sql.push(" AND e.created_at >= ").push_bind(since.micros());
        bound(sql, id, " > ", " < ", "DESC", since.before(ID_RESOLUTION), Vec::new());
    }
}

/// The id of the first execution beyond the time, or `else_than` if there is none.
fn bound(
    sql: &mut QueryBuilder<Sqlite>,
    id: &str,
    side: &str,
    beyond: &str,
    order: &str,
    at: Timestamp,
    else_than: Vec<u8>,
) {
    sql.push(" AND ").push(id).push(side);
    sql.push("coalesce((SELECT id FROM executions INDEXED BY executions_by_time WHERE created_at");
    sql.push(beyond).push_bind(at.micros()).push(" ORDER BY created_at ").push(order).push(" LIMIT 1), ");
    sql.push_bind(else_than).push(")");
}

fn decode(row: &SqliteRow) -> Result<ExecutionRow, StateError> {
    let row = || {
        Ok(ExecutionRow {
            id: row.try_get(0)?,
            workflow: row.try_get(1)?,
            created_at: row.try_get(2)?,
            body: row.try_get(3)?,
            spec: row.try_get(4)?,
            attempts: row.try_get(5)?,
        })
    };
    row().map_err(store_error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use data_runner_core::id::{ExecutionId, WorkflowId};
    use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
    use uuid::Uuid;

    use super::*;

    /// What SQLite does for a page of `query`: each step, and the one that it belongs to.
    async fn plan(connection: &mut SqliteConnection, query: &ExecutionQuery) -> Vec<(i64, String)> {
        let sql = format!("EXPLAIN QUERY PLAN {}", statement(query).sql().as_str());
        let steps = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap();
        steps.iter().map(|step| (step.get("parent"), step.get("detail"))).collect()
    }

    /// Whether a step reads a range of rows that grows with history; whoever sorts it reads it to its end.
    fn reads_history(step: &str) -> bool {
        [
            "SCAN e",
            "SEARCH l",
            "SEARCH g",
            "SEARCH e USING COVERING",
            "SEARCH e USING INDEX",
            "SEARCH e USING PRIMARY KEY (id<",
        ]
        .iter()
        .any(|start| step.starts_with(start))
    }

    /// Every combination of filters.
    fn queries() -> Vec<ExecutionQuery> {
        let id = Uuid::from_u128(7);
        let at = Timestamp::from_micros(1);
        (0..128)
            .map(|bits: u32| {
                let has = |bit: u32| bits & (1 << bit) != 0;
                ExecutionQuery {
                    states: if has(0) { vec![StateName::Failed, StateName::Success] } else { Vec::new() },
                    workflow: has(1).then(|| WorkflowId::from_uuid(id)),
                    label: has(2).then(|| ("tier".to_owned(), "gold".to_owned())),
                    since: has(3).then_some(at),
                    until: has(4).then_some(at),
                    before: has(5).then(|| ExecutionId::from_uuid(id)),
                    group: has(6).then(|| GroupId::from_uuid(id)),
                    limit: 50,
                }
            })
            .collect()
    }

    #[tokio::test]
    async fn every_page_is_found_by_index_and_no_history_is_sorted() {
        let folder = tempfile::tempdir().unwrap();
        crate::SqliteStore::open(folder.path()).await.unwrap().close().await.unwrap();
        let url = format!("sqlite://{}", folder.path().join("state.db").display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        for query in queries() {
            let steps = plan(&mut connection, &query).await;
            for (parent, step) in &steps {
                // The newest of all are read from the end of the table; anything narrower is searched.
                let newest = step == "SCAN e" && query.states.is_empty() && query.workflow.is_none();
                let own = step.starts_with("SCAN page") || step.starts_with("SCAN (subquery");
                assert!(!step.starts_with("SCAN") || newest || own, "{step}\n{steps:#?}\n{query:?}");
                let sorts_history = step == "USE TEMP B-TREE FOR ORDER BY"
                    && steps.iter().any(|(of, sibling)| of == parent && reads_history(sibling));
                assert!(!sorts_history, "{steps:#?}\n{query:?}");
            }
        }
    }
}
