//! A receiver that checks what it gets by means of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect};
use axum::routing::post;
use data_runner_core::id::{DeliveryId, Sha256};
use data_runner_core::port::{Notifier as _, NotifyError, Retry, SecretValue, WebhookMessage};
use data_runner_core::time::{Entropy, Timestamp};
use data_runner_notify::{Heartbeat, SigningSecret, WebhookNotifier};

type Seen = Arc<Mutex<Vec<(HeaderMap, String)>>>;

async fn receiver() -> (String, Seen) {
    let seen = Seen::default();
    let take = |State(seen): State<Seen>, headers: HeaderMap, body: String| async move {
        seen.lock().unwrap().push((headers, body));
        StatusCode::NO_CONTENT
    };
    let answer =
        |status: u16| post(move || async move { StatusCode::from_u16(status).unwrap().into_response() });
    let routes = Router::new()
        .route("/hook", post(take).get(take))
        .route("/broken", answer(500))
        .route("/busy", answer(429))
        .route("/gone", answer(410))
        .route("/elsewhere", post(|| async { Redirect::temporary("/hook") }))
        .with_state(Arc::clone(&seen));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, seen)
}

fn message(url: &str) -> WebhookMessage {
    let at = Timestamp::from_micros(1_785_542_400_500_000);
    WebhookMessage {
        id: DeliveryId::generate(at, &mut Entropy::from_number(1)),
        url: SecretValue::new(url.to_owned()),
        at,
        body: "{\"event\":\"failure\"}".to_owned(),
    }
}

fn notifier() -> WebhookNotifier {
    WebhookNotifier::new(SigningSecret::new(*b"0123456789abcdef0123456789abcdef"))
}

/// HMAC-SHA256 as RFC 2104 writes it, with nothing but a hash: independent of what signs.
fn hmac(key: &[u8; 32], text: &[u8]) -> Vec<u8> {
    let hash = |bytes: &[u8]| hex::decode(Sha256::of(bytes).as_str()).unwrap();
    let padded = |pad: u8| (0..64).map(|n| key.get(n).copied().unwrap_or(0) ^ pad).collect::<Vec<u8>>();
    let inner = hash(&[padded(0x36), text.to_vec()].concat());
    hash(&[padded(0x5c), inner].concat())
}

fn base64(bytes: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for n in 0..4 {
            let digit = digits[(bits >> (18 - 6 * n) & 63) as usize];
            text.push(if n <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[tokio::test]
async fn a_receiver_can_check_who_sent_a_message_and_that_it_is_whole() {
    let (url, seen) = receiver().await;
    let sent = message(&format!("{url}/hook"));
    assert_eq!(notifier().notify(sent.clone()).await.unwrap(), 204);
    let (headers, body) = seen.lock().unwrap().remove(0);
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(body, sent.body);
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("webhook-id"), sent.id.to_string());
    assert_eq!(header("webhook-timestamp"), "1785542400");
    let signed = format!("{}.1785542400.{body}", sent.id);
    let expected = hmac(b"0123456789abcdef0123456789abcdef", signed.as_bytes());
    assert_eq!(header("webhook-signature"), format!("v1,{}", base64(&expected)));
    assert_eq!(
        SigningSecret::new(*b"0123456789abcdef0123456789abcdef").text(),
        format!("whsec_{}", base64(b"0123456789abcdef0123456789abcdef"))
    );
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    let (url, seen) = receiver().await;
    for (path, expected) in [
        ("/broken", Retry::Later),
        ("/busy", Retry::Later),
        ("/gone", Retry::Never),
        ("/nowhere", Retry::Never),
        ("/elsewhere", Retry::Never),
    ] {
        let error = notifier().notify(message(&format!("{url}{path}"))).await.unwrap_err();
        assert_eq!(error.retry(), expected, "{path}: {error}");
    }
    assert!(seen.lock().unwrap().is_empty(), "a redirect is not followed");
    let error = notifier().notify(message("http://127.0.0.1:1/secret-path")).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later);
    assert!(!format!("{error:?}").contains("secret-path"), "{error:?}");
}

#[tokio::test]
async fn only_https_is_spoken_to_others() {
    for url in ["http://example.com/x", "ftp://example.com", "hunter2", "https://me:hunter2@example.com/"] {
        let error = notifier().notify(message(url)).await.unwrap_err();
        assert!(matches!(error, NotifyError::Address { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"));
    }
}

#[tokio::test]
async fn a_heartbeat_is_a_question_and_its_errors_do_not_show_where() {
    let (url, seen) = receiver().await;
    let beat = async |path: &str| Heartbeat.beat(&SecretValue::new(format!("{url}{path}"))).await;
    beat("/hook").await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
    let refused = beat("/no-such-hunter2").await.unwrap_err();
    assert!(matches!(refused, NotifyError::Refused { status: 404 }), "{refused:?}");
    let away = Heartbeat.beat(&SecretValue::new("http://127.0.0.1:1/hunter2".to_owned())).await.unwrap_err();
    assert!(!format!("{away:?}").contains("hunter2"), "{away:?}");
}
