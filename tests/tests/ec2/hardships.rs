//! What goes wrong with machines, and what becomes of their executions.

use std::time::{Duration, Instant};

use data_runner_tests::cloud::{Cloud, Fault};
use data_runner_tests::{Installation, Rest, Sandbox, until};
use serde_json::{Value, json};

use crate::{cloud_or_skip, register};

/// Writes a line ten times a second until its file is there.
const TICKER: &str = r#"
import os, time
print("started", flush=True)
for number in range(1200):
    print(number, flush=True)
    time.sleep(0.1)
"#;

/// Starts the job and waits until it runs; the execution and its instance.
async fn running(rest: &Rest, cloud: &Cloud, workflow: &str) -> (String, String) {
    let id = rest.execute(workflow, json!({})).await;
    rest.logs(&id, "started").await;
    let instances = cloud.mock.instances().await;
    (id, instances.into_iter().find(|instance| instance.state == "running").unwrap().id)
}

fn cause(execution: &Value) -> &str {
    execution["failure"]["cause"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_machine_that_a_person_terminates_is_noticed_within_20_s() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let installation = Installation::start(&sandbox, &cloud, "").await;
    register(&sandbox, &installation.rest, "ticker", "", TICKER).await;
    let (id, instance) = running(&installation.rest, &cloud, "ticker").await;

    let terminated = Instant::now();
    cloud.mock.end(&instance, "Client.UserInitiatedShutdown").await;
    let lost = until("the attempt to be lost", async || {
        let attempt = installation.rest.execution(&id).await["attempts"][0].clone();
        attempt["failure"].is_object().then_some(attempt)
    })
    .await;
    let noticed = terminated.elapsed();
    assert_eq!(cause(&lost), "worker_lost", "{lost:#}");
    assert!(noticed < Duration::from_secs(20), "{noticed:?}");
}

#[tokio::test]
async fn a_machine_that_is_taken_back_gives_its_job_time_and_the_job_is_done_elsewhere() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let installation = Installation::start(&sandbox, &cloud, "").await;
    let script = r#"
import os, signal, sys, time
if os.environ["DATA_RUNNER_ATTEMPT"] == "1":
    signal.signal(signal.SIGTERM, lambda *_: (print("told to stop", flush=True), sys.exit(1)))
    print("started", flush=True)
    time.sleep(600)
print("done")
"#;
    register(&sandbox, &installation.rest, "patient", "compute: {spot: prefer}\n", script).await;
    let (id, instance) = running(&installation.rest, &cloud, "patient").await;
    assert_eq!(cloud.mock.instance(&instance).await.market, "spot");

    let notice = r#"{"action": "terminate", "time": "2030-01-01T00:00:00Z"}"#;
    cloud.mock.metadata(&instance, "meta-data/spot/instance-action", Some(notice)).await;
    installation.rest.logs(&id, "told to stop").await;
    let execution = installation.rest.succeeded(&id).await;
    let attempts = execution["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{execution:#}");
    assert_eq!(attempts[0]["failure"]["cause"], "interrupted");
    cloud.mock.reaches(&instance, "terminated").await;
    assert_eq!(cloud.mock.instances().await.len(), 2);
}

#[tokio::test]
async fn without_capacity_other_sizes_are_tried_and_shown() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let installation = Installation::start(&sandbox, &cloud, "").await;
    let none = Fault::error("RunInstances", "InsufficientInstanceCapacity");
    cloud.mock.faults(&[none.with("InstanceType", "t3.small").times(100)]).await;
    let config = "compute: {fallback_instance_sizes: [t3.medium]}\n";
    register(&sandbox, &installation.rest, "job", config, "print('done')").await;
    let id = installation.rest.execute("job", json!({})).await;
    let execution = installation.rest.succeeded(&id).await;
    assert_eq!(cloud.mock.instances().await[0].instance_type, "t3.medium");
    let shown = execution.to_string();
    assert!(shown.contains("InsufficientInstanceCapacity") && shown.contains("t3.small"), "{execution:#}");
}

#[tokio::test]
async fn a_machine_whose_agent_never_joins_is_terminated_and_its_console_says_why() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    // Nobody is where the agent's program should be.
    let settings = Installation::settings(&cloud, "  join_within: 20s\n");
    let public = format!("public_url: https://{}", cloud.address());
    let settings = settings.replace(&format!("{public}:8443"), &format!("{public}:9"));
    let installation = Installation::with(&sandbox, &cloud, &settings).await;
    let once = "retries: [{on: [no_capacity], max_attempts: 1}]\n";
    register(&sandbox, &installation.rest, "job", once, "print('done')").await;
    let id = installation.rest.execute("job", json!({})).await;
    let instance = cloud.launched().await;
    let ended = cloud.mock.reaches(&instance, "terminated").await;
    assert_eq!(ended.reason, "Client.UserInitiatedShutdown", "it was terminated, by us");
    let execution = installation.rest.ended(&id).await;
    let hint = execution["failure"]["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("the agent cannot be fetched: curl: (7) Failed to connect"), "{execution:#}");
}

#[tokio::test]
async fn machines_power_off_at_their_deadline_when_the_supervisor_is_gone_for_ever() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let mut installation = Installation::start(&sandbox, &cloud, "").await;
    register(&sandbox, &installation.rest, "ticker", "timeout: 1h\n", TICKER).await;
    let (_, instance) = running(&installation.rest, &cloud, "ticker").await;
    installation.kill();
    // Long after it. The agent, which has a timer of its own, does not know.
    cloud.put_clock_ahead(&instance, 24 * 3600);
    let ended = cloud.mock.reaches(&instance, "terminated").await;
    assert_eq!(ended.reason, "Client.InstanceInitiatedShutdown", "{}", cloud.console(&instance));
}

#[tokio::test]
async fn nobody_gets_in_by_plain_http_or_without_a_token() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let installation = Installation::start(&sandbox, &cloud, "").await;
    let address = installation.rest.address.strip_prefix("https://").unwrap();
    let plain = Rest::new(format!("http://{address}"));
    assert!(
        plain.try_ask("GET".parse().unwrap(), "/healthz", &[], None).await.is_none_or(|it| it.status == 400)
    );
    let unknown = Rest::new(installation.rest.address.clone());
    assert!(
        unknown.try_ask("GET".parse().unwrap(), "/healthz", &[], None).await.is_none(),
        "not vouched for"
    );
    let ca = std::fs::read(sandbox.join("state/pki/ca.pem")).unwrap();
    let nobody = Rest::secured(installation.rest.address.clone(), &ca, "dr_nobody");
    assert_eq!(nobody.get("/workflows").await.status, 401);
}
