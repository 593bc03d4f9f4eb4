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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use axum::body::Body;
    use axum::routing::get;
    use axum::{Router, middleware};
    use tower::ServiceExt as _;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    async fn status(router: Router) -> (u16, String) {
        let response = router.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_panic_is_answered_without_its_particulars() {
        async fn fails() -> &'static str {
            panic!("secret of {}", "ours")
        }
        let router = Router::new().route("/", get(fails)).layer(CatchPanicLayer::custom(panicked));
        let (status, body) = status(router).await;
        assert_eq!(status, 500);
        assert!(body.contains("problem:internal") && !body.contains("secret"), "{body}");
    }

    #[tokio::test]
    async fn an_answer_that_does_not_begin_in_time_is_given_up() {
        let never = get(std::future::pending::<&'static str>);
        let bounded = middleware::from_fn_with_state(Duration::from_millis(1), bound);
        let (status, body) = status(Router::new().route("/", never).layer(bounded)).await;
        assert_eq!(status, 504);
        assert!(body.contains("problem:timed_out"), "{body}");
    }
}
