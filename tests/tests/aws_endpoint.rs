//! A supervisor at any endpoint that imitates EC2: the one in `AWS_ENDPOINT_URL`, such as LocalStack, and else a mock.
//! What it launches boots nowhere, so this goes as far as a machine whose agent does not come; no root is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::Ipv4Addr;

use base64::Engine as _;
use data_runner_tests::cloud::{Endpoint, Mock, elements};
use data_runner_tests::{Installation, Repository, Sandbox, polars, until, workflow};
use serde_json::json;

/// An address of this machine that no other test has.
fn own_address() -> Ipv4Addr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 231, high, low)
}

/// Settings for the region's default network.
async fn settings(aws: &Endpoint) -> String {
    let default = [("Filter.1.Name", "default-for-az"), ("Filter.1.Value.1", "true")];
    let shown = aws.call("ec2", &[&[("Action", "DescribeSubnets")], &default[..]].concat()).await.good();
    let vpc = &elements(&shown, "vpcId")[0];
    let of_vpc = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc)];
    let by_name = [("Filter.2.Name", "group-name"), ("Filter.2.Value.1", "default")];
    let asked = [&[("Action", "DescribeSecurityGroups")], &of_vpc[..], &by_name[..]].concat();
    let groups = aws.call("ec2", &asked).await.good();
    format!(
        "{}ec2:\n  region: {}\n  subnets: [{}]\n  security_groups: [{}]\n",
        Installation::settings_at(own_address()),
        aws.region(),
        elements(&shown, "subnetId").join(", "),
        elements(&groups, "groupId")[0],
    )
}

/// The state of the only machine of this worker.
async fn state_of(aws: &Endpoint, worker: &str) -> String {
    let of_worker = [("Filter.1.Name", "tag:data-runner:worker"), ("Filter.1.Value.1", worker)];
    let shown = aws.call("ec2", &[&[("Action", "DescribeInstances")], &of_worker[..]].concat()).await.good();
    assert_eq!(elements(&shown, "instanceId").len(), 1, "{shown}");
    let state = shown.split("<instanceState>").nth(1).unwrap();
    elements(state.split("</instanceState>").next().unwrap(), "name").remove(0)
}

#[tokio::test]
async fn a_job_gets_a_machine_at_any_endpoint_and_a_cancelled_one_leaves_none() {
    let _mock;
    let aws = match Endpoint::of_environment() {
        Some(aws) => aws,
        None => match Mock::start().await {
            Ok(mock) => {
                let aws = mock.aws().clone();
                _mock = mock;
                aws
            }
            Err(skipped) => return skipped.say(),
        },
    };
    let sandbox = Sandbox::new();
    let settings = settings(&aws).await;
    let installation = Installation::at(&sandbox, &aws, &settings).await;
    let repository = Repository::with(sandbox.join("etl"), [workflow("job", &polars(""), "print('here')")]);
    let rest = &installation.rest;
    rest.register(&repository.url()).await;

    let plan = rest.get("/workflows/job/plan").await.ok();
    assert!(!plan["candidates"].as_array().unwrap().is_empty(), "{plan:#}");
    let id = rest.execute("job", json!({})).await;
    let worker = until("a machine that boots", async || {
        let workers = rest.get("/workers").await.ok();
        let worker = workers["items"].as_array().unwrap().first()?.clone();
        (worker["state"] == "booting").then_some(worker)
    })
    .await;
    let name = worker["id"].as_str().unwrap();
    until("the machine to run", async || (state_of(&aws, name).await == "running").then_some(())).await;
    let instance = worker["machine_id"].as_str().unwrap();
    let asked =
        [("Action", "DescribeInstanceAttribute"), ("InstanceId", instance), ("Attribute", "userData")];
    let user_data = elements(&aws.call("ec2", &asked).await.good(), "value").remove(0);
    let user_data = base64::engine::general_purpose::STANDARD.decode(user_data).unwrap();
    assert!(
        user_data.starts_with(&[0x1f, 0x8b]) || user_data.starts_with(b"#!"),
        "a script, perhaps compressed"
    );

    assert!(rest.post(&format!("/executions/{id}/cancel"), json!({})).await.status < 300);
    assert_eq!(rest.ended(&id).await["state"], "cancelled");
    until("the machine to go", async || (state_of(&aws, name).await == "terminated").then_some(())).await;
    until("the worker to go", async || {
        let worker = rest.get(&format!("/workers/{name}")).await.ok();
        (worker["state"] == "terminated").then_some(())
    })
    .await;
}
