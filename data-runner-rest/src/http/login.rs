//! Who may ask for what. Each route declares in the OpenAPI document which scope it needs; a route that declares nothing
//! needs the highest.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts as _, MatchedPath, NestedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use data_runner_core::access::{Refused, Scope, TokenSecret};
use data_runner_core::id::TokenName;
use data_runner_engine::Tokens;
use data_runner_engine::tokens::AdmitError;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};

use super::refusal::{Kind, Refusal};

/// The name of the security scheme in the document.
pub(crate) const SCHEME: &str = "token";

/// The name of the scheme of routes that check a signature of the request by themselves.
pub(crate) const SIGNED: &str = "hook";

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: anybody may ask.
    Nothing,
    /// A signature of the request, which the route itself checks; a token is no help.
    Signature,
    /// A token of this scope or a wider one.
    Token(Scope),
}

/// The bearer of the token with which a request came.
#[derive(Debug, Clone)]
pub(crate) struct Bearer(pub(crate) TokenName);

/// What every route needs, by path and method.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needed(Arc<BTreeMap<String, BTreeMap<String, Needs>>>);

impl Needed {
    /// What the document declares. `aliases` are further paths of documented ones.
    pub(crate) fn from_document(document: &serde_json::Value, aliases: &[(&str, &str)]) -> Self {
        let mut needed = BTreeMap::new();
        for (path, operations) in document["paths"].as_object().into_iter().flatten() {
            let operations = operations.as_object().into_iter().flatten();
            let methods: BTreeMap<String, Needs> = operations
                .map(|(method, operation)| (method.to_ascii_uppercase(), declared(operation)))
                .collect();
            needed.insert(path.clone(), methods);
        }
        for (alias, path) in aliases {
            if let Some(methods) = needed.get(*path).cloned() {
                needed.insert((*alias).to_owned(), methods);
            }
        }
        Self(Arc::new(needed))
    }

    /// What a request needs that matched `path`; `None`: it matched nothing.
    pub(crate) fn of(&self, method: &Method, path: Option<&str>) -> Needs {
        // Whoever may look may hear that there is nothing.
        let Some(path) = path else { return Needs::Token(Scope::Read) };
        // The answer to HEAD is the head of the answer to GET.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let methods = self.0.get(path);
        methods.and_then(|it| it.get(method.as_str())).copied().unwrap_or(Needs::Token(Scope::Admin))
    }
}

/// `security: [{}]` is open to all, `security: [{token: [SCOPE]}]` needs that scope, `security: [{hook: []}]` a signature.
fn declared(operation: &serde_json::Value) -> Needs {
    let requirement = match operation["security"].as_array().map(Vec::as_slice) {
        Some([requirement]) => requirement.as_object(),
        Some(_) | None => None,
    };
    let Some(requirement) = requirement else { return Needs::Token(Scope::Admin) };
    if requirement.is_empty() {
        return Needs::Nothing;
    }
    if requirement.len() == 1 && requirement.contains_key(SIGNED) {
        return Needs::Signature;
    }
    let scope = requirement.get(SCHEME).and_then(|scopes| scopes[0].as_str());
    Needs::Token(scope.and_then(|scope| scope.parse().ok()).unwrap_or(Scope::Admin))
}

/// Lets a request on if its token is good for its route.
pub(crate) async fn check(
    State((needed, tokens)): State<(Needed, Tokens)>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let nested = NestedPath::from_request_parts(&mut parts, &()).await;
    let matched = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let path = matched.map(|path| match &nested {
        Ok(prefix) => path.strip_prefix(prefix.as_str().trim_end_matches('/')).unwrap_or(path),
        Err(_) => path,
    });
    let needs = match needed.of(&parts.method, path) {
        Needs::Nothing | Needs::Signature => return next.run(Request::from_parts(parts, body)).await,
        Needs::Token(scope) => scope,
    };
    match admit(&tokens, &parts.headers, needs).await {
        Ok(bearer) => {
            parts.extensions.insert(bearer);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn admit(tokens: &Tokens, headers: &HeaderMap, needs: Scope) -> Result<Bearer, Refusal> {
    let Some(secret) = secret(headers)? else { return Err(nobody(tokens).await) };
    match tokens.admit(&secret, needs).await {
        Ok(token) => Ok(Bearer(token.name)),
        Err(AdmitError::State(error)) => Err(error.into()),
        Err(AdmitError::Refused(refused)) => {
            let kind = match &refused {
                Refused::Unknown => Kind::TokenRefused,
                Refused::Expired { .. } => Kind::TokenExpired,
                Refused::TooWeak { .. } => Kind::ScopeTooWeak,
            };
            let hint = match &refused {
                Refused::Unknown | Refused::Expired { .. } => "ask an operator of this server for a token",
                Refused::TooWeak { .. } => "use a token of a wider scope",
            };
            Err(Refusal::new(kind, refused.to_string()).hinting(hint))
        }
    }
}

/// The bearer's secret; `None` where nothing was said.
fn secret(headers: &HeaderMap) -> Result<Option<TokenSecret>, Refusal> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), more) = (given.next(), given.next()) else { return Ok(None) };
    let text = header.to_str().ok().filter(|_| more.is_none());
    let secret = text
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match secret {
        Some((_, secret)) => Ok(Some(TokenSecret::from(secret.trim().to_owned()))),
        None => Err(Refusal::new(Kind::TokenRefused, "the Authorization header must be `Bearer TOKEN`")),
    }
}

