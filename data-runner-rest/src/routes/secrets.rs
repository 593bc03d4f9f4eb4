//! Whether a workflow's secrets are there.

use axum::Json;
use axum::extract::State;
use data_runner_core::port::Finding;
use data_runner_core::workflow::{DefinitionState, SecretRef};
use futures::future::join_all;

use super::workflows::WorkflowPath;
use crate::api::{Checkup, Problem};
use crate::app::App;
use crate::http::path::Segments;
use crate::http::query::Params;
use crate::http::refusal::{Kind, Refusal};

/// Looks whether the workers can read each secret of a workflow. No value is shown.
///
/// The secrets of workers of this machine are read and forgotten; of those of EC2 only the names are looked for, by what
/// the server itself may see, and what cannot be seen is a `warning`.
#[utoipa::path(
    get, path = "/workflows/{workflow}/secrets", tag = "workflows", security(("token" = ["run"])),
    params(("workflow" = String, Path, description = "Id, name, or `repo/name` (also as two segments)")),
    responses(
        (status = 200, body = Checkup, description = "A finding for each secret; its `check` is the secret's name"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "The workflow's configuration is broken"),
    )
)]
pub(crate) async fn check(
    State(app): State<App>,
    Segments(given): Segments<WorkflowPath>,
    query: Params,
) -> Result<Json<Checkup>, Refusal> {
    query.finish()?;
    let workflow = app.handle.workflow(&given.name())?;
    let definition = match &workflow.definition {
        DefinitionState::Valid(definition) => definition,
        DefinitionState::Broken { .. } => {
            let detail = format!("the configuration of {} is broken", workflow.qualified_name());
            return Err(Refusal::new(Kind::InvalidRequest, detail)
                .hinting("`data-runner workflow show` says what is wrong with it"));
        }
    };
    let looks = definition.config.secrets.iter().map(|(name, reference)| look(&app, name, reference));
    Ok(Json(Checkup::from(join_all(looks).await)))
}

async fn look(app: &App, name: &str, reference: &SecretRef) -> Finding {
    let found = match &app.secrets {
        Some(probe) => probe.probe(reference).await,
        None => Finding::warning(
            reference.to_string(),
            "this server does not know how its workers read secrets",
            "run the workflow: what cannot be read is said before its code starts",
        ),
    };
    Finding { check: name.to_owned(), message: format!("{reference}: {}", found.message), ..found }
}
