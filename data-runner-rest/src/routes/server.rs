//! What the server says of itself.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use data_runner_core::workflow::config;
use data_runner_engine::supervisor::Stage;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use crate::api::{Health, Problem, Readiness, Version};
use crate::app::App;
use crate::http::refusal::{Kind, Refusal};

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "server", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "alive".to_owned() })
}

/// Whether it takes requests. While it drains it does, but starts nothing.
#[utoipa::path(
    get, path = "/readyz", tag = "server", security(()),
    responses((status = 200, body = Readiness), (status = 503, body = Readiness, description = "It recovers, or has ended"))
)]
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    let published = app.handle.published();
    let (stage, status) = match published.stage {
        Stage::Recovering => ("recovering", StatusCode::SERVICE_UNAVAILABLE),
        Stage::Serving => ("serving", StatusCode::OK),
        Stage::Draining => ("draining", StatusCode::OK),
        Stage::Ended => ("ended", StatusCode::SERVICE_UNAVAILABLE),
    };
    let answer = Readiness {
        stage: stage.to_owned(),
        active_executions: published.active_executions as u64,
        workers: published.workers as u64,
    };
    let mut response = (status, Json(answer)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The server's version.
#[utoipa::path(get, path = "/version", tag = "server", security(("token" = ["read"])), responses((status = 200, body = Version)))]
pub(crate) async fn version() -> Json<Version> {
    Json(Version { name: "data-runner".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// Metrics in the text format of Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "server", security(("token" = ["read"])),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "This server keeps none"),
    )
)]
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Refusal> {
    let Some(recorded) = &app.metrics else {
        return Err(Refusal::new(Kind::MetricsNotKept, "it was started without a recorder"));
    };
    for (state, count) in app.handle.catalog().counts().await? {
        metrics::gauge!("data_runner_executions", "state" => state.as_str()).set(count as f64);
    }
    let published = app.handle.published();
    metrics::gauge!("data_runner_workers").set(published.workers as f64);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], recorded.render()).into_response())
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "server", security(("token" = ["read"])), responses((status = 200, body = serde_json::Value)))]
pub(crate) async fn openapi(State(app): State<App>) -> Response {
    ([(CONTENT_TYPE, "application/json")], app.openapi.to_string()).into_response()
}

/// The JSON Schema of `config.yaml`.
#[utoipa::path(
    get, path = "/schema/config.json", tag = "server", security(("token" = ["read"])),
    responses((status = 200, body = serde_json::Value, content_type = "application/schema+json"))
)]
pub(crate) async fn config_schema(State(app): State<App>) -> Response {
    let schema = config::json_schema(&app.worker_types);
    ([(CONTENT_TYPE, "application/schema+json")], schema.to_string()).into_response()
}
