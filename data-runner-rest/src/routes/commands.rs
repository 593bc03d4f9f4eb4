//! What can be done to an execution.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use data_runner_engine::IdempotencyKey;
use data_runner_engine::supervisor::Repeat as How;
use http::header::LOCATION;
use http::{Extensions, HeaderMap, StatusCode};

use super::{costed, find};
use crate::api::{Execution, Problem, Repeat};
use crate::app::{App, Prefix};
use crate::http::body::{OptionalBody, idempotency_key};
use crate::http::login::Bearer;
use crate::http::path::Segments;
use crate::http::refusal::Refusal;

/// Ends an execution. Answered when the wish is durable; the end follows when the job's processes are gone.
#[utoipa::path(
    post, path = "/executions/{execution}/cancel", tag = "executions", security(("token" = ["run"])), request_body = Option<Repeat>,
    params(("execution" = String, Path, description = "Id, 4 or more of its first digits, or `latest`")),
    responses(
        (status = 202, body = Execution),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended already"),
    )
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    Segments(given): Segments<String>,
    extensions: Extensions,
    _body: OptionalBody<Repeat>,
) -> Result<(StatusCode, Json<Execution>), Refusal> {
    let id = find::execution_id(&app.handle, &given).await?;
    let execution = app.handle.cancel(id, &caller(&extensions)).await?;
    Ok((StatusCode::ACCEPTED, Json(costed::fresh(&app.handle, &execution))))
}

/// Runs the same commit with the same parameters again, as a new execution.
#[utoipa::path(
    post, path = "/executions/{execution}/retry", tag = "executions", security(("token" = ["run"])), request_body = Option<Repeat>,
    params(
        ("execution" = String, Path, description = "Id, 4 or more of its first digits, or `latest`"),
        ("idempotency-key" = Option<String>, Header, description = "1 to 255 visible ASCII characters"),
    ),
    responses(
        (status = 202, body = Execution, headers(("location" = String, description = "The new execution's address"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn retry(
    State(app): State<App>,
    prefix: Prefix,
    Segments(given): Segments<String>,
    headers: HeaderMap,
    body: OptionalBody<Repeat>,
) -> Result<Response, Refusal> {
    repeat(&app, &prefix, &given, How::Retry, &headers, body).await
}

/// Runs the newest commit with the same parameters, as a new execution.
#[utoipa::path(
    post, path = "/executions/{execution}/rerun", tag = "executions", security(("token" = ["run"])), request_body = Option<Repeat>,
    params(
        ("execution" = String, Path, description = "Id, 4 or more of its first digits, or `latest`"),
        ("idempotency-key" = Option<String>, Header, description = "1 to 255 visible ASCII characters"),
    ),
    responses(
        (status = 202, body = Execution, headers(("location" = String, description = "The new execution's address"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rerun(
    State(app): State<App>,
    prefix: Prefix,
    Segments(given): Segments<String>,
    headers: HeaderMap,
    body: OptionalBody<Repeat>,
) -> Result<Response, Refusal> {
    repeat(&app, &prefix, &given, How::Rerun, &headers, body).await
}

async fn repeat(
    app: &App,
    prefix: &Prefix,
    given: &str,
    how: How,
    headers: &HeaderMap,
    body: OptionalBody<Repeat>,
) -> Result<Response, Refusal> {
    let id = find::execution_id(&app.handle, given).await?;
    let verb = match how {
        How::Retry => "retry",
        How::Rerun => "rerun",
    };
    let idempotency = idempotency_key(headers)?
        .map(|key| IdempotencyKey { key: format!("POST /executions/{id}/{verb} {key}"), body: body.hash });
    let execution = app.handle.repeat(id, how, idempotency).await?;
    let location = [(LOCATION, prefix.execution(execution.id))];
    Ok((StatusCode::ACCEPTED, location, Json(costed::fresh(&app.handle, &execution))).into_response())
}

/// Who asks, for the record.
pub(super) fn caller(extensions: &Extensions) -> String {
    if let Some(Bearer(name)) = extensions.get::<Bearer>() {
        return format!("the bearer of the token {name}");
    }
    match extensions.get::<ConnectInfo<std::net::SocketAddr>>() {
        Some(ConnectInfo(address)) => format!("a REST client at {}", address.ip()),
        None => "a REST client".to_owned(),
    }
}
