//! Somebody is told of failures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_runner_tests::{Received, Receiver, Repository, Sandbox, Server, on_host, polars, until, workflow};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
import os, sys
if os.environ["DATA_RUNNER_PARAM_FAILS"] == "true":
    print("it goes wrong")
    sys.exit(3)
"#;

/// The secret as receivers are given it.
async fn secret(sandbox: &Sandbox) -> String {
    std::fs::write(sandbox.join("host.yaml"), "").unwrap();
    let (config, state) = (sandbox.text("host.yaml"), sandbox.text("state"));
    let said = on_host(sandbox, &["webhook-secret", "--config", &config, "--state", &state]).await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    said.text().trim().to_owned()
}

/// Whether it was sent by whoever has this secret, as a receiver finds out.
fn is_signed(message: &Received, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let signed = [message.header("webhook-id"), message.header("webhook-timestamp"), &message.body].join(".");
    let signature =
        STANDARD.decode(message.header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    let mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap().chain_update(signed);
    mac.verify_slice(&signature).is_ok()
}

async fn happened(server: &Server<'_>, execution: &str, kind: &str) -> Value {
    until(kind, async || {
        let events = server.rest.get(&format!("/executions/{execution}/events")).await.ok();
        events["items"].as_array().unwrap().iter().find(|event| event["kind"] == kind).cloned()
    })
    .await
}

#[tokio::test]
async fn a_failure_is_told_until_it_is_taken_across_a_kill_and_no_run_waits_for_that() {
    let (sandbox, mut receiver) = (Sandbox::new(), Receiver::start().await);
    let alert = [("ALERT_URL", receiver.url())];
    let alert = alert.each_ref().map(|(name, url)| (*name, url.as_str()));
    let mut server = Server::supervisor_with(&sandbox, "local: {workers: 1}\n", &alert).await;
    let config =
        "params:\n  fails: {type: bool}\nnotifications:\n  - {on: [failure], webhook: env://ALERT_URL}\n";
    let repository = Repository::with(sandbox.join("etl"), [workflow("job", &polars(config), SCRIPT)]);
    server.rest.register(&repository.url()).await;

    let id = server.rest.execute("job", json!({"fails": true})).await;
    assert_eq!(server.rest.ended(&id).await["state"], "failed");
    let first = receiver.next().await;
    // It has no answer yet, and the only worker goes on.
    let next = server.rest.execute("job", json!({"fails": false})).await;
    server.rest.succeeded(&next).await;
    receiver.answer(500);
    let failed = happened(&server, &id, "notification_failed").await;
    assert!(!failed["message"].as_str().unwrap().contains("127.0.0.1"), "{failed}");
    server.kill();
    server.again().await;
    let second = receiver.next().await;
    receiver.answer(204);
    happened(&server, &id, "notification_delivered").await;
    assert!(!receiver.has_more(), "nobody is told of a success, or of the same once more");

    let secret = secret(&sandbox).await;
    for message in [&first, &second] {
        assert!(is_signed(message, &secret), "{message:?}");
        assert_eq!(message.header("content-type"), "application/json");
        let body: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!((&body["event"], &body["execution"]), (&json!("failure"), &json!(id)), "{body:#}");
        assert_eq!(body["failure"]["cause"], "user_error");
        assert_eq!(body["log_tail"], json!(["it goes wrong"]));
    }
    assert!(!is_signed(&first, &format!("whsec_{}", STANDARD.encode([0; 32]))));
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"), "it is the same message");
    let sent = |message: &Received| message.header("webhook-timestamp").parse::<u64>().unwrap();
    assert!(sent(&second) >= sent(&first) + 9, "the receiver is left in peace for a while");
}
