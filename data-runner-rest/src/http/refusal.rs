//! Refusals: the one error of every handler, and its way to a problem document.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::api::{Fault, Problem};

/// Why a request is not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    kind: Kind,
    detail: Option<String>,
    hint: Option<String>,
    errors: Vec<Fault>,
}

/// What kinds of refusals there are. The codes are public and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    MalformedRequest,
    InvalidParameter,
    InvalidCursor,
    LoginRequired,
    TokenRefused,
    TokenExpired,
    SignatureRefused,
    ScopeTooWeak,
    HostRefused,
    OriginRefused,
    RouteNotFound,
    WorkflowNotFound,
    ExecutionNotFound,
    GroupNotFound,
    AttemptNotFound,
    LockNotFound,
    ArtifactNotFound,
    WorkerNotFound,
    RepoNotFound,
    TokenNotFound,
    AgentNotFound,
    ImageNotFound,
    MetricsNotKept,
    MethodNotAllowed,
    NotAcceptable,
    Ambiguous,
    AlreadyEnded,
    ConcurrencyLimit,
    WorkflowGone,
    TokenNameTaken,
    NoLogin,
    NoImages,
    BodyTooLarge,
    InvalidRequest,
    RevisionNotFound,
    NoMachine,
    IdempotencyKeyReused,
    TooManyStreams,
    TooManyDownloads,
    TooManyHooks,
    TooManyUploads,
    Internal,
    SourceUnreachable,
    ProvisionerUnreachable,
    Unavailable,
    TimedOut,
}

impl Kind {
    /// Every kind, for the documentation and its test.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 46] = [
        Self::MalformedRequest,
        Self::InvalidParameter,
        Self::InvalidCursor,
        Self::LoginRequired,
        Self::TokenRefused,
        Self::TokenExpired,
        Self::SignatureRefused,
        Self::ScopeTooWeak,
        Self::HostRefused,
        Self::OriginRefused,
        Self::RouteNotFound,
        Self::WorkflowNotFound,
        Self::ExecutionNotFound,
        Self::GroupNotFound,
        Self::AttemptNotFound,
        Self::LockNotFound,
        Self::ArtifactNotFound,
        Self::WorkerNotFound,
        Self::RepoNotFound,
        Self::TokenNotFound,
        Self::AgentNotFound,
        Self::ImageNotFound,
        Self::MetricsNotKept,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::Ambiguous,
        Self::AlreadyEnded,
        Self::ConcurrencyLimit,
        Self::WorkflowGone,
        Self::TokenNameTaken,
        Self::NoLogin,
        Self::NoImages,
        Self::BodyTooLarge,
        Self::InvalidRequest,
        Self::RevisionNotFound,
        Self::NoMachine,
        Self::IdempotencyKeyReused,
        Self::TooManyStreams,
        Self::TooManyDownloads,
        Self::TooManyHooks,
        Self::TooManyUploads,
        Self::Internal,
        Self::SourceUnreachable,
        Self::ProvisionerUnreachable,
        Self::Unavailable,
        Self::TimedOut,
    ];

    /// Status, code and title.
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedRequest => (S::BAD_REQUEST, "malformed_request", "The request cannot be read"),
            Self::InvalidParameter => (S::BAD_REQUEST, "invalid_parameter", "A query parameter is wrong"),
            Self::InvalidCursor => (S::BAD_REQUEST, "invalid_cursor", "The cursor is none of this listing's"),
            Self::LoginRequired => (S::UNAUTHORIZED, "login_required", "A token is needed"),
            Self::TokenRefused => (S::UNAUTHORIZED, "token_refused", "The token is not known here"),
            Self::TokenExpired => (S::UNAUTHORIZED, "token_expired", "The token has expired"),
            Self::SignatureRefused => (S::UNAUTHORIZED, "signature_refused", "The signature is not right"),
            Self::ScopeTooWeak => (S::FORBIDDEN, "scope_too_weak", "The token may not do this"),
            Self::HostRefused => (S::FORBIDDEN, "host_refused", "This server does not go by that name"),
            Self::OriginRefused => (S::FORBIDDEN, "origin_refused", "Pages of other origins may not ask"),
            Self::RouteNotFound => (S::NOT_FOUND, "route_not_found", "There is no such route"),
            Self::WorkflowNotFound => (S::NOT_FOUND, "workflow_not_found", "There is no such workflow"),
            Self::ExecutionNotFound => (S::NOT_FOUND, "execution_not_found", "There is no such execution"),
            Self::GroupNotFound => (S::NOT_FOUND, "group_not_found", "There is no such group"),
            Self::AttemptNotFound => (S::NOT_FOUND, "attempt_not_found", "There is no such attempt"),
            Self::LockNotFound => (S::NOT_FOUND, "lock_not_found", "Its packages are not known"),
            Self::ArtifactNotFound => (S::NOT_FOUND, "artifact_not_found", "There is no such artifact"),
            Self::WorkerNotFound => (S::NOT_FOUND, "worker_not_found", "There is no such worker"),
            Self::RepoNotFound => (S::NOT_FOUND, "repo_not_found", "There is no such repository"),
            Self::TokenNotFound => (S::NOT_FOUND, "token_not_found", "There is no such token"),
            Self::AgentNotFound => {
                (S::NOT_FOUND, "agent_not_found", "There is no agent for that architecture")
            }
            Self::ImageNotFound => (S::NOT_FOUND, "image_not_found", "There is no such image"),
            Self::MetricsNotKept => (S::NOT_FOUND, "metrics_not_kept", "This server keeps no metrics"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method_not_allowed", "The route has other methods")
            }
            Self::NotAcceptable => {
                (S::NOT_ACCEPTABLE, "not_acceptable", "It cannot be answered in that form")
            }
            Self::Ambiguous => (S::CONFLICT, "ambiguous", "The name means more than one thing"),
            Self::ConcurrencyLimit => {
                (S::CONFLICT, "concurrency_limit", "As many executions have not ended as may run at one time")
            }
            Self::AlreadyEnded => (S::CONFLICT, "already_ended", "It has ended"),
            Self::WorkflowGone => (S::CONFLICT, "workflow_gone", "The workflow is there no more"),
            Self::TokenNameTaken => (S::CONFLICT, "token_name_taken", "Another token has that name"),
            Self::NoLogin => (S::CONFLICT, "no_login", "This server has no login"),
            Self::NoImages => (S::CONFLICT, "no_images", "This server bakes no images"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body_too_large", "The request's body is too large"),
            Self::InvalidRequest => (S::UNPROCESSABLE_ENTITY, "invalid_request", "The request is wrong"),
            Self::RevisionNotFound => {
                (S::UNPROCESSABLE_ENTITY, "revision_not_found", "The repository has no such revision or path")
            }
            Self::NoMachine => (S::UNPROCESSABLE_ENTITY, "no_machine", "No such machine may or can be had"),
            Self::IdempotencyKeyReused => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "The Idempotency-Key belongs to another request",
            ),
            Self::TooManyStreams => (S::TOO_MANY_REQUESTS, "too_many_streams", "Too many streams are open"),
            Self::TooManyDownloads => {
                (S::TOO_MANY_REQUESTS, "too_many_downloads", "Too many machines fetch their agent")
            }
            Self::TooManyHooks => (S::TOO_MANY_REQUESTS, "too_many_hooks", "Too many webhooks come at once"),
            Self::TooManyUploads => {
                (S::TOO_MANY_REQUESTS, "too_many_uploads", "Too many archives come at once")
            }
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "The server failed"),
            Self::SourceUnreachable => {
                (S::BAD_GATEWAY, "source_unreachable", "The repository did not answer")
            }
            Self::ProvisionerUnreachable => {
                (S::BAD_GATEWAY, "provisioner_unreachable", "The provisioner did not answer")
            }
            Self::Unavailable => {
                (S::SERVICE_UNAVAILABLE, "unavailable", "The server cannot do this just now")
            }
            Self::TimedOut => (S::GATEWAY_TIMEOUT, "timed_out", "The answer took too long"),
        }
    }

    /// In how many seconds to try again.
    const fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::Unavailable => Some("1"),
            Self::TooManyStreams | Self::TooManyDownloads | Self::TooManyHooks | Self::TooManyUploads => {
                Some("5")
            }
            Self::MalformedRequest
            | Self::InvalidParameter
            | Self::InvalidCursor
            | Self::LoginRequired
            | Self::TokenRefused
            | Self::TokenExpired
            | Self::SignatureRefused
            | Self::ScopeTooWeak
            | Self::HostRefused
            | Self::OriginRefused
            | Self::RouteNotFound
            | Self::WorkflowNotFound
            | Self::ExecutionNotFound
            | Self::GroupNotFound
            | Self::AttemptNotFound
            | Self::LockNotFound
            | Self::ArtifactNotFound
            | Self::WorkerNotFound
            | Self::RepoNotFound
            | Self::TokenNotFound
            | Self::AgentNotFound
            | Self::ImageNotFound
            | Self::MetricsNotKept
            | Self::MethodNotAllowed
            | Self::NotAcceptable
            | Self::Ambiguous
            | Self::AlreadyEnded
            | Self::ConcurrencyLimit
            | Self::WorkflowGone
            | Self::TokenNameTaken
            | Self::NoLogin
            | Self::NoImages
            | Self::BodyTooLarge
            | Self::InvalidRequest
            | Self::RevisionNotFound
            | Self::NoMachine
            | Self::IdempotencyKeyReused
            | Self::Internal
            | Self::SourceUnreachable
            | Self::ProvisionerUnreachable
            | Self::TimedOut => None,
        }
    }
}

