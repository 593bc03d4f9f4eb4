//! `/executions`: what is and what was.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use data_runner_core::execution::{Execution as CoreExecution, StateName};
use data_runner_core::id::{CommitSequence, ExecutionId};
use data_runner_core::port::{EventPosition, EventQuery, ExecutionQuery, LogState};
use data_runner_engine::Handle;

use super::events::position;
use super::{costed, find, groups};
use crate::api::{Event, Execution, Lock, LogOverview, Page, Problem};
use crate::app::{App, Closing};
use crate::http::path::Segments;
use crate::http::query::{Listing, Params, invalid};
use crate::http::refusal::{Kind, Refusal};
use crate::http::time;
use crate::log::last_lines;

/// How many lines of its log an execution shows.
const TAIL: u64 = 20;
/// The longest that a caller may wait for an end.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Lists executions, the newest first.
#[utoipa::path(
    get, path = "/executions", tag = "executions", security(("token" = ["read"])),
    params(
        ("state" = Option<String>, Query, description = "One or more states, by commas or repeated"),
        ("workflow" = Option<String>, Query, description = "Id, name, or `repo/name`"),
        ("label" = Option<String>, Query, description = "`key=value`"),
        ("group" = Option<String>, Query, description = "Of this group, with what repeats its members: id, some of its first digits, or `latest`"),
        ("since" = Option<String>, Query, description = "Created at or after: RFC 3339, or a length of time before now such as `24h`"),
        ("until" = Option<String>, Query, description = "Created before: the same"),
        ("limit" = Option<u32>, Query, description = "1 to 500, default 50"),
        ("cursor" = Option<String>, Query, description = "From `next_cursor`"),
    ),
    responses((status = 200, body = Page<Execution>), (status = 400, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn list(
    State(app): State<App>,
    mut query: Params,
) -> Result<Json<Page<Execution>>, Refusal> {
    let wanted = query.page(Listing::Executions)?;
    let now = jiff::Timestamp::now();
    let moment = |text: &str| time::moment(text, now);
    let expected = "RFC 3339, or a length of time before now such as 24h";
    let group = match query.one("group")? {
        Some(given) => Some(groups::find(&app.handle, &given).await?),
        None => None,
    };
    let page = ExecutionQuery {
        states: states(&query.all("state"))?,
        workflow: match query.one("workflow")? {
            None => None,
            // The history of a workflow that is gone is still found by its id.
            Some(given) => Some(match given.parse() {
                Ok(id) => id,
                Err(_) => app.handle.workflow(&given)?.id,
            }),
        },
        label: query.read("label", "key=value", |text| {
            text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
        })?,
        group,
        since: query.read("since", expected, moment)?,
        until: query.read("until", expected, moment)?,
        before: Listing::Executions.key(&wanted)?,
        // One more than is shown tells whether there is a next page.
        limit: u32::try_from(wanted.limit).unwrap_or(u32::MAX).saturating_add(1),
    };
    query.finish()?;
    let mut found = app.handle.catalog().executions(page).await?;
    let more = found.len() > wanted.limit;
    found.truncate(wanted.limit);
    let next_cursor =
        found.last().filter(|_| more).map(|last| Listing::Executions.cursor(&last.id.to_string()));
    Ok(Json(Page { items: costed::executions(&app.handle, &found).await?, next_cursor }))
}

fn states(given: &[String]) -> Result<Vec<StateName>, Refusal> {
    let names = given.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| name.parse().map_err(|error| invalid("state", &format!("is wrong: {error}")))).collect()
}

/// One execution with its attempts, and the end of its log.
#[utoipa::path(
    get, path = "/executions/{execution}", tag = "executions", security(("token" = ["read"])),
    params(
        ("execution" = String, Path, description = "Id, 4 or more of its first digits, or `latest`"),
        ("wait" = Option<String>, Query, description = "Answer when the execution has ended, or after this time (such as `30s`, at most 60 s), whatever is first"),
    ),
    responses(
        (status = 200, body = Execution),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The digits begin more than one id"),
    )
)]
pub(crate) async fn get(
    State(app): State<App>,
    closing: Closing,
    Segments(given): Segments<String>,
    mut query: Params,
) -> Result<Json<Execution>, Refusal> {
    let wait = query.read("wait", "a length of time such as 30s", time::duration)?;
    query.finish()?;
    let execution = match wait {
        None => find::execution(&app.handle, &given).await?,
        Some(wait) => {
            let id = find::execution_id(&app.handle, &given).await?;
            let until_end = until_end(&app.handle, id);
            let bounded = tokio::time::timeout(wait.min(LONGEST_WAIT), until_end);
            let ended = tokio::select! {
                ended = bounded => ended.ok(),
                () = closing.0.cancelled() => None,
            };
            match ended {
                Some(execution) => execution?,
                None => find::execution(&app.handle, &id.to_string()).await?,
            }
        }
    };
    let mut shown = costed::execution(&app.handle, &execution).await?;
    shown.set_sql(&execution);
    shown.log = Some(overview(&app.handle, &execution).await?);
    Ok(Json(shown))
}

