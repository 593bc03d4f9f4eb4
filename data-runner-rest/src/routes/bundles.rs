//! `/bundles`: folders that people run without pushing them.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;

use crate::api::{Problem, Workflow};
use crate::app::App;
use crate::http::body::raw;
use crate::http::query::Params;
use crate::http::refusal::{Kind, Refusal};

/// The most bytes that an archive may have. What it holds has a limit of its own.
const LIMIT: usize = 64 << 20;

/// How long an archive may take to come.
const WITHIN: Duration = Duration::from_secs(100);

/// Takes a workflow's folder that is in no repository, to be run: a tar archive, compressed with Zstandard, of the folder
/// and what it includes, under their paths from the repository's root. The answer is a workflow of the repository
/// `unpushed`; execute it with its `revision` as the `ref`. The same files have the same revision. Its schedules, needs
/// and notifications do not count, and the same is refused as of a repository: links that leave it, LFS pointers, more
/// than 64 MiB.
#[utoipa::path(
    post, path = "/bundles", tag = "workflows", security(("token" = ["run"])),
    params(("path" = String, Query, description = "The workflow's folder in it, such as `workflows/orders`")),
    request_body(content = Vec<u8>, content_type = "application/zstd"),
    responses(
        (status = 201, body = Workflow),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "Over 64 MiB"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "It cannot be run; `errors` say where"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn upload(
    State(app): State<App>,
    mut query: Params,
    request: Request,
) -> Result<(StatusCode, Json<Workflow>), Refusal> {
    let path = query.one("path")?;
    query.finish()?;
    let path = path.ok_or_else(|| {
        Refusal::new(Kind::InvalidParameter, "`path` must say which folder of the archive is the workflow's")
    })?;
    let _place = app.open_upload()?;
    let (_, archive) = raw(request, LIMIT, WITHIN).await?;
    let workflow = app.handle.upload(path.trim_matches('/'), archive).await?;
    Ok((StatusCode::CREATED, Json(Workflow::from(&workflow))))
}