impl Refusal {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: Some(detail.into()), hint: None, errors: Vec::new() }
    }

    /// A failure of ours whose particulars stay in the server's log.
    pub(crate) fn internal() -> Self {
        Self { kind: Kind::Internal, detail: None, hint: None, errors: Vec::new() }
    }

    #[must_use]
    pub(crate) fn hinting(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn with(mut self, errors: impl IntoIterator<Item = Fault>) -> Self {
        self.errors.extend(errors);
        self
    }

    pub(crate) fn problem(self) -> Problem {
        let (status, code, title) = self.kind.row();
        Problem {
            kind: format!("urn:data-runner:problem:{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail,
            hint: self.hint,
            errors: self.errors,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, _, _) = self.kind.row();
        let retry_after = self.kind.retry_after();
        // A document of texts and numbers can always be written.
        let body = serde_json::to_vec(&self.problem()).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"data-runner\""));
        }
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own_and_a_status_of_an_error() {
        let mut codes = std::collections::BTreeSet::new();
        for kind in Kind::ALL {
            let (status, code, _) = kind.row();
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
            assert!(codes.insert(code), "{code} twice");
        }
    }

    #[test]
    fn codes_and_statuses_are_what_clients_know() {
        let rows: Vec<String> = Kind::ALL
            .into_iter()
            .map(|kind| {
                let (status, code, title) = kind.row();
                format!("{} {code}: {title}", status.as_u16())
            })
            .collect();
        insta::assert_snapshot!(rows.join("\n"));
    }

    #[tokio::test]
    async fn what_may_pass_says_when_to_try_again() {
        let response = Refusal::new(Kind::Unavailable, "it recovers").into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }
}
