//! Webhooks, signed as Standard Webhooks say: `webhook-id` is the same for each try of a message,
//! `webhook-timestamp` is when it was sent, in seconds since 1970, and `webhook-signature` is
//! `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_runner_core::port::{Notifier, NotifyError, SecretValue, WebhookMessage};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use sha2::Sha256;

/// How long a connection may take, and the whole of a delivery.
const CONNECT: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(30);

/// The key that messages are signed with.
#[derive(Clone)]
pub struct SigningSecret([u8; 32]);

impl SigningSecret {
    /// Wraps a key.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The key as receivers are given it: `whsec_` and its base64.
    pub fn text(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// The signature of a message.
    fn sign(&self, id: &str, timestamp: &str, body: &str) -> String {
        // HMAC takes keys of every length, so this cannot fail; were it ever to, nobody would trust the result.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// Delivers over HTTPS.
#[derive(Debug)]
pub struct WebhookNotifier(SigningSecret);

impl WebhookNotifier {
    /// A notifier that signs with `secret`.
    pub const fn new(secret: SigningSecret) -> Self {
        Self(secret)
    }

    /// Made for each message: they are rare, and a machine that has no certificates yet may have them for the next one.
    fn client(url: &Url) -> Result<Client, reqwest::Error> {
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .user_agent(concat!("data-runner/", env!("CARGO_PKG_VERSION")));
        if url.scheme() == "http" {
            builder = builder.tls_certs_only([]);
        }
        builder.build()
    }
}

#[async_trait]
impl Notifier for WebhookNotifier {
    async fn notify(&self, message: WebhookMessage) -> Result<u16, NotifyError> {
        let url = address(message.url.expose().trim())?;
        let id = message.id.to_string();
        let timestamp = message.at.micros().div_euclid(1_000_000).to_string();
        let signature = self.0.sign(&id, &timestamp, &message.body);
        let client = Self::client(&url).map_err(|error| NotifyError::Unreachable(error.into()))?;
        let request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(message.body);
        // The answer's body is not read: its size is the receiver's choice, and it says nothing that is needed.
        let answer =
            request.send().await.map_err(|error| NotifyError::Unreachable(error.without_url().into()))?;
        let status = answer.status();
        let number = status.as_u16();
        if status.is_success() {
            Ok(number)
        } else if status.is_server_error() || matches!(number, 408 | 425 | 429) {
            Err(NotifyError::Busy { status: number })
        } else {
            Err(NotifyError::Refused { status: number })
        }
    }
}

/// Asks an address, to show that somebody is alive.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heartbeat;

impl Heartbeat {
    /// Asks (GET) once. An Ok is the receiver's own 2xx; what else it says is not read.
    ///
    /// # Errors
    /// As those of a message; none shows the address.
    pub async fn beat(self, url: &SecretValue) -> Result<(), NotifyError> {
        let url = address(url.expose().trim())?;
        let client = WebhookNotifier::client(&url).map_err(|error| NotifyError::Unreachable(error.into()))?;
        let answer = client.get(url).send().await;
        let status = answer.map_err(|error| NotifyError::Unreachable(error.without_url().into()))?.status();
        if status.is_success() { Ok(()) } else { Err(NotifyError::Refused { status: status.as_u16() }) }
    }
}

/// The address, if it may be used.
fn address(text: &str) -> Result<Url, NotifyError> {
    let refused = |message| NotifyError::Address { message };
    let url = Url::parse(text).map_err(|_| refused("it is no URL; write https://…"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("it holds a name or a password"));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if here => Ok(url),
        _ => Err(refused("only https:// is spoken, and http:// to this machine itself")),
    }
}
