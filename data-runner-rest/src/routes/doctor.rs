//! `/doctor`: is everything there that this server needs?

use axum::Json;
use axum::extract::State;
use data_runner_core::port::Finding;

use crate::api::{Checkup, Problem};
use crate::app::App;
use crate::http::query::Params;
use crate::http::refusal::Refusal;

/// Looks whether everything is there that this server and its machines need, and says what to do about what is not.
/// Changes and launches nothing.
#[utoipa::path(
    get, path = "/doctor", tag = "server", security(("token" = ["admin"])),
    responses((status = 200, body = Checkup), (status = 504, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn check(State(app): State<App>, query: Params) -> Result<Json<Checkup>, Refusal> {
    query.finish()?;
    let made = futures::future::join_all(app.checkups.iter().map(|checkup| checkup.check())).await;
    let findings: Vec<Finding> = made.into_iter().flatten().collect();
    Ok(Json(Checkup::from(findings)))
}
