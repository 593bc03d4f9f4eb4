//! `/repos`.

use axum::Json;
use axum::extract::State;

use crate::api::{Page, Problem, Repo, SyncRepos, SyncResult, Synced};
use crate::app::App;
use crate::http::body::OptionalBody;
use crate::http::query::{Listing, Params};
use crate::http::refusal::Refusal;

/// Lists the repositories that are watched, in order of their names.
#[utoipa::path(
    get, path = "/repos", tag = "repositories", security(("token" = ["read"])),
    params(("limit" = Option<u32>, Query, description = "1 to 500, default 50"), ("cursor" = Option<String>, Query, description = "From `next_cursor`")),
    responses((status = 200, body = Page<Repo>), (status = 400, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn list(State(app): State<App>, mut query: Params) -> Result<Json<Page<Repo>>, Refusal> {
    let wanted = query.page(Listing::Repos)?;
    query.finish()?;
    let published = app.handle.published();
    // The map is in order of the names.
    let repos = published.repos.iter();
    let mut rest = repos
        .skip_while(|(name, _)| wanted.after.as_ref().is_some_and(|after| name.as_str() <= after.as_str()));
    let items: Vec<Repo> = rest.by_ref().take(wanted.limit).map(|(_, repo)| Repo::from(&**repo)).collect();
    let more = rest.next().is_some();
    let next_cursor = items.last().filter(|_| more).map(|last| Listing::Repos.cursor(&last.name));
    Ok(Json(Page { items, next_cursor }))
}

/// Fetches one repository, or all, now. What became of each stands in the answer.
#[utoipa::path(
    post, path = "/repos/sync", tag = "repositories", security(("token" = ["run"])), request_body = Option<SyncRepos>,
    responses((status = 200, body = Synced), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn sync(
    State(app): State<App>,
    body: OptionalBody<SyncRepos>,
) -> Result<Json<Synced>, Refusal> {
    let outcomes = app.handle.sync(body.value.repo.as_deref()).await?;
    let items = outcomes.into_iter().map(|outcome| {
        let (revision, error) = match outcome.result {
            Ok(revision) => (Some(revision.to_string()), None),
            Err(error) => (None, Some(error)),
        };
        SyncResult { repo: outcome.repo.to_string(), revision, error }
    });
    Ok(Json(Synced { items: items.collect() }))
}
