//! `/schedules`.

use axum::Json;
use axum::extract::State;
use data_runner_core::workflow::{
    DefinitionState, Presence, ScheduleLine, SettledTick, StartOutcome, Workflow,
};
use data_runner_engine::Published;

use crate::api::{LastTick, Page, Problem, Schedule, moment};
use crate::app::App;
use crate::http::query::Params;
use crate::http::refusal::Refusal;

/// Lists the schedules that workflows have, in order of the workflows' names: when each is due next, and what came of
/// the last time.
#[utoipa::path(
    get, path = "/schedules", tag = "schedules", security(("token" = ["read"])),
    responses((status = 200, body = Page<Schedule>), (status = 400, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn list(State(app): State<App>, query: Params) -> Result<Json<Page<Schedule>>, Refusal> {
    query.finish()?;
    let published = app.handle.published();
    let mut workflows: Vec<&Workflow> = published.workflows.values().map(AsRef::as_ref).collect();
    workflows.sort_by_key(|workflow| workflow.qualified_name().to_string());
    let items = workflows.into_iter().flat_map(|workflow| of_workflow(workflow, &published)).collect();
    Ok(Json(Page { items, next_cursor: None }))
}

fn of_workflow(workflow: &Workflow, published: &Published) -> Vec<Schedule> {
    let schedules = match (&workflow.presence, &workflow.definition) {
        (Presence::Present, DefinitionState::Valid(definition)) => definition.config.schedule.as_slice(),
        (Presence::Present | Presence::Removed { .. } | Presence::Deleted { .. }, _) => &[],
    };
    let show = |line: &ScheduleLine| {
        let schedule = &line.schedule;
        let known = published
            .schedules
            .values()
            .find(|known| known.id.workflow == workflow.id && known.id.schedule == *schedule);
        let runs = workflow.paused_at.is_none();
        let next = known.filter(|_| runs).and_then(|known| schedule.next_after(known.reached));
        Schedule {
            workflow: workflow.qualified_name().to_string(),
            workflow_id: workflow.id,
            cron: schedule.cron().to_owned(),
            timezone: schedule.timezone().to_owned(),
            catch_up: line.catch_up.as_str().to_owned(),
            jitter_seconds: line.jitter.as_secs_f64(),
            paused: !runs,
            next: next.map(moment),
            last: known.and_then(|known| known.last.as_ref()).map(last),
        }
    };
    schedules.iter().map(show).collect()
}

fn last(tick: &SettledTick) -> LastTick {
    let (outcome, made, message) = match &tick.outcome {
        StartOutcome::Submitted { execution } => ("submitted", (Some(*execution), None), None),
        StartOutcome::Grouped { group } => ("submitted", (None, Some(*group)), None),
        StartOutcome::Missed { reason } => ("missed", (None, None), Some(reason.clone())),
        StartOutcome::Skipped { reason } => ("skipped", (None, None), Some(reason.clone())),
        StartOutcome::GivenUp { message } => ("given_up", (None, None), Some(message.clone())),
    };
    let (execution, group) = made;
    LastTick { due: moment(tick.due), outcome: outcome.to_owned(), execution, group, message }
}
