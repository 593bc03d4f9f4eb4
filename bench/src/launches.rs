//! Many machines that are wanted at once, against what EC2's throttle lets through.

use std::time::Duration;

use anyhow::ensure;
use data_runner_tests::cloud::{Call, Cloud};
use data_runner_tests::{Installation, Repository, Sandbox, polars, until_within, workflow};
use serde_json::json;

use crate::report::{Figure, Report};

const LAUNCHES: usize = 200;
/// What is published is 5 at once and 2 a second; we stay at half of it.
const AT_ONCE: f64 = 2.5;
const A_SECOND: f64 = 1.0;
/// 200 at one a second, and some more.
const LIMIT: Duration = Duration::from_secs(280);

/// 200 executions, each for a machine of its own; nobody boots.
pub async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let sandbox = Sandbox::new();
    let cloud = match Cloud::without_machines().await {
        Ok(cloud) => cloud,
        Err(skipped) => {
            skipped.say();
            return Ok(());
        }
    };
    let installation = Installation::start(&sandbox, &cloud, "  max_machines: 250\n").await;
    let repository = Repository::with(sandbox.join("etl"), [workflow("job", &polars(""), "")]);
    installation.rest.register(&repository.url()).await;
    for _ in 0..LAUNCHES {
        installation.rest.execute("job", json!({})).await;
    }
    until_within(LIMIT, "200 machines", async || {
        (cloud.mock.instances().await.len() >= LAUNCHES).then_some(())
    })
    .await;
    let calls = cloud.mock.calls().await;
    let launches: Vec<&Call> = calls
        .iter()
        .filter(|call| call.action == "RunInstances" && !call.parameters.contains_key("DryRun"))
        .collect();
    ensure!(launches.len() == LAUNCHES, "{} calls for {LAUNCHES} machines", launches.len());
    let first = launches[0].at;
    // How full the bucket would have been: never more than it holds.
    let most = (1_u32..).zip(&launches).map(|(n, call)| f64::from(n) - (call.at - first) * A_SECOND);
    let took = Duration::from_secs_f64(launches[LAUNCHES - 1].at - first);
    report.add(Figure::count(
        "200 launches at once: at once, beyond one a second",
        most.fold(0.0, f64::max),
        AT_ONCE,
    ));
    report.add(Figure::count("200 launches at once: calls for them", launches.len() as f64, LAUNCHES as f64));
    report.add(Figure::rate("200 launches at once", LAUNCHES, took, None));
    Ok(())
}
