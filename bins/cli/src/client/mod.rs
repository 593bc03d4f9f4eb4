//! The REST client: one place that knows about addresses, tokens, retries and refusals.

mod refusal;

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Method, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use refusal::Refusal;

use crate::error::Error;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer that is no stream may take; registering a repository clones it first.
const ANSWER: Duration = Duration::from_secs(120);

/// A server to talk to.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    server: String,
}

impl Client {
    /// A client of the server at `server`, such as `http://127.0.0.1:8080`, which shows `token` and trusts the
    /// authorities in the file `ca`, or else the system's.
    pub fn new(server: &str, token: Option<&str>, ca: Option<&Path>) -> Result<Self, Error> {
        let server = server.trim_end_matches('/');
        let address = reqwest::Url::parse(server)
            .ok()
            .filter(|url| url.has_host() && ["http", "https"].contains(&url.scheme()));
        let Some(address) = address else {
            return Err(Error::usage(
                format!("{server:?} is not the address of a server"),
                "give it as a URL, such as --server http://127.0.0.1:8080",
            ));
        };
        if token.is_some() && address.scheme() == "http" && !is_loopback(&address) {
            return Err(Error::usage(
                format!("a token would travel to {server} for everybody to read"),
                "use the server's https address, or leave the token away",
            ));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
                Error::usage(
                    "DATA_RUNNER_TOKEN holds characters that no token has",
                    "look at its value again",
                )
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut builder = reqwest::Client::builder();
        if let Some(ca) = ca {
            builder = builder.tls_certs_only(authorities(ca)?);
        }
        let http = builder
            .user_agent(concat!("data-runner/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT)
            .no_proxy()
            .build()
            .map_err(|source| Error::Unreachable { server: server.to_owned(), source })?;
        Ok(Self { http, server: server.to_owned() })
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The JSON answer to `GET path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let answer = self.send(Method::GET, path, HeaderMap::new(), None, Some(ANSWER)).await?;
        read(answer, &format!("GET {path}")).await
    }

    /// The JSON answer to `POST path` with a JSON body. With a key the request may be sent again safely, so it is,
    /// should the connection break.
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
        key: Option<&str>,
    ) -> Result<T, Error> {
        let request = format!("POST {path}");
        let body = serde_json::to_vec(body)
            .map_err(|source| Error::Answer { request: request.clone(), source: source.into() })?;
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let value = HeaderValue::try_from(key).map_err(|_| {
                Error::usage("the idempotency key must be printable ASCII", "choose another key")
            })?;
            headers.insert(HeaderName::from_static("idempotency-key"), value);
        }
        let first = self.send(Method::POST, path, headers.clone(), Some(body.clone()), Some(ANSWER)).await;
        let answer = match first {
            Err(Error::Unreachable { source, .. }) if key.is_some() && !source.is_connect() => {
                self.send(Method::POST, path, headers, Some(body), Some(ANSWER)).await?
            }
            other => other?,
        };
        read(answer, &request).await
    }

    /// The JSON answer to a request without a body (`PATCH` takes one).
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Result<T, Error> {
        let request = format!("{method} {path}");
        let body = body.map(|body| body.to_string().into_bytes());
        let answer = self.send(method, path, HeaderMap::new(), body, Some(ANSWER)).await?;
        read(answer, &request).await
    }

    /// The JSON answer to `POST path` with these bytes.
    pub async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
        media_type: &'static str,
    ) -> Result<T, Error> {
        let request = self.http.post(format!("{}{path}", self.server)).header(CONTENT_TYPE, media_type);
        let sent = request.body(body).timeout(ANSWER).send().await;
        let answer = sent.map_err(|source| self.unreachable(source))?;
        if !answer.status().is_success() {
            return Err(Error::Server(refusal(answer).await));
        }
        read(answer, &format!("POST {path}")).await
    }

    /// A long answer, to be read as it comes. Refusals are errors here too.
    pub async fn stream(&self, path: &str, accept: &'static str) -> Result<Response, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        self.send(Method::GET, path, headers, None, None).await
    }

    /// Sends a request; an answer that is no success is an error.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
        timeout: Option<Duration>,
    ) -> Result<Response, Error> {
        let answer = self.exchange(method, path, headers, body, timeout).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(Error::Server(refusal(answer).await)) }
    }

    /// Sends a request; whatever is answered comes back.
    pub async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
        timeout: Option<Duration>,
    ) -> Result<Response, Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.server)).headers(headers);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        request.send().await.map_err(|source| self.unreachable(source))
    }

    /// The error of a broken connection.
    pub fn unreachable(&self, source: reqwest::Error) -> Error {
        // The address is in the message already.
        Error::Unreachable { server: self.server.clone(), source: source.without_url() }
    }
}

/// Whether what is sent there stays on this machine.
fn is_loopback(address: &reqwest::Url) -> bool {
    let host = address.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The certificates in a file.
fn authorities(file: &Path) -> Result<Vec<Certificate>, Error> {
    let pem =
        std::fs::read(file).map_err(|source| Error::io(format!("cannot read {}", file.display()), source))?;
    let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if found.is_empty() {
        return Err(Error::usage(
            format!("{} holds no certificate in PEM", file.display()),
            "the authority of a supervisor is ca.pem in its state folder",
        ));
    }
    Ok(found)
}

/// A text as one segment of a path, or one value of a query.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

async fn read<T: DeserializeOwned>(answer: Response, request: &str) -> Result<T, Error> {
    let unreadable = |source: Box<dyn std::error::Error + Send + Sync>| Error::Answer {
        request: request.to_owned(),
        source,
    };
    let bytes = answer.bytes().await.map_err(|source| unreadable(source.into()))?;
    serde_json::from_slice(&bytes).map_err(|source| unreadable(source.into()))
}

async fn refusal(answer: Response) -> Refusal {
    let status = answer.status();
    // A body that cannot be read leaves the status, which says enough.
    let body = answer.text().await.unwrap_or_default();
    Refusal::read(status.as_u16(), status.canonical_reason().unwrap_or("refused"), &body)
}
