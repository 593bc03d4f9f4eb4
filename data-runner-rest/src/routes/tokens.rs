//! `/tokens`: who may come in.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use data_runner_engine::Tokens;
use data_runner_engine::tokens::{NewToken, TokenError};
use http::StatusCode;
use http::header::CACHE_CONTROL;

use crate::api::{CreateToken, CreatedToken, Fault, Page, Problem, Token};
use crate::app::App;
use crate::http::body::Body;
use crate::http::path::Segments;
use crate::http::query::{Listing, Params};
use crate::http::refusal::{Kind, Refusal};
use crate::http::time;

/// Lists tokens in order of their names, expired ones too. Secrets are kept nowhere.
#[utoipa::path(
    get, path = "/tokens", tag = "tokens", security(("token" = ["admin"])),
    params(("limit" = Option<u32>, Query, description = "1 to 500, default 50"), ("cursor" = Option<String>, Query, description = "From `next_cursor`")),
    responses(
        (status = 200, body = Page<Token>),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "This server has no login"),
    )
)]
pub(crate) async fn list(State(app): State<App>, mut query: Params) -> Result<Json<Page<Token>>, Refusal> {
    let wanted = query.page(Listing::Tokens)?;
    query.finish()?;
    let mut tokens = tokens(&app)?.list().await?;
    tokens.retain(|token| wanted.after.as_deref().is_none_or(|after| token.name.as_str() > after));
    let more = tokens.len() > wanted.limit;
    tokens.truncate(wanted.limit);
    let next_cursor = tokens.last().filter(|_| more).map(|last| Listing::Tokens.cursor(last.name.as_str()));
    Ok(Json(Page { items: tokens.iter().map(Token::from).collect(), next_cursor }))
}

/// Makes a token. Its secret is in this answer and never shown again.
#[utoipa::path(
    post, path = "/tokens", tag = "tokens", security(("token" = ["admin"])), request_body = CreateToken,
    responses(
        (status = 201, body = CreatedToken),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The name is taken, or this server has no login"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(app): State<App>,
    Body(body): Body<CreateToken>,
) -> Result<Response, Refusal> {
    let lifetime = body.expires_in.as_deref().map(lifetime).transpose()?;
    let wanted = NewToken { name: body.name, scope: body.scope, lifetime };
    let (token, secret) = tokens(&app)?.create(wanted).await?;
    let answer = CreatedToken { token: Token::from(&token), secret: secret.reveal().to_owned() };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// Revokes a token: from now on its bearer is refused. Streams that are open go on until they end.
#[utoipa::path(
    delete, path = "/tokens/{token}", tag = "tokens", security(("token" = ["admin"])),
    params(("token" = String, Path, description = "Name or id")),
    responses(
        (status = 200, body = Token),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "This server has no login"),
    )
)]
pub(crate) async fn revoke(
    State(app): State<App>,
    Segments(given): Segments<String>,
) -> Result<Json<Token>, Refusal> {
    let token = tokens(&app)?.revoke(&given).await?;
    Ok(Json(Token::from(&token)))
}

fn tokens(app: &App) -> Result<&Tokens, Refusal> {
    app.tokens.as_ref().ok_or_else(|| {
        Refusal::new(Kind::NoLogin, "this server lets in whoever reaches it, and has no tokens")
            .hinting("write `login: true` into its supervisor.yaml")
    })
}

fn lifetime(given: &str) -> Result<std::time::Duration, Refusal> {
    time::duration(given).filter(|length| !length.is_zero()).ok_or_else(|| {
        let message = format!("{given:?} is no length of time such as 90d or 12h");
        Refusal::new(Kind::InvalidRequest, "the token's lifetime cannot be read").with([Fault {
            pointer: Some("/expires_in".to_owned()),
            file: None,
            line: None,
            column: None,
            code: "invalid_value".to_owned(),
            message,
            help: None,
        }])
    })
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NameTaken(_) => Self::new(Kind::TokenNameTaken, error.to_string()),
            TokenError::NoSuchToken(_) => Self::new(Kind::TokenNotFound, error.to_string()),
            TokenError::State(error) => error.into(),
            TokenError::Entropy(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no randomness for a token");
                Self::internal()
            }
        }
    }
}
