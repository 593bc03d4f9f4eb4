//! What is refused, and how.

use crate::fixture::{Rest, history};

#[tokio::test]
async fn refusals_look_like_this() {
    let rest = Rest::with_orders().await;
    let mut shown = String::new();
    let asked = [
        ("GET", "/nowhere", ""),
        ("PUT", "/executions", ""),
        ("GET", "/workflows/ordres", ""),
        ("GET", "/executions?limit=0", ""),
        ("GET", "/executions?stat=failed", ""),
        ("GET", "/executions?state=done", ""),
        ("GET", "/executions?cursor=%21", ""),
        ("GET", "/executions/latest", ""),
        ("POST", "/workflows/orders/execute", "{"),
        ("POST", "/workflows/orders/execute", "{\n  \"parms\": {}\n}"),
        ("POST", "/workflows/orders/execute", "{\"params\": [1]}"),
        ("POST", "/workflows/orders/execute", "{\"instance_size\": \"t3.mediun\"}"),
        ("PATCH", "/workflows/orders", "{}"),
        ("GET", "/workflows/%ff", ""),
    ];
    for (method, path, body) in asked {
        let answer = rest.ask(method, path, &[], body).await;
        answer.code();
        shown.push_str(&format!("{method} {path} {}\n{}\n\n", body.escape_debug(), answer.text()));
    }
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let rest = Rest::start().await;
    let large = format!(r#"{{"config": "{}"}}"#, "x".repeat(1 << 20));
    let answer = rest.post("/validate", &large).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    let deep = format!("{{\"params\": {{\"a\": {}", "[".repeat(100_000));
    assert_eq!(rest.post("/workflows/x/execute", &deep).await.status, 400);
}

#[tokio::test]
async fn an_idempotency_key_is_visible_ascii() {
    let rest = Rest::with_orders().await;
    for key in ["", &"k".repeat(256), "schlüssel"] {
        let answer = rest.ask("POST", "/workflows/orders/execute", &[("idempotency-key", key)], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_request"), "{key}");
    }
}

#[tokio::test]
async fn a_prefix_of_an_id_will_do_where_it_means_one_execution() {
    let rest = Rest::over(history(3), Default::default()).await;
    let id = rest.get("/executions/latest").await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(id, data_runner_testkit::sample::execution_id(3).to_string());
    assert_eq!(rest.get(&format!("/executions/{}", &id[..12])).await.status, 409);
    assert_eq!(rest.get(&format!("/executions/{}", &id[..id.len() - 1])).await.json()["id"], id.as_str());
    assert_eq!(rest.get("/executions/0").await.code(), "execution_not_found");
    let ambiguous = rest.get(&format!("/executions/{}/logs", &id[..8])).await;
    assert_eq!((ambiguous.status, ambiguous.code().as_str()), (409, "ambiguous"));
    assert!(ambiguous.json()["hint"].as_str().unwrap().contains(&id));
}
