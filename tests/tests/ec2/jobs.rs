//! Jobs on machines of their own.

use data_runner_tests::{Installation, Repository, Sandbox, polars, query, workflow};
use serde_json::json;

use crate::{cloud_or_skip, register};

const SCRIPT: &str = r#"
import polars
print(polars.DataFrame({"a": [1, 2, 3]}).sum().item())
"#;

#[tokio::test]
async fn a_job_gets_a_machine_that_boots_joins_runs_it_and_powers_off() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let installation = Installation::start(&sandbox, &cloud, "").await;
    let jobs = [workflow("sum", &polars(""), SCRIPT), query("answer", "SELECT 6 * 7 AS answer;")];
    let repository = Repository::with(sandbox.join("etl"), jobs);
    let rest = &installation.rest;
    rest.register(&repository.url()).await;

    let sum = rest.execute("sum", json!({})).await;
    let answer = rest.execute("answer", json!({})).await;
    for (id, said) in [(&sum, "6\n"), (&answer, "42")] {
        let execution = rest.succeeded(id).await;
        assert!(String::from_utf8(rest.log(id, "stream=stdout").await).unwrap().contains(said));
        assert!(execution["cost_usd"].as_f64().unwrap() > 0.0, "{execution:#}");
        let phases = &execution["attempts"][0]["phases"];
        for phase in
            ["queued", "launched", "connected", "code_ready", "environment_ready", "started", "finished"]
        {
            assert!(phases[phase].is_string(), "{phase}: {execution:#}");
        }
    }
    let instances = cloud.mock.instances().await;
    assert_eq!(instances.len(), 2, "a machine for each");
    for instance in instances {
        // By itself, or by its supervisor: both see to it as soon as it is drained.
        cloud.mock.reaches(&instance.id, "terminated").await;
    }
}

#[tokio::test]
async fn code_that_comes_with_the_machine_is_not_fetched() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let installation = Installation::start(&sandbox, &cloud, "  code_delivery: user-data\n").await;
    register(&sandbox, &installation.rest, "job", "", "print('done')").await;
    let id = installation.rest.execute("job", json!({})).await;
    installation.rest.succeeded(&id).await;
    let instance = cloud.mock.instances().await.remove(0);
    let script = cloud.user_data(&instance);
    let hash = script.split("\nBUNDLE_SHA256='").nth(1).unwrap().split('\'').next().unwrap();
    assert_eq!(hash.len(), 64, "there is code in the user-data");
    let cached = cloud.file(&instance.id, &format!("/var/lib/data-runner/bundles/{hash}"));
    assert!(cached.exists());
    cloud.mock.reaches(&instance.id, "terminated").await;
}

#[tokio::test]
async fn jobs_read_and_write_s3_with_the_role_of_their_machine() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    cloud.mock.bucket("lake").await;
    let installation = Installation::start(&sandbox, &cloud, "").await;
    let script = r#"
import polars
polars.DataFrame({"a": [1, 2, 3]}).write_parquet("s3://lake/numbers.parquet")
print(polars.read_parquet("s3://lake/numbers.parquet").sum().item())
"#;
    let sql = "COPY (SELECT sum(a) * 7 AS b FROM 's3://lake/numbers.parquet') TO 's3://lake/answer.parquet';
SELECT b FROM 's3://lake/answer.parquet';";
    let repository =
        Repository::with(sandbox.join("etl"), [workflow("write", &polars(""), script), query("read", sql)]);
    installation.rest.register(&repository.url()).await;
    for (name, said) in [("write", "6\n"), ("read", "42")] {
        let id = installation.rest.execute(name, json!({})).await;
        installation.rest.succeeded(&id).await;
        let log = String::from_utf8(installation.rest.log(&id, "stream=stdout").await).unwrap();
        assert!(log.contains(said), "{log}");
    }
    let calls = cloud.mock.calls().await;
    let of_lake = calls.iter().filter(|call| call.action.contains("/lake/"));
    let keys: Vec<_> = of_lake.filter_map(|call| call.access_key.as_deref()).collect();
    assert!(!keys.is_empty() && keys.iter().all(|key| key.starts_with("ASIA")), "by roles: {keys:?}");
}

#[tokio::test]
async fn code_comes_from_s3_where_that_is_wanted() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    cloud.mock.bucket("code").await;
    let more = "  code_delivery: s3\n  bucket: s3://code/here\n";
    let installation = Installation::start(&sandbox, &cloud, more).await;
    register(&sandbox, &installation.rest, "job", "", "print('done')").await;
    let id = installation.rest.execute("job", json!({})).await;
    installation.rest.succeeded(&id).await;
    let calls = cloud.mock.calls().await;
    let fetched =
        calls.iter().any(|call| call.action.starts_with("GET /code/here/") && call.access_key.is_none());
    assert!(fetched, "by a link, without credentials");
}
