//! Secrets: whether they are there, before a job needs them.

use data_runner_tests::{Repository, Sandbox, Server, cli, polars, until, workflow};
use serde_json::json;

#[tokio::test]
async fn secrets_are_looked_for_before_a_job_needs_them_and_the_job_finds_what_was_told() {
    let sandbox = Sandbox::new();
    let dsn =
        "secrets: {PG_DSN: env://TEST_DSN}\nnotifications: [{on: [failure], webhook: env://TEST_ALERTS}]\n";
    let more = "secrets: {PG_DSN: env://TEST_DSN, API_KEY: env://TEST_KEY}\n";
    let repository = Repository::with(
        sandbox.join("etl"),
        [
            workflow("whole", &polars(dsn), "print('ran')\n"),
            workflow("lacks", &polars(more), "print('ran')\n"),
        ],
    );
    let settings = format!(
        "repositories:\n  - {{name: etl, url: \"{}\", ref: main}}\nhooks: {{github: env://TEST_HOOK}}\n",
        repository.url()
    );
    let value = "postgres://somebody:hunter2@db";
    let server =
        Server::supervisor_with(&sandbox, &settings, &[("TEST_DSN", value), ("TEST_HOOK", value)]).await;
    let rest = &server.rest;
    until("the workflow", async || (rest.get("/workflows/etl/lacks").await.status == 200).then_some(()))
        .await;
    let check = async |name: &str| cli(&sandbox, Some(&rest.address), &["secret", "check", name]).await;

    let whole = check("whole").await;
    assert_eq!(whole.code, Some(0), "{whole:?}");
    assert!(whole.text().contains("PG_DSN") && whole.text().contains("env://TEST_DSN"), "{whole:?}");
    let lacks = check("etl/lacks").await;
    assert_eq!(lacks.code, Some(1), "{lacks:?}");
    assert!(lacks.text().contains("env://TEST_KEY: there is no such secret"), "{lacks:?}");
    assert_eq!(check("nobody").await.code, Some(3));

    let id = rest.execute("lacks", json!({})).await;
    let ended = rest.ended(&id).await;
    assert_eq!(ended["failure"]["cause"], "environment");
    assert!(ended["failure"]["message"].as_str().unwrap().contains("env://TEST_KEY"), "{ended:#}");
    rest.succeeded(&rest.execute("whole", json!({})).await).await;

    let doctor = rest.get("/doctor").await.ok();
    let told = |text: &str| doctor["findings"].as_array().unwrap().iter().any(|it| it["message"] == text);
    assert!(told("`hooks.github`, env://TEST_HOOK: the supervisor can read it"), "{doctor:#}");
    assert!(told("notifications of etl/whole, env://TEST_ALERTS: there is no such secret"), "{doctor:#}");
    for shown in [whole.text(), lacks.text(), doctor.to_string()] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
