//! `/hooks`: webhooks of those who host repositories.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use bytes::Bytes;
use data_runner_core::hook::{HookDelivery, HookSender};
use data_runner_core::port::SecretValue;
use data_runner_core::time::Timestamp;
use http::{HeaderMap, StatusCode};

use crate::api::{HookOutcome, Hooked, Problem};
use crate::app::App;
use crate::hooks::{LIMIT, Proof, Signed, Told, told};
use crate::http::body::raw;
use crate::http::refusal::{Kind, Refusal};

/// How long a webhook's body may take to come.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// GitHub's webhook: a push makes its repository be looked at now. Signed with the secret of `hooks.github`.
#[utoipa::path(
    post, path = "/hooks/github", tag = "hooks", security(("hook" = [])),
    request_body(content = String, content_type = "application/json", description = "As GitHub sends it, also as a form"),
    responses(
        (status = 202, body = Hooked, description = "The repository is looked at"),
        (status = 200, body = Hooked, description = "Nothing is done: another event, or a delivery that came before"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "The signature is not right"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No repository here has that URL"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "Over 5 MiB"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn github(
    State(app): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<Hooked>), Refusal> {
    heard(&app, HookSender::Github, request).await
}

/// GitLab's webhook: a push makes its repository be looked at now. Signed with the signing token of `hooks.gitlab`, or
/// with its secret token in `X-Gitlab-Token`.
#[utoipa::path(
    post, path = "/hooks/gitlab", tag = "hooks", security(("hook" = [])),
    request_body(content = String, content_type = "application/json", description = "As GitLab sends it"),
    responses(
        (status = 202, body = Hooked, description = "The repository is looked at"),
        (status = 200, body = Hooked, description = "Nothing is done: another event, or a delivery that came before"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "The signature is not right"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No repository here has that URL"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "Over 5 MiB"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn gitlab(
    State(app): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<Hooked>), Refusal> {
    heard(&app, HookSender::Gitlab, request).await
}

async fn heard(
    app: &App,
    sender: HookSender,
    request: Request,
) -> Result<(StatusCode, Json<Hooked>), Refusal> {
    let _place = app.open_hook()?;
    let secrets = secrets(app, sender).await?;
    let (headers, body) = raw(request, LIMIT, BODY_WITHIN).await?;
    let Signed { body, names } = signed(sender, &headers, body, &secrets)?;
    let unreadable = |error: &dyn std::error::Error| Refusal::new(Kind::MalformedRequest, error.to_string());
    match told(sender, &headers, &body).map_err(|error| unreadable(&error))? {
        Told::Ping => Ok(nothing(HookOutcome::Pong, "pong".to_owned())),
        Told::Other { event } => {
            Ok(nothing(HookOutcome::Ignored, format!("nothing is done for {event:?}; send pushes only")))
        }
        Told::Push { urls } => pushed(app, HookDelivery { sender, names, urls, known: false }).await,
    }
}

/// What the sender shares with us. Nobody is told whether there is anything.
async fn secrets(app: &App, sender: HookSender) -> Result<Arc<[SecretValue]>, Refusal> {
    let Some(hooks) = &app.hooks else { return Ok(Arc::default()) };
    hooks.of(sender).await.map_err(|error| {
        tracing::error!(%sender, error = &*error as &dyn std::error::Error, "a webhook's secret cannot be had");
        Refusal::new(Kind::Unavailable, "the webhook cannot be checked just now")
    })
}

fn signed(
    sender: HookSender,
    headers: &HeaderMap,
    body: Bytes,
    secrets: &[SecretValue],
) -> Result<Signed, Refusal> {
    let now = Timestamp::from_micros(jiff::Timestamp::now().as_microsecond());
    let proof = Proof { headers, body: &body, now };
    let names = match sender {
        HookSender::Github => proof.of_github(secrets),
        HookSender::Gitlab => proof.of_gitlab(secrets),
    };
    let names = names.map_err(|_| {
        Refusal::new(Kind::SignatureRefused, "the webhook is not signed with the secret that is known here")
            .hinting(format!("its secret must be the one that hooks.{sender} of supervisor.yaml names"))
    })?;
    if names.is_empty() {
        return Err(Refusal::new(
            Kind::MalformedRequest,
            "the delivery has no id by which it is known again",
        ));
    }
    Ok(Signed { body, names })
}

async fn pushed(app: &App, delivery: HookDelivery) -> Result<(StatusCode, Json<Hooked>), Refusal> {
    let Some(repos) = app.handle.hook(delivery).await? else {
        return Ok(nothing(HookOutcome::Repeated, "this delivery came before".to_owned()));
    };
    let repos: Vec<String> = repos.iter().map(ToString::to_string).collect();
    let message = format!("looking at {}", repos.join(", "));
    Ok((StatusCode::ACCEPTED, Json(Hooked { outcome: HookOutcome::Looking, message, repos })))
}

fn nothing(outcome: HookOutcome, message: String) -> (StatusCode, Json<Hooked>) {
    (StatusCode::OK, Json(Hooked { outcome, message, repos: Vec::new() }))
}
