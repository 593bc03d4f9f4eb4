//! `/workflows/{id}/advice`: which instance size a workflow should have.

use axum::Json;
use axum::extract::State;

use super::workflows::WorkflowPath;
use crate::api::{Advice, Problem};
use crate::app::App;
use crate::http::path::Segments;
use crate::http::query::Params;
use crate::http::refusal::Refusal;

/// Which instance size a workflow should have, by what its newest attempts used that ended well or ran out of memory, and
/// what that would save by the price table. Launches and changes nothing.
#[utoipa::path(
    get, path = "/workflows/{workflow}/advice", tag = "workflows", security(("token" = ["read"])),
    params(("workflow" = String, Path, description = "Id, name, or `repo/name` (also as two segments)")),
    responses(
        (status = 200, body = Advice),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The name is ambiguous"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn advice(
    State(app): State<App>,
    Segments(given): Segments<WorkflowPath>,
    query: Params,
) -> Result<Json<Advice>, Refusal> {
    query.finish()?;
    let workflow = app.handle.workflow(&given.name())?;
    let advice = app.handle.advise(&workflow.id.to_string()).await?;
    Ok(Json(Advice::new(&workflow, &advice)))
}
