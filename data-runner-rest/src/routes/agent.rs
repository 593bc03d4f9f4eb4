//! `/agent`: the agent's program, for machines that start.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use data_runner_core::workflow::Architecture;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::agent_binary::AgentBinary;
use crate::api::Problem;
use crate::app::App;
use crate::http::path::Segments;
use crate::http::refusal::{Kind, Refusal};

/// How long a download may keep its place.
const PLACE_FOR: Duration = Duration::from_secs(120);

/// The agent's program for an architecture. It is no secret: whoever fetches it compares its SHA-256 (the `ETag`) with
/// the one that it was told on another way.
#[utoipa::path(
    get, path = "/agent/{architecture}", tag = "workers", security(()),
    params(("architecture" = String, Path, description = "`x86_64` or `arm64`")),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream", headers(("etag" = String, description = "Its SHA-256"))),
        (status = 304, description = "It is the one of `If-None-Match`"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn download(
    State(app): State<App>,
    method: Method,
    Segments(architecture): Segments<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let agent = [Architecture::X86_64, Architecture::Arm64]
        .into_iter()
        .find(|known| known.as_str() == architecture)
        .and_then(|known| app.agents.get(&known))
        .ok_or_else(|| {
            Refusal::new(Kind::AgentNotFound, format!("this server has no agent for {architecture:?}"))
        })?;
    let tag = format!("\"{}\"", agent.sha256());
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|given| given.as_bytes() == tag.as_bytes());
    let mut response = match (known, method == Method::HEAD) {
        (true, _) => StatusCode::NOT_MODIFIED.into_response(),
        (false, true) => with_length(Response::default(), agent),
        (false, false) => {
            let permit = Arc::clone(&app.downloads).try_acquire_owned().map_err(|_| {
                Refusal::new(Kind::TooManyDownloads, "as many machines fetch their agent as may at one time")
            })?;
            with_length(Body::from_stream(agent.stream(place(permit))).into_response(), agent)
        }
    };
    let head = response.headers_mut();
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        head.insert(ETAG, tag);
    }
    Ok(response)
}

/// A place among the downloads: given back when the guard is dropped, or when that takes too long, so that machines
/// which do not read keep no other one from its agent.
fn place(permit: OwnedSemaphorePermit) -> DropGuard {
    let done = CancellationToken::new();
    let guard = done.clone().drop_guard();
    tokio::spawn(async move {
        let _permit = permit;
        if tokio::time::timeout(PLACE_FOR, done.cancelled()).await.is_err() {
            tracing::warn!("a machine fetches its agent very slowly");
        }
    });
    guard
}

fn with_length(mut response: Response, agent: &AgentBinary) -> Response {
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    head.insert(CONTENT_LENGTH, HeaderValue::from(agent.bytes()));
    response
}
