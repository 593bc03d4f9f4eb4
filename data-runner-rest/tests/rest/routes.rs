//! Every route, one by one.

use std::collections::BTreeSet;

use crate::fixture::Rest;

const NOBODY: &str = "01900000-0000-7000-8000-000000000000";

/// Method, route, a path, and what is answered to it without a body where nothing is.
const ROUTES: [(&str, &str, &str, u16); 62] = [
    ("POST", "/workflows", "/workflows", 400),
    ("GET", "/workflows", "/workflows", 200),
    ("GET", "/workflows/{workflow}", "/workflows/no", 404),
    ("PATCH", "/workflows/{workflow}", "/workflows/no", 400),
    ("DELETE", "/workflows/{workflow}", "/workflows/no", 404),
    ("POST", "/workflows/{workflow}/execute", "/workflows/no/execute", 404),
    ("GET", "/workflows/{workflow}/plan", "/workflows/no/plan", 404),
    ("GET", "/workflows/{workflow}/advice", "/workflows/no/advice", 404),
    ("GET", "/workflows/{workflow}/history", "/workflows/no/history", 404),
    ("GET", "/workflows/{workflow}/diff", "/workflows/no/diff", 404),
    ("GET", "/workflows/{workflow}/secrets", "/workflows/no/secrets", 404),
    ("GET", "/executions/{execution}/definition", "/executions/NOBODY/definition", 404),
    ("GET", "/executions/{execution}/diff", "/executions/NOBODY/diff?with=NOBODY", 404),
    ("POST", "/workflows/{workflow}/backfill", "/workflows/no/backfill", 422),
    ("GET", "/groups", "/groups", 200),
    ("GET", "/groups/{group}", "/groups/NOBODY", 404),
    ("POST", "/groups/{group}/pause", "/groups/NOBODY/pause", 404),
    ("POST", "/groups/{group}/resume", "/groups/NOBODY/resume", 404),
    ("POST", "/groups/{group}/cancel", "/groups/NOBODY/cancel", 404),
    ("GET", "/costs", "/costs", 200),
    ("GET", "/executions", "/executions", 200),
    ("GET", "/executions/{execution}", "/executions/NOBODY", 404),
    ("GET", "/executions/{execution}/lock", "/executions/NOBODY/lock", 404),
    ("GET", "/executions/{execution}/events", "/executions/NOBODY/events", 404),
    ("GET", "/executions/{execution}/artifacts", "/executions/NOBODY/artifacts", 404),
    ("GET", "/artifacts/{artifact}", "/artifacts/NOBODY", 404),
    ("POST", "/executions/{execution}/cancel", "/executions/NOBODY/cancel", 404),
    ("POST", "/executions/{execution}/retry", "/executions/NOBODY/retry", 404),
    ("POST", "/executions/{execution}/rerun", "/executions/NOBODY/rerun", 404),
    ("GET", "/executions/{execution}/logs", "/executions/NOBODY/logs", 404),
    ("GET", "/workers", "/workers", 200),
    ("GET", "/workers/{worker}", "/workers/NOBODY", 404),
    ("DELETE", "/workers/{worker}", "/workers/NOBODY", 404),
    ("POST", "/workers/{worker}/drain", "/workers/NOBODY/drain", 404),
    ("GET", "/repos", "/repos", 200),
    ("GET", "/schedules", "/schedules", 200),
    ("POST", "/repos/sync", "/repos/sync", 200),
    ("POST", "/bundles", "/bundles", 400),
    ("POST", "/hooks/github", "/hooks/github", 401),
    ("POST", "/hooks/gitlab", "/hooks/gitlab", 401),
    ("GET", "/events", "/events?after=x", 400),
    ("GET", "/tokens", "/tokens", 409),
    ("POST", "/tokens", "/tokens", 400),
    ("DELETE", "/tokens/{token}", "/tokens/no", 409),
    ("GET", "/agent/{architecture}", "/agent/arm64", 404),
    ("POST", "/images", "/images", 400),
    ("GET", "/images", "/images", 409),
    ("GET", "/images/{image}", "/images/no", 409),
    ("GET", "/doctor", "/doctor", 200),
    ("POST", "/validate", "/validate", 400),
    ("GET", "/healthz", "/healthz", 200),
    ("GET", "/readyz", "/readyz", 200),
    ("GET", "/version", "/version", 200),
    ("GET", "/metrics", "/metrics", 404),
    ("GET", "/openapi.json", "/openapi.json", 200),
    ("GET", "/schema/config.json", "/schema/config.json", 200),
    ("GET", "", "/workflows/no/such", 404),
    ("POST", "", "/workflows/no/such/execute", 404),
    ("GET", "", "/workflows/no/such/plan", 404),
    ("POST", "", "/workflows/no/such/backfill", 422),
    ("GET", "", "/workflows/no/such/history", 404),
    ("GET", "", "/workflows/no/such/diff", 404),
];

