//! `/executions/{id}/logs`.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use data_runner_core::execution::Execution;
use data_runner_core::id::AttemptNumber;
use data_runner_core::port::LogState;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

use super::find;
use crate::api::{LogLine, Problem};
use crate::app::{App, Closing};
use crate::http::path::Segments;
use crate::http::query::Params;
use crate::http::refusal::{Kind, Refusal};
use crate::log::{Chunks, Follow, Form, LogBody, Wanted, start_of_tail};

/// How much of the log is there when the answer begins: `none`, `open`, `complete` or `truncated`.
const LOG_STATE: HeaderName = HeaderName::from_static("data-runner-log-state");
/// With which attempt the answer begins.
const LOG_ATTEMPT: HeaderName = HeaderName::from_static("data-runner-attempt");

/// The log of an execution, live or finished. `text/plain` is what the job wrote, both streams in the order in which
/// they were read, or byte for byte one of them; `application/x-ndjson` is a JSON object for each line;
/// `text/event-stream` the same as events, resumed by `Last-Event-ID`, with `end` as the last event.
///
/// An event's id is the number of the highest line that was sent; `17~3` says that line 3 is still open; from the
/// second attempt on the attempt stands before it, `2:17`. Where bytes are missing, lines and events have a record
/// `{"gap": {"bytes", "reason"}}`; in text the header `data-runner-log-state: truncated` says so.
#[utoipa::path(
    get, path = "/executions/{execution}/logs", tag = "executions", security(("token" = ["read"])),
    params(
        ("execution" = String, Path, description = "Id, 4 or more of its first digits, or `latest`"),
        ("stream" = Option<String>, Query, description = "`stdout` or `stderr`; default: both"),
        ("attempt" = Option<u32>, Query, description = "Default: the newest, and with `follow` those that come after it"),
        ("from_line" = Option<u64>, Query, description = "From this line on; the first is 1"),
        ("to_line" = Option<u64>, Query, description = "Up to this line"),
        ("tail" = Option<u64>, Query, description = "Only the last so many of the selected lines, and what follows"),
        ("grep" = Option<String>, Query, description = "Only lines that match this regular expression (of a longer line the first 64 KiB count)"),
        ("follow" = Option<bool>, Query, description = "Go on until the execution has ended"),
        ("last-event-id" = Option<String>, Header, description = "Go on after this event"),
    ),
    responses(
        (status = 200, content(
            (String = "text/plain"),
            (LogLine = "application/x-ndjson"),
            (String = "text/event-stream"),
        )),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 406, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(app): State<App>,
    Closing(closing): Closing,
    Segments(given): Segments<String>,
    headers: HeaderMap,
    query: Params,
) -> Result<Response, Refusal> {
    let form = form(&headers)?;
    let mut wanted = Wanted::read(query, &headers)?;
    let id = find::execution_id(&app.handle, &given).await?;
    let permit = if wanted.follow { Some(app.open_stream()?) } else { None };
    // The watch is made before the first look.
    let follow = wanted.follow.then(|| Follow::new(&app.handle, id, wanted.attempt.is_some(), closing));
    let execution = find::execution(&app.handle, &id.to_string()).await?;
    let attempt = attempt(&wanted, &execution)?;
    let state = position(&app, &execution, attempt, &mut wanted).await?;
    let lines = (wanted.selection.lowest(), wanted.selection.to);
    let chunks = Chunks::new(app.handle.clone(), Box::new(execution), attempt, lines, follow);
    let mut response =
        Body::from_stream(LogBody::new(chunks, wanted.selection, form, permit).stream()).into_response();
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A job's output is no page of ours, whatever it looks like.
    head.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    head.insert(LOG_STATE, HeaderValue::from_static(state));
    if let Some(attempt) = attempt {
        head.insert(LOG_ATTEMPT, HeaderValue::from(attempt.0));
    }
    Ok(response)
}

/// The attempt to begin with; `None`: there is none yet.
fn attempt(wanted: &Wanted, execution: &Execution) -> Result<Option<AttemptNumber>, Refusal> {
    let asked = wanted.attempt.or(wanted.resume.map(|resume| resume.attempt));
    let Some(number) = asked else {
        return Ok(execution.latest_attempt().map(|attempt| attempt.number));
    };
    let known = execution.attempts.iter().any(|attempt| attempt.number == number);
    match wanted.attempt {
        Some(_) if !known => Err(Refusal::new(
            Kind::AttemptNotFound,
            format!(
                "execution {} has {} attempts so far, and no attempt {number}",
                execution.id,
                execution.attempts.len()
            ),
        )),
        Some(_) | None => Ok(known.then_some(number)),
    }
}

/// Narrows the selection to what is wanted of the attempt that the answer begins with, and tells how much is there.
async fn position(
    app: &App,
    execution: &Execution,
    attempt: Option<AttemptNumber>,
    wanted: &mut Wanted,
) -> Result<&'static str, Refusal> {
    let Some(number) = attempt else { return Ok("none") };
    let id = execution.attempt_id(number);
    match wanted.resume.filter(|resume| resume.attempt == number) {
        Some(resume) => wanted.selection.resume(resume.place),
        None => {
            if let Some(count) = wanted.tail {
                let from = start_of_tail(app.handle.logs(), id, count, &wanted.selection).await;
                wanted.selection.from = from.map_err(|error| {
                    tracing::error!(%id, error = &error as &dyn std::error::Error, "a log cannot be read");
                    Refusal::internal()
                })?;
            }
        }
    }
    Ok(match app.handle.logs().summary(id).await?.state {
        LogState::Open => "open",
        LogState::Complete { .. } => "complete",
        LogState::Truncated { .. } => "truncated",
    })
}

/// The form that the caller likes best of those that there are.
pub(crate) fn form(headers: &HeaderMap) -> Result<Form, Refusal> {
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    if accept.iter().all(|value| value.trim().is_empty()) {
        return Ok(Form::Text);
    }
    let mut best: Option<(f32, Form)> = None;
    for range in accept.iter().flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "text/plain" | "text/*" | "*/*" => Form::Text,
            "application/x-ndjson" | "application/ndjson" | "application/*" => Form::Ndjson,
            "text/event-stream" => Form::Events,
            _ => continue,
        };
        let quality =
            parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok()).unwrap_or(1.0);
        if quality > best.map_or(0.0, |(best, _)| best) {
            best = Some((quality, form));
        }
    }
    best.map(|(_, form)| form).ok_or_else(|| {
        Refusal::new(
            Kind::NotAcceptable,
            "a log comes as text/plain, application/x-ndjson or text/event-stream",
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn asked(accept: &[&str]) -> Option<Form> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        form(&headers).ok()
    }

    #[test]
    fn the_form_that_the_caller_likes_best_is_given() {
        assert_eq!(asked(&[]), Some(Form::Text));
        assert_eq!(asked(&["*/*"]), Some(Form::Text));
        assert_eq!(asked(&["text/event-stream"]), Some(Form::Events));
        assert_eq!(asked(&["application/x-ndjson;q=0.5, text/event-stream;q=0.9"]), Some(Form::Events));
        assert_eq!(asked(&["text/html", "application/x-ndjson"]), Some(Form::Ndjson));
        assert_eq!(asked(&["text/plain;q=0"]), None);
        assert_eq!(asked(&["application/json"]), None);
    }
}
