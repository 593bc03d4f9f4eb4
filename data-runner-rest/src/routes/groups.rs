//! `/groups`, and how a backfill begins.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use data_runner_core::event::GroupWish;
use data_runner_core::group::Group as CoreGroup;
use data_runner_core::id::GroupId;
use data_runner_engine::{BackfillOrder, Handle, IdempotencyKey};
use http::header::LOCATION;
use http::{Extensions, HeaderMap, StatusCode};

use super::commands::caller;
use super::workflows::{WorkflowPath, needed_by};
use crate::api::{Backfill, BackfillPlan, Group, Member, Page, Problem, Repeat};
use crate::app::{App, Prefix};
use crate::http::body::{OptionalBody, idempotency_key};
use crate::http::path::Segments;
use crate::http::query::{Listing, Params};
use crate::http::refusal::{Kind, Refusal};

/// How many of the newest groups a prefix is looked for in.
const LOOKED_AT: u32 = 500;

/// Runs a workflow for each date from `from` to `to` on which its schedule is due, or each day if it has none, as a
/// group. A dry run answers with what would run, and starts nothing.
#[utoipa::path(
    post, path = "/workflows/{workflow}/backfill", tag = "groups", security(("token" = ["run"])), request_body = Backfill,
    params(
        ("workflow" = String, Path, description = "Id, name, or `repo/name` (also as two segments)"),
        ("idempotency-key" = Option<String>, Header, description = "1 to 255 visible ASCII characters"),
    ),
    responses(
        (status = 200, body = BackfillPlan, description = "The dry run"),
        (status = 202, body = Group, headers(("location" = String, description = "The group's address"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn backfill(
    State(app): State<App>,
    prefix: Prefix,
    Segments(given): Segments<WorkflowPath>,
    headers: HeaderMap,
    OptionalBody { value, hash }: OptionalBody<Backfill>,
) -> Result<Response, Refusal> {
    let workflow = app.handle.workflow(&given.name())?;
    let idempotency = idempotency_key(&headers)?.map(|key| IdempotencyKey {
        key: format!("POST /workflows/{}/backfill {key}", workflow.id),
        body: hash,
    });
    let Backfill { from, to, max_parallel, params, dry_run } = value;
    let order = BackfillOrder {
        from,
        to,
        max_parallel: max_parallel.map(|most| u32::from(most.get())),
        params,
        idempotency,
    };
    let name = workflow.id.to_string();
    if dry_run {
        let items = app.handle.plan_backfill(&name, &order).await?;
        return Ok(Json(BackfillPlan { items: items.iter().map(Member::from).collect() }).into_response());
    }
    let group = app.handle.backfill(&name, order).await?;
    Ok(accepted(&prefix, &group))
}

/// The answer to a request that made a group.
pub(super) fn accepted(prefix: &Prefix, group: &CoreGroup) -> Response {
    let location = [(LOCATION, prefix.group(group.id))];
    (StatusCode::ACCEPTED, location, Json(Group::from(group))).into_response()
}

/// Lists groups, the newest first, without their members.
#[utoipa::path(
    get, path = "/groups", tag = "groups", security(("token" = ["read"])),
    params(("limit" = Option<u32>, Query, description = "1 to 500, default 50"), ("cursor" = Option<String>, Query, description = "From `next_cursor`")),
    responses((status = 200, body = Page<Group>), (status = 400, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn list(State(app): State<App>, mut query: Params) -> Result<Json<Page<Group>>, Refusal> {
    let wanted = query.page(Listing::Groups)?;
    query.finish()?;
    let before = Listing::Groups.key(&wanted)?;
    let limit = u32::try_from(wanted.limit).unwrap_or(u32::MAX);
    let mut groups = app.handle.catalog().groups(before, limit.saturating_add(1)).await?;
    let more = groups.len() > wanted.limit;
    groups.truncate(wanted.limit);
    let last = groups.last().filter(|_| more).map(|group| Listing::Groups.cursor(&group.id.to_string()));
    Ok(Json(Page { items: groups.iter().map(Group::overview).collect(), next_cursor: last }))
}

/// One group with its members.
#[utoipa::path(
    get, path = "/groups/{group}", tag = "groups", security(("token" = ["read"])),
    params(("group" = String, Path, description = "Id, some of its first digits, or `latest`")),
    responses((status = 200, body = Group), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn get(
    State(app): State<App>,
    Segments(given): Segments<String>,
) -> Result<Json<Group>, Refusal> {
    let id = find(&app.handle, &given).await?;
    let group = app.handle.catalog().group(id).await?.ok_or_else(|| unknown(&given))?;
    let mut shown = Group::from(&group);
    shown.needed_by = Some(needed_by(&app.handle, group.workflow()));
    Ok(Json(shown))
}

/// Starts no further execution of a group; those that are active go on.
#[utoipa::path(
    post, path = "/groups/{group}/pause", tag = "groups", security(("token" = ["run"])), request_body = Option<Repeat>,
    params(("group" = String, Path, description = "Id, some of its first digits, or `latest`")),
    responses(
        (status = 200, body = Group),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended already"),
    )
)]
pub(crate) async fn pause(
    State(app): State<App>,
    Segments(given): Segments<String>,
    extensions: Extensions,
    _body: OptionalBody<Repeat>,
) -> Result<Json<Group>, Refusal> {
    change(&app, &given, &extensions, GroupWish::Pause).await
}

/// Starts executions of a paused group again.
#[utoipa::path(
    post, path = "/groups/{group}/resume", tag = "groups", security(("token" = ["run"])), request_body = Option<Repeat>,
    params(("group" = String, Path, description = "Id, some of its first digits, or `latest`")),
    responses(
        (status = 200, body = Group),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended already"),
    )
)]
pub(crate) async fn resume(
    State(app): State<App>,
    Segments(given): Segments<String>,
    extensions: Extensions,
    _body: OptionalBody<Repeat>,
) -> Result<Json<Group>, Refusal> {
    change(&app, &given, &extensions, GroupWish::Resume).await
}

/// Ends a group: no further execution is started, and those that are active are told to stop.
#[utoipa::path(
    post, path = "/groups/{group}/cancel", tag = "groups", security(("token" = ["run"])), request_body = Option<Repeat>,
    params(("group" = String, Path, description = "Id, some of its first digits, or `latest`")),
    responses(
        (status = 202, body = Group),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended already"),
    )
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    Segments(given): Segments<String>,
    extensions: Extensions,
    _body: OptionalBody<Repeat>,
) -> Result<(StatusCode, Json<Group>), Refusal> {
    Ok((StatusCode::ACCEPTED, change(&app, &given, &extensions, GroupWish::Cancel).await?))
}

async fn change(
    app: &App,
    given: &str,
    extensions: &Extensions,
    wish: GroupWish,
) -> Result<Json<Group>, Refusal> {
    let id = find(&app.handle, given).await?;
    let group: Arc<CoreGroup> = app.handle.change_group(id, wish, &caller(extensions)).await?;
    Ok(Json(Group::from(&*group)))
}

/// The group that is meant by an id, by the beginning of one, or by `latest`.
pub(super) async fn find(handle: &Handle, given: &str) -> Result<GroupId, Refusal> {
    if let Ok(id) = given.parse() {
        return Ok(id);
    }
    let newest = handle.catalog().groups(None, LOOKED_AT).await?;
    let wanted = given.to_ascii_lowercase();
    let fits = |group: &&CoreGroup| given == "latest" || group.id.to_string().starts_with(&wanted);
    let mut found = newest.iter().filter(fits).map(|group| group.id);
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (Some(id), Some(_)) if given == "latest" => Ok(id),
        (Some(_), Some(_)) => {
            Err(Refusal::new(Kind::Ambiguous, format!("{given:?} is the beginning of more than one id")))
        }
        (None, _) => Err(unknown(given)),
    }
}

fn unknown(given: &str) -> Refusal {
    Refusal::new(Kind::GroupNotFound, format!("there is no group {given:?}"))
}