fn path(path: &str) -> String {
    path.replace("NOBODY", NOBODY)
}

#[test]
fn the_table_lists_every_route_of_the_document() {
    let document: serde_json::Value = serde_json::from_str(&data_runner_rest::openapi()).unwrap();
    let mut there = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            there.insert((method.to_uppercase(), path.clone()));
        }
    }
    let listed = ROUTES.iter().filter(|(_, route, ..)| !route.is_empty());
    let listed: BTreeSet<_> =
        listed.map(|(method, route, ..)| ((*method).to_owned(), (*route).to_owned())).collect();
    assert_eq!(there, listed);
}

#[tokio::test]
async fn every_route_answers_and_refuses_with_problem_documents() {
    let rest = Rest::start().await;
    for (method, _, given, status) in ROUTES {
        let answer = rest.ask(method, &path(given), &[], "").await;
        assert_eq!(answer.status, status, "{method} {given}: {}", answer.text());
        if status >= 400 {
            answer.code();
        }
    }
}

#[tokio::test]
async fn no_route_takes_a_request_for_another_host_or_from_another_origin() {
    let rest = Rest::start().await;
    for (method, _, given, _) in ROUTES {
        let path = path(given);
        let rebound = rest.ask(method, &path, &[("host", "evil.example")], "").await;
        assert_eq!((rebound.status, rebound.code().as_str()), (403, "host_refused"), "{method} {given}");
        let page = rest.ask(method, &path, &[("origin", "https://evil.example")], "").await;
        assert_eq!((page.status, page.code().as_str()), (403, "origin_refused"), "{method} {given}");
    }
}

#[tokio::test]
async fn every_route_refuses_other_methods_and_nothing_else_is_a_route() {
    let rest = Rest::start().await;
    for (_, _, given, _) in ROUTES {
        let answer = rest.ask("PUT", &path(given), &[], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"), "{given}");
        assert!(answer.head.contains_key("allow"), "{given}");
    }
    for given in ["/", "/workflow", "/healthz/", "/executions/x/y/z", "/evil/healthz", "//healthz"] {
        let answer = rest.get(given).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "route_not_found"), "{given}");
    }
}

#[tokio::test]
async fn the_server_says_what_it_is_and_that_it_is_ready() {
    let rest = Rest::start().await;
    assert_eq!(rest.get("/healthz").await.json()["status"], "alive");
    let ready = rest.get("/readyz").await.json();
    assert_eq!((ready["stage"].as_str(), ready["workers"].as_u64()), (Some("serving"), Some(0)));
    assert_eq!(rest.get("/version").await.json()["version"], env!("CARGO_PKG_VERSION"));
    let schema = rest.get("/schema/config.json").await;
    assert_eq!(schema.head["content-type"], "application/schema+json");
    assert!(schema.json()["properties"].get("worker_type").is_some(), "{}", schema.text());
    assert_eq!(rest.get("/openapi.json").await.text(), data_runner_rest::openapi());
}

#[tokio::test]
async fn a_supervisor_that_has_ended_is_not_ready_and_says_when_to_try_again() {
    let rest = Rest::start().await;
    let router = rest.router.clone();
    rest.supervisor.stop().await;
    let request = |method: &str, uri: &str| {
        let request = http::Request::builder().method(method).uri(uri).header("host", "localhost");
        request.body(axum::body::Body::empty()).unwrap()
    };
    use tower::ServiceExt as _;
    let ready = router.clone().oneshot(request("GET", "/readyz")).await.unwrap();
    assert_eq!((ready.status().as_u16(), ready.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    let drained = router.oneshot(request("DELETE", &format!("/workers/{NOBODY}"))).await.unwrap();
    assert_eq!((drained.status().as_u16(), drained.headers()["retry-after"].to_str().unwrap()), (503, "1"));
}

#[tokio::test]
async fn metrics_are_rendered_for_prometheus() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let options = data_runner_rest::RouterOptions { metrics: Some(recorder.handle()), ..Default::default() };
    let _recording = metrics::set_default_local_recorder(&recorder);
    let rest = Rest::over(crate::fixture::history(4), options).await;
    rest.get("/healthz").await;
    let text = rest.get("/metrics").await.text();
    assert!(text.contains(r#"data_runner_executions{state="success"} 3"#), "{text}");
    assert!(
        text.contains(r#"data_runner_http_requests_total{method="GET",route="/healthz",status="200"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn a_router_that_is_nested_points_to_where_it_is() {
    let rest = Rest::with_orders().await;
    use tower::ServiceExt as _;
    let app = axum::Router::new().nest("/runner", rest.router.clone());
    let request = http::Request::post("/runner/workflows/orders/execute").header("host", "localhost");
    let answer = app.oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 202);
    assert!(answer.headers()["location"].to_str().unwrap().starts_with("/runner/executions/"));
}
