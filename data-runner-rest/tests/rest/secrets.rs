//! Whether the secrets of workflows are there.

use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::port::{Finding, SecretProbe};
use data_runner_core::workflow::SecretRef;
use data_runner_rest::RouterOptions;
use data_runner_testkit::memory::store::MemoryStore;
use serde_json::json;

use crate::fixture::{Rest, SIMPLE, URL, files};

/// Knows one secret.
struct Knows(&'static str);

#[async_trait]
impl SecretProbe for Knows {
    async fn probe(&self, reference: &SecretRef) -> Finding {
        match reference.to_string() == self.0 {
            true => Finding::good(self.0, "it is there"),
            false => Finding::bad(reference.to_string(), "it is not there", "create it"),
        }
    }
}

async fn with_secrets(options: RouterOptions) -> Rest {
    let rest = Rest::over(MemoryStore::new(), options).await;
    let secrets = format!("{SIMPLE}secrets: {{DSN: env://PG_DSN, KEY: \"aws-ssm:///key\"}}\n");
    rest.source
        .publish("main", files(&[("orders", &secrets), ("plain", SIMPLE), ("broken", "worker_type: x")]));
    let answer = rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "main"}}"#)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    rest
}

#[tokio::test]
async fn each_secret_of_a_workflow_is_looked_for() {
    let options =
        RouterOptions { secrets: Some(Arc::new(Knows("env://PG_DSN"))), ..RouterOptions::default() };
    let rest = with_secrets(options).await;
    let expected = json!({"verdict": "bad", "findings": [
        {"check": "DSN", "verdict": "good", "message": "env://PG_DSN: it is there", "help": null},
        {"check": "KEY", "verdict": "bad", "message": "aws-ssm:///key: it is not there", "help": "create it"},
    ]});
    assert_eq!(rest.get("/workflows/orders/secrets").await.json(), expected);
    assert_eq!(rest.get("/workflows/etl/orders/secrets").await.json(), expected);
    let none = rest.get("/workflows/plain/secrets").await.json();
    assert_eq!(none, json!({"verdict": "good", "findings": []}));
    assert_eq!(rest.get("/workflows/broken/secrets").await.status, 422);
}

#[tokio::test]
async fn a_server_that_does_not_know_how_its_workers_read_secrets_says_so() {
    let rest = with_secrets(RouterOptions::default()).await;
    assert_eq!(rest.get("/workflows/orders/secrets").await.json()["verdict"], "warning");
}
