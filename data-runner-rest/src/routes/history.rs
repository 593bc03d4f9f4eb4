//! What workflows were, and what changed.

use axum::Json;
use axum::extract::State;
use data_runner_core::execution::differences;

use super::find;
use super::workflows::WorkflowPath;
use crate::api::{ExecutionDefinition, ExecutionDiff, Problem, WorkflowDiff, WorkflowHistory};
use crate::app::App;
use crate::http::path::Segments;
use crate::http::query::{Params, invalid};
use crate::http::refusal::Refusal;

/// How many versions are given, unless more are wanted, and at most.
const VERSIONS: (usize, usize) = (20, 500);

/// The revisions that changed a workflow or what it includes, the newest first.
#[utoipa::path(
    get, path = "/workflows/{workflow}/history", tag = "workflows", security(("token" = ["read"])),
    params(
        ("workflow" = String, Path, description = "Id, name, or `repo/name` (also as two segments)"),
        ("ref" = Option<String>, Query, description = "From this branch, tag or commit back, instead of the newest synced one"),
        ("limit" = Option<u32>, Query, description = "1 to 500, default 20"),
    ),
    responses(
        (status = 200, body = WorkflowHistory),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "The repository did not answer"),
    )
)]
pub(crate) async fn history(
    State(app): State<App>,
    Segments(given): Segments<WorkflowPath>,
    mut query: Params,
) -> Result<Json<WorkflowHistory>, Refusal> {
    let (reference, limit) = (query.one("ref")?, query.number::<usize>("limit")?);
    query.finish()?;
    let limit = limit.unwrap_or(VERSIONS.0);
    if limit == 0 || limit > VERSIONS.1 {
        return Err(invalid("limit", &format!("must be 1 to {}", VERSIONS.1)));
    }
    let workflow = app.handle.workflow(&given.name())?;
    let versions = app.handle.history(&workflow, reference.as_deref(), limit).await?;
    Ok(Json(WorkflowHistory { items: versions.into_iter().map(Into::into).collect() }))
}

/// What is different in a workflow's code from one revision to another; by default, what its newest version changed.
#[utoipa::path(
    get, path = "/workflows/{workflow}/diff", tag = "workflows", security(("token" = ["read"])),
    params(
        ("workflow" = String, Path, description = "Id, name, or `repo/name` (also as two segments)"),
        ("from" = Option<String>, Query, description = "A branch, tag or commit; default: the version before `to`"),
        ("to" = Option<String>, Query, description = "A branch, tag or commit; default: the newest synced one"),
    ),
    responses(
        (status = 200, body = WorkflowDiff),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "The repository did not answer"),
    )
)]
pub(crate) async fn diff(
    State(app): State<App>,
    Segments(given): Segments<WorkflowPath>,
    mut query: Params,
) -> Result<Json<WorkflowDiff>, Refusal> {
    let (from, to) = (query.one("from")?, query.one("to")?);
    query.finish()?;
    let workflow = app.handle.workflow(&given.name())?;
    let diff = app.handle.code_diff(&workflow, from.as_deref(), to.as_deref()).await?;
    Ok(Json(diff.into()))
}

/// What is different between two executions: what was asked for, and the code.
#[utoipa::path(
    get, path = "/executions/{execution}/diff", tag = "executions", security(("token" = ["read"])),
    params(
        ("execution" = String, Path, description = "Id, 4 or more of its first digits, or `latest`"),
        ("with" = String, Query, description = "The other execution, likewise"),
    ),
    responses((status = 200, body = ExecutionDiff), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn executions_diff(
    State(app): State<App>,
    Segments(given): Segments<String>,
    mut query: Params,
) -> Result<Json<ExecutionDiff>, Refusal> {
    let with = query.one("with")?.ok_or_else(|| invalid("with", "is missing: name the other execution"))?;
    query.finish()?;
    let from = find::execution(&app.handle, &given).await?;
    let to = find::execution(&app.handle, &with).await?;
    let diff = if from.workflow_id == to.workflow_id {
        let workflow = app.handle.workflow(&from.workflow_id.to_string())?;
        app.handle.executions_diff(&workflow, &from, &to).await?
    } else {
        None
    };
    let changes = differences(&from, &to).into_iter().map(Into::into).collect();
    Ok(Json(ExecutionDiff { from: from.id, to: to.id, changes, diff }))
}

/// The definition that an execution runs by: the `config.yaml` of its revision.
#[utoipa::path(
    get, path = "/executions/{execution}/definition", tag = "executions", security(("token" = ["read"])),
    params(("execution" = String, Path, description = "Id, 4 or more of its first digits, or `latest`")),
    responses(
        (status = 200, body = ExecutionDefinition),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "The repository did not answer"),
    )
)]
pub(crate) async fn definition(
    State(app): State<App>,
    Segments(given): Segments<String>,
    query: Params,
) -> Result<Json<ExecutionDefinition>, Refusal> {
    query.finish()?;
    let execution = find::execution(&app.handle, &given).await?;
    let workflow = app.handle.workflow(&execution.workflow_id.to_string())?;
    let text = app.handle.definition(&workflow, &execution).await?;
    let file = format!("{}/config.yaml", workflow.path);
    Ok(Json(ExecutionDefinition { revision: execution.job.revision.to_string(), file, text }))
}
