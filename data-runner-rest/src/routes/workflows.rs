//! `/workflows`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use data_runner_core::event::Pausing;
use data_runner_core::id::QualifiedName;
use data_runner_core::workflow::{DefinitionState, Presence, Workflow as CoreWorkflow, config};
use data_runner_engine::{Handle, IdempotencyKey, Order, Registration, Started as Start};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};

use super::costed;
use super::groups::accepted;
use crate::api::{
    ConfigProblem, Execute, Page, PatchWorkflow, Plan, Problem, RegisterRepo, Registered, Started, Workflow,
};
use crate::app::{App, Prefix};
use crate::http::body::{Body, OptionalBody, idempotency_key};
use crate::http::path::Segments;
use crate::http::query::{Listing, Params};
use crate::http::refusal::Refusal;

/// Registers one workflow of a repository, or all that it has, and watches it from then on. A folder of the
/// supervisor's machine can be registered as well.
#[utoipa::path(
    post, path = "/workflows", tag = "workflows", security(("token" = ["admin"])), request_body = RegisterRepo,
    responses(
        (status = 201, body = Registered),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "The repository did not answer"),
    )
)]
pub(crate) async fn register(
    State(app): State<App>,
    Body(body): Body<RegisterRepo>,
) -> Result<(StatusCode, Json<Registered>), Refusal> {
    let registration =
        Registration { url: body.repo, name: body.name, reference: body.reference, path: body.path };
    let registered = app.handle.register(registration).await?;
    let answer = Registered {
        items: registered.items.iter().map(Workflow::from).collect(),
        errors: registered.errors.iter().map(ConfigProblem::from).collect(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Lists workflows, in order of repository and name; deleted ones are left out.
#[utoipa::path(
    get, path = "/workflows", tag = "workflows", security(("token" = ["read"])),
    params(("limit" = Option<u32>, Query, description = "1 to 500, default 50"), ("cursor" = Option<String>, Query, description = "From `next_cursor`")),
    responses((status = 200, body = Page<Workflow>), (status = 400, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn list(State(app): State<App>, mut query: Params) -> Result<Json<Page<Workflow>>, Refusal> {
    let wanted = query.page(Listing::Workflows)?;
    query.finish()?;
    let published = app.handle.published();
    let mut workflows: Vec<(String, &Arc<CoreWorkflow>)> = published
        .workflows
        .values()
        .filter(|workflow| !matches!(workflow.presence, Presence::Deleted { .. }))
        .map(|workflow| (workflow.qualified_name().to_string(), workflow))
        .filter(|(name, _)| wanted.after.as_ref().is_none_or(|after| name > after))
        .collect();
    workflows.sort_by(|(a, _), (b, _)| a.cmp(b));
    let next = workflows.len() > wanted.limit;
    workflows.truncate(wanted.limit);
    let last = workflows.last().filter(|_| next).map(|(name, _)| Listing::Workflows.cursor(name));
    let items = workflows.iter().map(|(_, workflow)| Workflow::from(&***workflow)).collect();
    Ok(Json(Page { items, next_cursor: last }))
}

/// One workflow, by its id, its name where that is unambiguous, or `repo/name`.
#[utoipa::path(
    get, path = "/workflows/{workflow}", tag = "workflows", security(("token" = ["read"])),
    params(("workflow" = String, Path, description = "Id, name, or `repo/name` (also as two segments)")),
    responses(
        (status = 200, body = Workflow),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The name is ambiguous"),
    )
)]
pub(crate) async fn get(
    State(app): State<App>,
    Segments(given): Segments<WorkflowPath>,
) -> Result<Json<Workflow>, Refusal> {
    let workflow = app.handle.workflow(&given.name())?;
    let mut shown = Workflow::from(&*workflow);
    shown.needed_by = Some(needed_by(&app.handle, &workflow.qualified_name()));
    shown.definition = definition(&workflow)?;
    shown.budget = costed::budget(&app.handle, &workflow).await?;
    Ok(Json(shown))
}

/// All of its configuration, with the defaults that hold.
fn definition(workflow: &CoreWorkflow) -> Result<Option<String>, Refusal> {
    let DefinitionState::Valid(definition) = &workflow.definition else { return Ok(None) };
    config::to_yaml(&definition.config).map(Some).map_err(|error| {
        let error = &error as &dyn std::error::Error;
        tracing::error!(workflow = %workflow.id, error, "a definition cannot be written");
        Refusal::internal()
    })
}

/// The full names of the workflows that the success of this one starts.
pub(super) fn needed_by(handle: &Handle, name: &QualifiedName) -> Vec<String> {
    let needs_it = |other: &&Arc<CoreWorkflow>| {
        let mut needs = other.definition.needs().iter().map(|need| need.workflow.seen_from(&other.repo));
        other.presence == Presence::Present && needs.any(|needed| needed == *name)
    };
    let published = handle.published();
    let needed_by = published.workflows.values().filter(needs_it).map(|it| it.qualified_name().to_string());
    let mut needed_by: Vec<String> = needed_by.collect();
    needed_by.sort();
    needed_by
}

/// Pauses or resumes what starts a workflow by itself; runs by hand go on.
#[utoipa::path(
    patch, path = "/workflows/{workflow}", tag = "workflows", security(("token" = ["run"])), request_body = PatchWorkflow,
    params(("workflow" = String, Path, description = "Id, name, or `repo/name` (also as two segments)")),
    responses(
        (status = 200, body = Workflow),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn patch(
    State(app): State<App>,
    Segments(given): Segments<WorkflowPath>,
    Body(body): Body<PatchWorkflow>,
) -> Result<Json<Workflow>, Refusal> {
    let workflow = app.handle.workflow(&given.name())?;
    let wanted = if body.paused { Pausing::Pause } else { Pausing::Resume };
    let now = app.handle.pause(workflow.id, wanted).await?;
    Ok(Json(Workflow::from(&now)))
}

/// Deletes a workflow. Its history stays; syncs do not bring it back, registering it again does.
#[utoipa::path(
    delete, path = "/workflows/{workflow}", tag = "workflows", security(("token" = ["admin"])),
    params(("workflow" = String, Path, description = "Id, name, or `repo/name` (also as two segments)")),
    responses((status = 200, body = Workflow), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn delete(
    State(app): State<App>,
    Segments(given): Segments<WorkflowPath>,
) -> Result<Json<Workflow>, Refusal> {
    let workflow = app.handle.workflow(&given.name())?;
    let now = app.handle.delete_workflow(workflow.id).await?;
    Ok(Json(Workflow::from(&now)))
}

/// The machines that a run would be given now, in the order in which they would be tried, and what they would cost.
/// Launches nothing.
#[utoipa::path(
    get, path = "/workflows/{workflow}/plan", tag = "workflows", security(("token" = ["read"])),
    params(
        ("workflow" = String, Path, description = "Id, name, or `repo/name` (also as two segments)"),
        ("instance_size" = Option<String>, Query, description = "Another instance size than the configured one"),
        ("ref" = Option<String>, Query, description = "Another branch, tag or commit than the newest synced one"),
    ),
    responses(
        (status = 200, body = Plan),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "No such machine may or can be had"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "The provisioner did not answer"),
    )
)]
pub(crate) async fn plan(
    State(app): State<App>,
    Segments(given): Segments<WorkflowPath>,
    mut query: Params,
) -> Result<Json<Plan>, Refusal> {
    let order = Order {
        instance_size: query.one("instance_size")?,
        reference: query.one("ref")?,
        ..Order::default()
    };
    query.finish()?;
    let plan = app.handle.plan(&given.name(), &order).await?;
    let mut shown = Plan::from(&plan);
    shown.budget = costed::budget(&app.handle, &plan.workflow).await?;
    Ok(Json(shown))
}

/// Runs a workflow. Answered as soon as the execution is durable; it starts when a worker is free. A workflow with a
/// matrix becomes a group, and that is the answer, unless each parameter of the matrix is given. With an
/// `Idempotency-Key` the same request gives the same execution or group.
#[utoipa::path(
    post, path = "/workflows/{workflow}/execute", tag = "workflows", security(("token" = ["run"])), request_body = Option<Execute>,
    params(
        ("workflow" = String, Path, description = "Id, name, or `repo/name` (also as two segments)"),
        ("idempotency-key" = Option<String>, Header, description = "1 to 255 visible ASCII characters"),
    ),
    responses(
        (status = 202, body = Started, headers(("location" = String, description = "The address of the execution or the group"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn execute(
    State(app): State<App>,
    prefix: Prefix,
    Segments(given): Segments<WorkflowPath>,
    headers: HeaderMap,
    body: OptionalBody<Execute>,
) -> Result<Response, Refusal> {
    let workflow = app.handle.workflow(&given.name())?;
    // The route is part of the key, by the workflow's id, so that its names are one workflow.
    let idempotency = idempotency_key(&headers)?.map(|key| IdempotencyKey {
        key: format!("POST /workflows/{}/execute {key}", workflow.id),
        body: body.hash,
    });
    let order = Order {
        params: body.value.params,
        reference: body.value.reference,
        instance_size: body.value.instance_size,
        idempotency,
    };
    match app.handle.start(&workflow.id.to_string(), order).await? {
        Start::Execution(execution) => {
            let location = [(LOCATION, prefix.execution(execution.id))];
            Ok((StatusCode::ACCEPTED, location, Json(costed::fresh(&app.handle, &execution))).into_response())
        }
        Start::Group(group) => Ok(accepted(&prefix, &group)),
    }
}

/// How a path names a workflow: by one segment or by two.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct WorkflowPath {
    workflow: String,
    name: Option<String>,
}

impl WorkflowPath {
    pub(crate) fn name(&self) -> String {
        match &self.name {
            Some(name) => format!("{}/{name}", self.workflow),
            None => self.workflow.clone(),
        }
    }
}
