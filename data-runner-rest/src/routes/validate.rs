//! `/validate`.

use axum::Json;
use axum::extract::State;
use data_runner_core::workflow::config::{self, ParseContext};

use crate::api::{ConfigProblem, Problem, Validate, Validated};
use crate::app::App;
use crate::http::body::Body;
use crate::http::refusal::Refusal;

/// Checks a `config.yaml` as registering it would. That it is wrong is an answer, not a refusal.
#[utoipa::path(
    post, path = "/validate", tag = "workflows", security(("token" = ["read"])), request_body = Validate,
    responses((status = 200, body = Validated), (status = 422, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn validate(
    State(app): State<App>,
    Body(body): Body<Validate>,
) -> Result<Json<Validated>, Refusal> {
    let context = ParseContext { worker_types: &app.worker_types, files: body.files.as_deref() };
    let parsed = config::parse("config.yaml", body.config.as_bytes(), &context);
    let problems = parsed.problems().iter().map(ConfigProblem::from).collect();
    Ok(Json(Validated { valid: parsed.value().is_some(), problems }))
}
