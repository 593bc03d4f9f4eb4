//! Pages of executions.
//!
//! Each filter has an index whose order within the filter is that of the ids, so a page costs what it shows, not what
//! the store holds. Several states are several ranges of one index, each cut to the page's length and then merged.
//! A label is looked up in its own table; further filters then test the executions that bear it, one by one.

use data_runner_core::execution::{Execution, StateName};
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
    let rows = sql
        .build()
        .persistent(false)
        .fetch_all(readers)
        .await
        .map_err(store_error)?;
    rows.iter().map(|row| decode(row)?.decode()).collect()
}

/// The statement for `query`, with its values bound.
pub(crate) fn statement(query: &ExecutionQuery) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("WITH page(id) AS MATERIALIZED (SELECT id FROM (");
    match &query.label {
        Some((key, value)) => by_label(&mut sql, query, key, value),
        None => by_state(&mut sql, query),
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
    for (place, state) in StateName::ALL
        .into_iter()
        .filter(|state| states.contains(state))
        .enumerate()
    {
        sql.push(if place == 0 { "" } else { " UNION ALL " });
        sql.push("SELECT id FROM (SELECT id FROM executions AS e INDEXED BY ");
        sql.push(if query.workflow.is_some() {
            "executions_by_workflow"
        } else {
            "executions_by_state"
        });
        sql.push(" WHERE state = ").push_bind(state.as_str());
        if let Some(workflow) = query.workflow {
            sql.push(" AND workflow = ").push_bind(workflow.key());
        }
        within(sql, query, "e.id");
        sql.push(" ORDER BY id DESC LIMIT ")
            .push_bind(query.limit)
            .push(")");
    }
}

fn by_label(sql: &mut QueryBuilder<Sqlite>, query: &ExecutionQuery, key: &str, value: &str) {
    sql.push(
        "SELECT l.execution AS id FROM execution_labels AS l CROSS JOIN executions AS e ON e.id = l.execution
        WHERE l.key = ",
    );
    sql.push_bind(key.to_owned())
        .push(" AND l.value = ")
        .push_bind(value.to_owned());
    within(sql, query, "l.execution");
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
    sql.push(" ORDER BY l.execution DESC LIMIT ")
        .push_bind(query.limit);
}

/// Cuts the ids to the page's place and time. The times themselves are tested too; the range of ids only spares the
/// look at everything newer or older.
fn within(sql: &mut QueryBuilder<Sqlite>, query: &ExecutionQuery, id: &str) {
    if let Some(before) = query.before {
        sql.push(" AND ").push(id).push(" < ").push_bind(before.key());
    }
    if let Some(until) = query.until {
        sql.push(" AND e.created_at < ").push_bind(until.micros());
        bound(
            sql,
            id,
            " < ",
            " >= ",
            "ASC",
            until.after(ID_RESOLUTION),
            vec![0xff; 17],
        );
    }
    if let Some(since) = query.since {
        sql.push(" AND e.created_at >= ").push_bind(since.micros());
        bound(
            sql,
            id,
            " > ",
            " < ",
            "DESC",
            since.before(ID_RESOLUTION),
            Vec::new(),
        );
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
    sql.push(beyond)
        .push_bind(at.micros())
        .push(" ORDER BY created_at ")
        .push(order)
        .push(" LIMIT 1), ");
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