/// The packages of its environment, exactly.
#[utoipa::path(
    get, path = "/executions/{execution}/lock", tag = "executions", security(("token" = ["read"])),
    params(("execution" = String, Path, description = "Id, 4 or more of its first digits, or `latest`")),
    responses(
        (status = 200, body = Lock),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is no such execution, or nothing is known of its packages"),
    )
)]
pub(crate) async fn lock(
    State(app): State<App>,
    Segments(given): Segments<String>,
    query: Params,
) -> Result<Json<Lock>, Refusal> {
    query.finish()?;
    let execution = find::execution(&app.handle, &given).await?;
    let lock = execution.packages().map(|lock| Json(lock.as_ref().into()));
    lock.ok_or_else(|| {
        let detail = format!("nothing is known of the packages of {}", execution.id);
        Refusal::new(Kind::LockNotFound, detail)
            .hinting("they are told when its environment is made; only Polars and DuckDB tell them")
    })
}

async fn until_end(handle: &Handle, id: ExecutionId) -> Result<CoreExecution, Refusal> {
    let mut news = handle.watch_execution(id);
    loop {
        let execution = find::execution(handle, &id.to_string()).await?;
        if execution.state.finished_at().is_some() {
            return Ok(execution);
        }
        news.changed().await;
    }
}

/// What there is of the newest attempt's log.
async fn overview(handle: &Handle, execution: &CoreExecution) -> Result<LogOverview, Refusal> {
    let Some(attempt) = execution.latest_attempt() else {
        return Ok(LogOverview { bytes: 0, lines: 0, truncated: false, tail: Vec::new() });
    };
    let attempt = execution.attempt_id(attempt.number);
    let summary = handle.logs().summary(attempt).await?;
    let tail = last_lines(handle.logs(), attempt, &summary, TAIL).await.unwrap_or_else(|error| {
        // The execution can be told without its log.
        tracing::error!(%attempt, error = &error as &dyn std::error::Error, "a log cannot be read");
        Vec::new()
    });
    Ok(LogOverview {
        bytes: summary.end.offset.0,
        lines: summary.end.next_line.saturating_sub(1),
        truncated: matches!(summary.state, LogState::Truncated { .. }),
        tail,
    })
}

/// What happened to an execution, in order.
#[utoipa::path(
    get, path = "/executions/{execution}/events", tag = "executions", security(("token" = ["read"])),
    params(
        ("execution" = String, Path, description = "Id, 4 or more of its first digits, or `latest`"),
        ("limit" = Option<u32>, Query, description = "1 to 500, default 50"),
        ("cursor" = Option<String>, Query, description = "From `next_cursor`"),
    ),
    responses((status = 200, body = Page<Event>), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn events(
    State(app): State<App>,
    Segments(given): Segments<String>,
    mut query: Params,
) -> Result<Json<Page<Event>>, Refusal> {
    let wanted = query.page(Listing::Events)?;
    query.finish()?;
    let after = match Listing::Events.key::<String>(&wanted)? {
        None => EventPosition { sequence: CommitSequence(0), index: 0 },
        Some(text) => position(&text).ok_or_else(|| invalid("cursor", "is not one that was given out"))?,
    };
    let execution = find::execution(&app.handle, &given).await?;
    let limit = u32::try_from(wanted.limit).unwrap_or(u32::MAX).saturating_add(1);
    let query = EventQuery { after, execution: Some(execution.id), limit };
    let mut found = app.handle.catalog().events(query).await?;
    let more = found.len() > wanted.limit;
    found.truncate(wanted.limit);
    let items: Vec<Event> = found.into_iter().map(Event::from).collect();
    let next_cursor = items.last().filter(|_| more).map(|last| Listing::Events.cursor(&last.id));
    Ok(Json(Page { items, next_cursor }))
}
