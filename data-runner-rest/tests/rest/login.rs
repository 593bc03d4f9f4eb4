//! Who may ask for what.

use std::sync::Arc;
use std::time::Duration;

use data_runner_core::access::{Scope, Token};
use data_runner_core::port::TokenStore as _;
use data_runner_core::time::Timestamp;
use data_runner_engine::tokens::NewToken;
use data_runner_engine::{Clock, SystemClock, Tokens};
use data_runner_rest::RouterOptions;
use data_runner_testkit::memory::store::MemoryStore;

use crate::fixture::{Answer, Rest};

const NOBODY: &str = "01900000-0000-7000-8000-000000000000";

/// A server with a login, and a token of each scope.
struct House {
    rest: Rest,
    store: MemoryStore,
    tokens: Tokens,
    read: String,
    run: String,
    admin: String,
    expired: String,
}

async fn made(tokens: &Tokens, name: &str, scope: Scope, lifetime: Option<Duration>) -> String {
    let wanted = NewToken { name: name.parse().unwrap(), scope, lifetime };
    tokens.create(wanted).await.unwrap().1.reveal().to_owned()
}

async fn empty() -> (Rest, MemoryStore, Tokens) {
    let store = MemoryStore::new();
    let tokens = Tokens::new(Arc::new(store.clone()), Arc::new(SystemClock::start()));
    let options = RouterOptions { login: Some(tokens.clone()), ..RouterOptions::default() };
    (Rest::over(store.clone(), options).await, store, tokens)
}

impl House {
    async fn new() -> Self {
        let (rest, store, tokens) = empty().await;
        let read = made(&tokens, "reader", Scope::Read, None).await;
        let run = made(&tokens, "runner", Scope::Run, None).await;
        let admin = made(&tokens, "admin", Scope::Admin, None).await;
        let expired = made(&tokens, "old", Scope::Admin, Some(Duration::ZERO)).await;
        Self { rest, store, tokens, read, run, admin, expired }
    }

    async fn ask(&self, method: &str, path: &str, token: Option<&str>) -> Answer {
        ask(&self.rest, method, path, token, "").await
    }
}

async fn ask(rest: &Rest, method: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer.iter().map(|it| ("authorization", it.as_str())).collect();
    // The one stream that would never end is asked from a place that there is not.
    let path = if path == "/events" { "/events?after=x" } else { path };
    rest.ask(method, path, &headers, body).await
}

/// Who may ask for a route.
#[derive(Clone, Copy)]
enum Who {
    Everybody,
    /// Who signs the request, whatever token comes with it.
    Signer,
    Bearer(Scope),
}

impl Who {
    fn of(security: &serde_json::Value) -> Self {
        let requirement = security.as_object().unwrap();
        match requirement.iter().next() {
            None => Self::Everybody,
            Some((scheme, _)) if scheme == "hook" => Self::Signer,
            Some((_, scopes)) => Self::Bearer(scopes[0].as_str().unwrap().parse().unwrap()),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Everybody => "open",
            Self::Signer => "signed",
            Self::Bearer(scope) => scope.as_str(),
        }
    }
}

/// Every route: its method, a path of it, and who it declares may ask. From the document, and those that no document can
/// hold.
fn routes() -> Vec<(String, String, Who)> {
    let document: serde_json::Value = serde_json::from_str(&data_runner_rest::openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let security = operation["security"].as_array();
            let security = security.unwrap_or_else(|| panic!("{method} {path} declares no scope"));
            assert_eq!(security.len(), 1, "{method} {path}");
            routes.push((method.to_uppercase(), sample(path), Who::of(&security[0])));
        }
    }
    for (method, scope) in [("GET", Scope::Read), ("PATCH", Scope::Run), ("DELETE", Scope::Admin)] {
        routes.push((method.to_owned(), "/workflows/no/such".to_owned(), Who::Bearer(scope)));
    }
    routes.push(("POST".to_owned(), "/workflows/no/such/execute".to_owned(), Who::Bearer(Scope::Run)));
    routes.push(("GET".to_owned(), "/workflows/no/such/plan".to_owned(), Who::Bearer(Scope::Read)));
    routes
}

