//! `/workers`.

use axum::Json;
use axum::extract::State;
use data_runner_core::id::WorkerId;
use data_runner_engine::RequestError;
use http::StatusCode;

use super::costed;
use crate::api::{Page, Problem, Repeat, Worker};
use crate::app::App;
use crate::http::body::OptionalBody;
use crate::http::path::Segments;
use crate::http::query::{Listing, Params};
use crate::http::refusal::{Kind, Refusal};

/// How many terminated workers are listed.
const TERMINATED: u32 = 100;

/// Lists workers, the newest first: all that are not terminated, and the newest of those that are.
#[utoipa::path(
    get, path = "/workers", tag = "workers", security(("token" = ["read"])),
    params(("limit" = Option<u32>, Query, description = "1 to 500, default 50"), ("cursor" = Option<String>, Query, description = "From `next_cursor`")),
    responses((status = 200, body = Page<Worker>), (status = 400, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn list(State(app): State<App>, mut query: Params) -> Result<Json<Page<Worker>>, Refusal> {
    let wanted = query.page(Listing::Workers)?;
    query.finish()?;
    let before: Option<WorkerId> = Listing::Workers.key(&wanted)?;
    let mut workers = app.handle.catalog().workers(TERMINATED).await?;
    workers.retain(|worker| before.is_none_or(|before| worker.id < before));
    workers.sort_by_key(|worker| std::cmp::Reverse(worker.id));
    let more = workers.len() > wanted.limit;
    workers.truncate(wanted.limit);
    let next_cursor =
        workers.last().filter(|_| more).map(|last| Listing::Workers.cursor(&last.id.to_string()));
    Ok(Json(Page { items: costed::workers(&app.handle, &workers).await?, next_cursor }))
}

/// One worker.
#[utoipa::path(
    get, path = "/workers/{worker}", tag = "workers", security(("token" = ["read"])), params(("worker" = uuid::Uuid, Path)),
    responses((status = 200, body = Worker), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn get(
    State(app): State<App>,
    Segments(given): Segments<String>,
) -> Result<Json<Worker>, Refusal> {
    let worker = app.handle.catalog().worker(id(&given)?).await?;
    let worker = worker.ok_or_else(|| unknown(&given))?;
    let shown = costed::workers(&app.handle, std::slice::from_ref(&worker)).await?.pop();
    shown.map(Json).ok_or_else(|| unknown(&given))
}

/// Lets a worker finish what it has; then it goes.
#[utoipa::path(
    post, path = "/workers/{worker}/drain", tag = "workers", security(("token" = ["admin"])), params(("worker" = uuid::Uuid, Path)), request_body = Option<Repeat>,
    responses((status = 202, body = Worker), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn drain(
    State(app): State<App>,
    Segments(given): Segments<String>,
    _body: OptionalBody<Repeat>,
) -> Result<(StatusCode, Json<Worker>), Refusal> {
    let worker = app.handle.drain_worker(id(&given)?).await;
    told(&app, &given, worker.map(|worker| Worker::from(&worker))).await
}

/// Ends a worker at once; what it runs is interrupted.
#[utoipa::path(
    delete, path = "/workers/{worker}", tag = "workers", security(("token" = ["admin"])), params(("worker" = uuid::Uuid, Path)),
    responses((status = 202, body = Worker), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn terminate(
    State(app): State<App>,
    Segments(given): Segments<String>,
) -> Result<(StatusCode, Json<Worker>), Refusal> {
    let worker = app.handle.terminate_worker(id(&given)?).await;
    told(&app, &given, worker.map(|worker| Worker::from(&worker))).await
}

/// Core knows no worker that is terminated; of those it is true already that they are gone.
async fn told(
    app: &App,
    given: &str,
    answer: Result<Worker, RequestError>,
) -> Result<(StatusCode, Json<Worker>), Refusal> {
    use data_runner_core::event::Rejection;
    match answer {
        Ok(worker) => Ok((StatusCode::ACCEPTED, Json(worker))),
        Err(RequestError::Rejected(Rejection::NoSuchWorker(id))) => {
            let gone = app.handle.catalog().worker(id).await?.ok_or_else(|| unknown(given))?;
            Ok((StatusCode::ACCEPTED, Json(Worker::from(&gone))))
        }
        Err(error) => Err(error.into()),
    }
}

fn id(given: &str) -> Result<WorkerId, Refusal> {
    given.parse().map_err(|_| unknown(given))
}

fn unknown(given: &str) -> Refusal {
    Refusal::new(Kind::WorkerNotFound, format!("there is no worker {given:?}"))
}
