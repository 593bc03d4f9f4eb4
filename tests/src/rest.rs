//! A client of the REST API, as small as tests need it.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{PATIENCE, until};

/// A server's REST API.
#[derive(Debug, Clone)]
pub struct Rest {
    http: reqwest::Client,
    /// The server's address, such as `http://127.0.0.1:8080`.
    pub address: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    head: reqwest::header::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {} {}", self.status, self.text()))
    }

    /// Each line as JSON.
    pub fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A header, empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.head.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The JSON of a success.
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text());
        self.json()
    }

    /// Status and code of a refusal, which must be a problem document.
    pub fn refusal(&self) -> (u16, String) {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{} {}",
            self.status,
            self.text()
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(problem["title"].is_string(), "{problem}");
        let code = problem["type"].as_str().unwrap().strip_prefix("urn:data-runner:problem:").unwrap();
        (self.status, code.to_owned())
    }
}

impl Rest {
    /// The API of the server at `address`.
    pub fn new(address: impl Into<String>) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { http, address: address.into() }
    }

    /// The API of the server at `address` for whoever has this token; `ca` (PEM) vouches for it.
    pub fn secured(address: impl Into<String>, ca: &[u8], token: &str) -> Self {
        let mut bearer = reqwest::header::HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        bearer.set_sensitive(true);
        let headers = [(reqwest::header::AUTHORIZATION, bearer)].into_iter().collect();
        let builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE).default_headers(headers);
        let ca = reqwest::Certificate::from_pem(ca).unwrap();
        Self { http: builder.tls_certs_only([ca]).build().unwrap(), address: address.into() }
    }

    /// Asks; `None` where nobody answers.
    pub async fn try_ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Option<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.ok()?;
        let (status, head) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.ok()?.to_vec();
        Some(Answer { status, head, body })
    }

    /// Asks, and is answered.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let answer = self.try_ask(method.clone(), path, headers, body.map(|body| body.to_string())).await;
        answer.unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], None).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    /// Registers a repository; all of its workflows must be right.
    pub async fn register(&self, url: &str) -> Value {
        let answer = self.post("/workflows", json!({"repo": url})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let registered = answer.json();
        assert_eq!(registered["errors"], json!([]));
        registered
    }

    /// Waits until a workflow is there, of a repository that the settings name.
    pub async fn knows(&self, workflow: &str) {
        let path = format!("/workflows/{workflow}");
        until(&format!("workflow {workflow}"), async || (self.get(&path).await.status == 200).then_some(()))
            .await;
    }

    /// Starts a workflow; the execution's id.
    pub async fn execute(&self, workflow: &str, params: Value) -> String {
        let answer = self.post(&format!("/workflows/{workflow}/execute"), json!({"params": params})).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// An execution.
    pub async fn execution(&self, id: &str) -> Value {
        self.get(&format!("/executions/{id}")).await.ok()
    }

    /// The execution as soon as it has ended. The server may go and come back meanwhile.
    pub async fn ended(&self, id: &str) -> Value {
        let path = format!("/executions/{id}?wait=10s");
        until(&format!("the end of execution {id}"), async || {
            let answer = self.try_ask(Method::GET, &path, &[], None).await?;
            let execution = answer.json();
            ["success", "failed", "cancelled"]
                .iter()
                .any(|state| execution["state"] == *state)
                .then_some(execution)
        })
        .await
    }

    /// The execution as soon as it ended with 0.
    pub async fn succeeded(&self, id: &str) -> Value {
        let execution = self.ended(id).await;
        assert_eq!(execution["state"], "success", "{execution:#}");
        execution
    }

    /// The execution as soon as it is in this state.
    pub async fn reaches(&self, id: &str, state: &str) -> Value {
        until(&format!("execution {id} to be {state}"), async || {
            let answer = self.try_ask(Method::GET, &format!("/executions/{id}"), &[], None).await?;
            let execution = answer.json();
            let over = ["success", "failed", "cancelled"].iter().any(|state| execution["state"] == *state);
            assert!(!over || execution["state"] == state, "{execution:#}");
            (execution["state"] == state).then_some(execution)
        })
        .await
    }

    /// The log as plain text; `query` such as `stream=stdout`.
    pub async fn log(&self, id: &str, query: &str) -> Vec<u8> {
        let answer = self.get(&format!("/executions/{id}/logs?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.body
    }

    /// Waits until the log holds a line that ends with this text. Python writes a line's end by itself, so that what
    /// happens before it came would cut the line.
    pub async fn logs(&self, id: &str, text: &str) {
        let line = format!("{text}\n");
        until(&format!("{text:?} in the log of {id}"), async || {
            let path = format!("/executions/{id}/logs");
            let answer = self.try_ask(Method::GET, &path, &[], None).await?;
            answer.text().contains(&line).then_some(())
        })
        .await;
    }

    /// Follows a stream of events or text.
    pub async fn follow(&self, path: &str, headers: &[(&str, &str)]) -> Follow {
        let mut request = self.http.get(format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Follow { response, read: Vec::new() }
    }

    /// Whether it serves now.
    pub(crate) async fn is_ready(&self) -> bool {
        let asking = self.try_ask(Method::GET, "/readyz", &[], None);
        let answer = tokio::time::timeout(Duration::from_secs(5), asking).await;
        answer.ok().flatten().is_some_and(|answer| answer.status == 200)
    }
}

/// A stream that is read as it comes.
#[derive(Debug)]
pub struct Follow {
    response: Response,
    read: Vec<u8>,
}

impl Follow {
    /// Reads until what came holds `text`; all that came.
    pub async fn until(&mut self, text: &str) -> String {
        loop {
            let so_far = String::from_utf8_lossy(&self.read).into_owned();
            if so_far.contains(text) {
                return so_far;
            }
            match self.response.chunk().await.unwrap() {
                Some(bytes) => self.read.extend_from_slice(&bytes),
                None => panic!("it ended without {text:?}: {so_far}"),
            }
        }
    }

    /// Reads to the end; all that came.
    pub async fn to_end(mut self) -> Vec<u8> {
        while let Some(bytes) = self.response.chunk().await.unwrap() {
            self.read.extend_from_slice(&bytes);
        }
        self.read
    }
}
