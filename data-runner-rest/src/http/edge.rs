//! What stands around every handler: a bound on its time, a count, and an answer should it panic.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::refusal::{Kind, Refusal};

/// Bounds the time until an answer begins; the bodies of streams may take as long as they like.
pub(crate) async fn bound(State(within): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(within, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::new(
            Kind::TimedOut,
            format!("no answer within {} s; what was asked for may still happen", within.as_secs()),
        )
        .into_response(),
    }
}

/// Counts requests and their time until the answer begins, by route.
pub(crate) async fn measure(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().as_str().to_owned();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    // Unknown paths are one series, whatever was tried.
    let route = route.unwrap_or_else(|| "unknown".to_owned());
    let status = response.status().as_u16().to_string();
    metrics::histogram!("data_runner_http_request_seconds", "method" => method.clone(), "route" => route.clone())
        .record(begun.elapsed().as_secs_f64());
    metrics::counter!("data_runner_http_requests_total", "method" => method, "route" => route, "status" => status)
        .increment(1);
    response
}

/// A panic of a handler is ours; the caller hears that, and no more.
pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(message, "a request's handler panicked");
    Refusal::internal().into_response()
}