fn sample(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { NOBODY } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

#[test]
fn each_route_is_as_open_as_somebody_decided() {
    let mut listed: Vec<String> =
        routes().into_iter().map(|(method, path, who)| format!("{} {method} {path}", who.as_str())).collect();
    listed.sort();
    insta::assert_snapshot!(listed.join("\n"));
}

#[tokio::test]
async fn every_route_refuses_no_token_a_wrong_one_an_expired_one_and_a_weaker_one() {
    let house = House::new().await;
    let wrong = "dr_".to_owned() + &"0".repeat(64);
    for (method, path, who) in routes() {
        let shown = format!("{method} {path}");
        let needs = match who {
            Who::Everybody => {
                let answer = house.ask(&method, &path, None).await;
                assert!(![401, 403].contains(&answer.status), "{shown}: {}", answer.text());
                continue;
            }
            Who::Signer => {
                for token in [None, Some(&wrong), Some(&house.read), Some(&house.run), Some(&house.admin)] {
                    let answer = house.ask(&method, &path, token.map(String::as_str)).await;
                    assert_eq!(
                        (answer.status, answer.code().as_str()),
                        (401, "signature_refused"),
                        "{shown}"
                    );
                }
                continue;
            }
            Who::Bearer(needs) => needs,
        };
        let refusals = [
            (None, "login_required"),
            (Some(wrong.as_str()), "token_refused"),
            (Some(""), "token_refused"),
            (Some(house.expired.as_str()), "token_expired"),
        ];
        for (token, code) in refusals {
            let answer = house.ask(&method, &path, token).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, code), "{shown} with {token:?}");
            assert_eq!(answer.head["www-authenticate"], "Bearer realm=\"data-runner\"");
        }
        for (has, token) in
            [(Scope::Read, &house.read), (Scope::Run, &house.run), (Scope::Admin, &house.admin)]
        {
            let answer = house.ask(&method, &path, Some(token)).await;
            if has < needs {
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (403, "scope_too_weak"),
                    "{shown} as {has}"
                );
            } else {
                assert!(![401, 403].contains(&answer.status), "{shown} as {has}: {}", answer.text());
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_route_is_told_to_those_only_who_may_look() {
    let house = House::new().await;
    for (method, path, status) in
        [("GET", "/nowhere", 404), ("PUT", "/executions", 405), ("HEAD", "/executions", 200)]
    {
        assert_eq!(house.ask(method, path, None).await.status, 401, "{method} {path}");
        assert_eq!(house.ask(method, path, Some(&house.admin)).await.status, status, "{method} {path}");
    }
    assert_eq!(house.ask("GET", "/nowhere", Some(&house.read)).await.status, 404);
}

#[tokio::test]
async fn a_server_without_any_token_says_how_to_make_the_first() {
    let (rest, _, tokens) = empty().await;
    let answer = rest.get("/executions").await;
    assert_eq!(answer.code(), "login_required");
    let hint = answer.json()["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("token create") && hint.contains("--scope admin"), "{hint}");
    made(&tokens, "first", Scope::Admin, None).await;
    let hint = rest.get("/executions").await.json()["hint"].as_str().unwrap().to_owned();
    assert!(!hint.contains("token create"), "{hint}");
}

#[tokio::test]
async fn an_admin_makes_lists_and_revokes_tokens_over_the_api() {
    let house = House::new().await;
    let body = r#"{"name": "ci", "scope": "run", "expires_in": "90d"}"#;
    let made = ask(&house.rest, "POST", "/tokens", Some(&house.admin), body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.head["cache-control"], "no-store");
    let made = made.json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    let life = |token: &serde_json::Value| {
        let at = |field: &str| token[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        at("expires_at").as_second() - at("created_at").as_second()
    };
    assert_eq!(life(&made["token"]), 90 * 24 * 3600);
    assert_eq!(house.ask("GET", "/executions", Some(&secret)).await.status, 200);

    let again = ask(&house.rest, "POST", "/tokens", Some(&house.admin), body).await;
    assert_eq!((again.status, again.code().as_str()), (409, "token_name_taken"));
    for wrong in [r#"{"name": "x"}"#, r#"{"name": "x", "scope": "root"}"#, r#"{"name": "X", "scope": "run"}"#]
    {
        assert_eq!(
            ask(&house.rest, "POST", "/tokens", Some(&house.admin), wrong).await.status,
            422,
            "{wrong}"
        );
    }
    for wrong in ["soon", "0s", "-1d"] {
        let body = format!(r#"{{"name": "x", "scope": "run", "expires_in": "{wrong}"}}"#);
        let answer = ask(&house.rest, "POST", "/tokens", Some(&house.admin), &body).await;
        assert_eq!(answer.json()["errors"][0]["pointer"], "/expires_in", "{}", answer.text());
    }

    let listed = house.ask("GET", "/tokens?limit=2", Some(&house.admin)).await;
    assert!(!listed.text().contains("dr_") && !listed.text().contains("hash"), "{}", listed.text());
    let names = |answer: &Answer| {
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&listed), ["admin", "ci"]);
    let cursor = listed.json()["next_cursor"].as_str().unwrap().to_owned();
    let more = house.ask("GET", &format!("/tokens?cursor={cursor}"), Some(&house.admin)).await;
    assert_eq!(names(&more), ["old", "reader", "runner"]);

    assert_eq!(house.ask("DELETE", "/tokens/ci", Some(&house.admin)).await.json()["name"], "ci");
    assert_eq!(house.ask("GET", "/executions", Some(&secret)).await.code(), "token_refused");
    assert_eq!(house.ask("DELETE", "/tokens/ci", Some(&house.admin)).await.code(), "token_not_found");
}

#[tokio::test]
async fn a_use_is_recorded_once_a_minute() {
    let house = House::new().await;
    let used =
        |tokens: Vec<Token>| tokens.into_iter().find(|it| it.name.as_str() == "reader").unwrap().last_used_at;
    assert_eq!(used(house.tokens.list().await.unwrap()), None);
    house.ask("GET", "/executions", Some(&house.read)).await;
    let first = used(house.tokens.list().await.unwrap()).unwrap();
    house.ask("GET", "/executions", Some(&house.read)).await;
    assert_eq!(used(house.tokens.list().await.unwrap()), Some(first), "not at each request");

    struct Later(Timestamp);
    impl Clock for Later {
        fn now(&self) -> data_runner_core::time::Now {
            data_runner_core::time::Now { wall: self.0, ..Default::default() }
        }
    }
    let later = first.after(Duration::from_secs(61));
    let tokens = Tokens::new(Arc::new(house.store.clone()), Arc::new(Later(later)));
    tokens.admit(&house.read.clone().into(), Scope::Read).await.unwrap();
    assert_eq!(used(house.store.tokens().await.unwrap()), Some(later));
}

#[tokio::test]
async fn who_cancelled_is_recorded_by_the_name_of_the_token() {
    let house = House::new().await;
    house.rest.source.publish("main", crate::fixture::files(&[("orders", crate::fixture::SIMPLE)]));
    let body = format!(r#"{{"repo": "{}", "ref": "main"}}"#, crate::fixture::URL);
    let registered = ask(&house.rest, "POST", "/workflows", Some(&house.admin), &body).await;
    assert_eq!(registered.status, 201, "{}", registered.text());
    let started = ask(&house.rest, "POST", "/workflows/orders/execute", Some(&house.run), "").await;
    let id = started.json()["id"].as_str().unwrap().to_owned();
    ask(&house.rest, "POST", &format!("/executions/{id}/cancel"), Some(&house.run), "").await;
    let events = house.ask("GET", &format!("/executions/{id}/events"), Some(&house.read)).await.text();
    assert!(events.contains("token runner"), "{events}");
}

#[tokio::test]
async fn a_nested_router_asks_for_the_same_tokens() {
    use tower::ServiceExt as _;
    let house = House::new().await;
    let app = axum::Router::new().nest("/runner", house.rest.router.clone());
    let status = async |method: &str, path: &str, token: &str| {
        let request = http::Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.header("authorization", format!("Bearer {token}"));
        app.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap().status().as_u16()
    };
    assert_eq!(status("GET", "/runner/executions", &house.read).await, 200);
    assert_eq!(status("GET", "/runner/executions", "dr_0").await, 401);
    assert_eq!(status("DELETE", "/runner/workflows/no/such", &house.run).await, 403);
    assert_eq!(status("DELETE", "/runner/workflows/no/such", &house.admin).await, 404);
}

#[tokio::test]
async fn a_server_without_a_login_has_no_tokens_to_show() {
    let rest = Rest::start().await;
    for (method, path, body) in [
        ("GET", "/tokens", ""),
        ("POST", "/tokens", r#"{"name": "x", "scope": "run"}"#),
        ("DELETE", "/tokens/x", ""),
    ] {
        let answer = rest.ask(method, path, &[], body).await;
        assert_eq!((answer.status, answer.code().as_str()), (409, "no_login"), "{method} {path}");
    }
}
