//! A REST client that is no slower than it must be.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

/// How long a run of the bench may take at most.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Clone)]
pub struct Rest {
    client: Client,
    base: String,
}

impl Rest {
    pub fn new(address: &str) -> anyhow::Result<Self> {
        let client = Client::builder().tcp_nodelay(true).timeout(PATIENCE).no_proxy().build()?;
        Ok(Self { client, base: format!("http://{address}") })
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    pub async fn json(&self, path: &str) -> anyhow::Result<Value> {
        Ok(accepted(self.get(path).send().await?).await?.json().await?)
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let sent = self.client.post(format!("{}{path}", self.base)).json(body).send().await?;
        Ok(accepted(sent).await?.json().await?)
    }

    pub async fn register(&self, folder: &str) -> anyhow::Result<()> {
        let answer = self.post("/workflows", &json!({ "repo": folder })).await?;
        match answer["errors"].as_array() {
            Some(errors) if !errors.is_empty() => bail!("the workflows of the bench are broken: {answer}"),
            _ => Ok(()),
        }
    }

    /// Submits, and returns the execution's id.
    pub async fn execute(&self, workflow: &str) -> anyhow::Result<String> {
        let answer = self.post(&format!("/workflows/{workflow}/execute"), &json!({})).await?;
        Ok(answer["id"].as_str().context("the answer has no id")?.to_owned())
    }

    /// Waits for the end without asking twice, and returns the execution.
    pub async fn ended(&self, id: &str) -> anyhow::Result<Value> {
        loop {
            let execution = self.json(&format!("/executions/{id}?wait=60s")).await?;
            if !execution["finished_at"].is_null() {
                return Ok(execution);
            }
        }
    }

    /// Runs to success.
    pub async fn run(&self, workflow: &str) -> anyhow::Result<Value> {
        let execution = self.ended(&self.execute(workflow).await?).await?;
        if execution["state"] != "success" {
            bail!("{workflow} did not succeed: {execution}");
        }
        Ok(execution)
    }
}

async fn accepted(response: Response) -> anyhow::Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    bail!("{} {status}: {}", response.url().clone(), response.text().await?)
}
