//! `/artifacts`: files that jobs left.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use data_runner_core::artifact::Artifact as CoreArtifact;
use data_runner_core::port::{ByteSource, Source};
use futures::Stream;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method};
use tokio::sync::OwnedSemaphorePermit;

use super::find;
use crate::api::{Artifact, Page, Problem};
use crate::app::App;
use crate::http::path::Segments;
use crate::http::refusal::{Kind, Refusal};

/// The files that an execution's attempts left and that are kept, in order of attempt, name and path. All of them: there
/// are at most 1000 of an attempt.
#[utoipa::path(
    get, path = "/executions/{execution}/artifacts", tag = "executions", security(("token" = ["read"])),
    params(("execution" = String, Path, description = "Id, 4 or more of its first digits, or `latest`")),
    responses((status = 200, body = Page<Artifact>), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn list(
    State(app): State<App>,
    Segments(given): Segments<String>,
) -> Result<Json<Page<Artifact>>, Refusal> {
    let execution = find::execution(&app.handle, &given).await?;
    let kept = app.handle.artifacts(execution.id).await?;
    Ok(Json(Page { items: kept.iter().map(Artifact::from).collect(), next_cursor: None }))
}

/// One of them: its bytes. The `ETag` is their SHA-256. An answer that breaks off before its `Content-Length` is not
/// whole.
#[utoipa::path(
    get, path = "/artifacts/{artifact}", tag = "executions", security(("token" = ["read"])),
    params(("artifact" = String, Path, description = "Its id")),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream", headers(("etag" = String, description = "Its SHA-256"))),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is none, or its time is over"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(app): State<App>,
    method: Method,
    Segments(given): Segments<String>,
) -> Result<Response, Refusal> {
    let unknown = || Refusal::new(Kind::ArtifactNotFound, format!("there is no artifact {given:?}"));
    let id = given.parse().map_err(|_| unknown())?;
    let (artifact, content) = app.handle.artifact(id).await?.ok_or_else(unknown)?;
    let mut response = match method == Method::HEAD {
        true => Response::default(),
        false => Body::from_stream(pieces(content, app.open_stream()?)).into_response(),
    };
    describe(response.headers_mut(), &artifact);
    Ok(response)
}

/// The bytes as they come; one more stream is open as long as they do.
fn pieces(
    content: Box<dyn ByteSource>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, Source>> {
    futures::stream::unfold(Some((content, place)), |state| async {
        let (mut content, place) = state?;
        match content.next().await {
            Ok(piece) => piece.map(|piece| (Ok(piece), Some((content, place)))),
            Err(error) => {
                tracing::error!(
                    error = &*error as &dyn std::error::Error,
                    "an artifact cannot be read to its end"
                );
                Some((Err(error), None))
            }
        }
    })
}

/// What a file is. Whoever opens it in a browser is asked where to save it: it must not act there in our name.
fn describe(head: &mut HeaderMap, artifact: &CoreArtifact) {
    let name = artifact.path.rsplit('/').next().unwrap_or_default();
    head.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    head.insert(CONTENT_LENGTH, HeaderValue::from(artifact.blob.bytes));
    head.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    for (header, value) in
        [(ETAG, format!("\"{}\"", artifact.blob.hash)), (CONTENT_DISPOSITION, disposition(name))]
    {
        // Both are ASCII without control characters, whatever the name is.
        if let Ok(value) = HeaderValue::try_from(value) {
            head.insert(header, value);
        }
    }
}

/// The name of a file for whoever saves it (RFC 6266): in ASCII for old readers, and as it is for all others.
fn disposition(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && !"\"\\%;".contains(c) { c } else { '_' }).collect();
    let mut exact = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            exact.push(char::from(byte));
        } else {
            exact.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

/// What files of data are commonly called. Whatever a browser would run is none of them.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).as_deref() {
        Some("csv") => "text/csv; charset=utf-8",
        Some("tsv") => "text/tab-separated-values; charset=utf-8",
        Some("txt" | "log" | "md") => "text/plain; charset=utf-8",
        Some("json") => "application/json",
        Some("ndjson" | "jsonl") => "application/x-ndjson",
        Some("parquet") => "application/vnd.apache.parquet",
        Some("arrow") => "application/vnd.apache.arrow.file",
        Some("gz") => "application/gzip",
        Some("zst") => "application/zstd",
        Some("zip") => "application/zip",
        Some("pdf") => "application/pdf",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place_in_the_header() {
        for (name, expected) in [
            ("a.csv", "attachment; filename=\"a.csv\"; filename*=UTF-8''a.csv"),
            ("ä b\".csv", "attachment; filename=\"__b_.csv\"; filename*=UTF-8''%C3%A4%20b%22.csv"),
            (
                "x; y\r\nSet-Cookie: a",
                "attachment; filename=\"x__y__Set-Cookie:_a\"; filename*=UTF-8''x%3B%20y%0D%0ASet-Cookie%3A%20a",
            ),
        ] {
            assert_eq!(disposition(name), expected);
            HeaderValue::try_from(disposition(name)).unwrap();
        }
    }

    #[test]
    fn nothing_that_a_browser_runs_is_called_by_its_name() {
        for name in ["a.html", "a.svg", "a.js", "a.xhtml", "a", "a.HTM"] {
            assert_eq!(media_type(name), "application/octet-stream", "{name}");
        }
        assert_eq!(media_type("x.y.CSV"), "text/csv; charset=utf-8");
    }
}