/// Nothing was shown. Where nothing can be shown yet, that is what to say.
async fn nobody(tokens: &Tokens) -> Refusal {
    let refusal =
        Refusal::new(Kind::LoginRequired, "this server wants a token: `Authorization: Bearer TOKEN`");
    match tokens.any().await {
        Ok(false) => refusal.hinting(
            "there is no token yet; make the first one on the server's host: \
             data-runner-supervisor --config FILE token create NAME --scope admin",
        ),
        Ok(true) => refusal.hinting("ask an operator of this server for a token"),
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn needed() -> Needed {
        let document = serde_json::json!({"paths": {
            "/open": {"get": {"security": [{}]}},
            "/things/{thing}": {"get": {"security": [{"token": ["read"]}]}, "post": {"security": [{"token": ["run"]}]}},
            "/signed": {"post": {"security": [{"hook": []}]}},
            "/silent": {"get": {}},
            "/odd": {"get": {"security": [{"token": ["everybody"]}]}, "post": {"security": []},
                     "put": {"security": [{}, {"token": ["read"]}]}, "delete": {"security": [{"hook": [], "token": ["all"]}]}, "patch": {"security": [{"other": []}]}},
        }});
        Needed::from_document(&document, &[("/things/{thing}/{part}", "/things/{thing}")])
    }

    #[test]
    fn a_route_needs_what_it_declares() {
        let needed = needed();
        assert_eq!(needed.of(&Method::GET, Some("/open")), Needs::Nothing);
        assert_eq!(needed.of(&Method::POST, Some("/signed")), Needs::Signature);
        assert_eq!(needed.of(&Method::GET, Some("/things/{thing}")), Needs::Token(Scope::Read));
        assert_eq!(needed.of(&Method::HEAD, Some("/things/{thing}")), Needs::Token(Scope::Read));
        assert_eq!(needed.of(&Method::POST, Some("/things/{thing}/{part}")), Needs::Token(Scope::Run));
    }

    #[test]
    fn what_declares_nothing_or_nonsense_needs_the_most() {
        let needed = needed();
        for (method, path) in [
            (Method::GET, "/silent"),
            (Method::GET, "/elsewhere"),
            (Method::GET, "/things/x"),
            (Method::DELETE, "/things/{thing}"),
            (Method::POST, "/open"),
            (Method::GET, "/odd"),
            (Method::POST, "/odd"),
            (Method::PUT, "/odd"),
            (Method::PATCH, "/odd"),
            (Method::DELETE, "/odd"),
            (Method::GET, "/signed"),
        ] {
            assert_eq!(needed.of(&method, Some(path)), Needs::Token(Scope::Admin), "{method} {path}");
        }
    }

    #[test]
    fn a_token_comes_in_one_header_of_one_form() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            secret(&headers).map(|secret| secret.map(|it| it.reveal().to_owned())).map_err(|_| ())
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["Bearer dr_1"]), Ok(Some("dr_1".to_owned())));
        assert_eq!(read(&["bearer  dr_1 "]), Ok(Some("dr_1".to_owned())));
        for wrong in [&["Basic YWRtaW4="][..], &["dr_1"], &[""], &["Bearer dr_1", "Bearer dr_2"]] {
            assert_eq!(read(wrong), Err(()), "{wrong:?}");
        }
    }
}
