//! JSON bodies.

use std::error::Error as _;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::response::IntoResponse as _;
use data_runner_core::id::Sha256;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::refusal::{Kind, Refusal};
use crate::api::Fault;

/// The most bytes of a body.
pub(crate) const LIMIT: usize = 1 << 20;

/// A JSON body. Its media type is not asked for: `curl -d` sends another, and what a page of another origin sends
/// never gets here.
pub(crate) struct Body<T>(pub(crate) T);

/// A JSON body, with the hash of what it says. If it is absent it is an empty object.
pub(crate) struct OptionalBody<T> {
    pub(crate) value: T,
    pub(crate) hash: Sha256,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = read(request, state).await?;
        if bytes.trim_ascii().is_empty() {
            return Err(Refusal::new(Kind::MalformedRequest, "the request needs a JSON body"));
        }
        parse(&bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = read(request, state).await?;
        let bytes = if bytes.trim_ascii().is_empty() { Bytes::from_static(b"{}") } else { bytes };
        // White space and the order of keys make no other request.
        let canonical =
            serde_json::from_slice::<serde_json::Value>(&bytes).ok().map(|value| value.to_string());
        let hash = Sha256::of(canonical.as_deref().map_or(&bytes[..], str::as_bytes));
        Ok(Self { value: parse(&bytes)?, hash })
    }
}

/// Reads a body that is no JSON: at most `limit` bytes, within this time.
pub(crate) async fn raw(
    request: Request,
    limit: usize,
    within: Duration,
) -> Result<(HeaderMap, Bytes), Refusal> {
    let (head, body) = request.into_parts();
    let too_large = || Refusal::new(Kind::BodyTooLarge, format!("this body may have {limit} bytes at most"));
    let said =
        head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    match tokio::time::timeout(within, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok((head.headers, bytes)),
        Ok(Err(error)) if is_of_length(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Refusal::new(Kind::MalformedRequest, "the request's body ended too soon")),
        Err(_) => Err(Refusal::new(Kind::MalformedRequest, "the request's body came too slowly")),
    }
}

fn is_of_length(error: &axum::Error) -> bool {
    error.source().is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Refusal> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Refusal::new(Kind::BodyTooLarge, format!("a body may have {LIMIT} bytes at most"))
        }
        _ => Refusal::new(Kind::MalformedRequest, "the request's body ended too soon"),
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| refusal(&error))
}

fn refusal(error: &serde_json::Error) -> Refusal {
    let text = error.to_string();
    // The place has fields of its own.
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned();
    let (kind, code) = match error.classify() {
        serde_json::error::Category::Data if message.starts_with("unknown field") => {
            (Kind::InvalidRequest, "unknown_field")
        }
        serde_json::error::Category::Data if message.starts_with("missing field") => {
            (Kind::InvalidRequest, "missing_field")
        }
        serde_json::error::Category::Data => (Kind::InvalidRequest, "invalid_value"),
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => (Kind::MalformedRequest, "invalid_json"),
    };
    let place = |number: usize| u32::try_from(number).ok().filter(|number| *number > 0);
    let fault = Fault {
        // The bodies are flat: a field that serde names stands at the top.
        pointer: (code == "unknown_field")
            .then(|| message.split('`').nth(1))
            .flatten()
            .map(|name| format!("/{name}")),
        file: None,
        line: place(error.line()),
        column: place(error.column()),
        code: code.to_owned(),
        message,
        help: None,
    };
    Refusal::new(kind, "the request's body is not what this route takes").with([fault])
}

/// The caller's `Idempotency-Key`, if there is one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    const LENGTHS: RangeInclusive<usize> = 1..=255;
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().ok().filter(|key| LENGTHS.contains(&key.len()));
    key.map(Some).ok_or_else(|| {
        Refusal::new(Kind::MalformedRequest, "an Idempotency-Key has 1 to 255 visible ASCII characters")
    })
}
