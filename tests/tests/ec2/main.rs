//! The product on machines of EC2, from a registered repository to a terminated instance: a real supervisor, the mock
//! of AWS, and machines that boot from nothing but their user-data (see `data_runner_tests::cloud`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hardships;
mod images;
mod jobs;

use data_runner_tests::{Repository, Rest, Sandbox, polars, workflow};

/// The cloud, or the end of the test.
#[macro_export]
macro_rules! cloud_or_skip {
    () => {
        match data_runner_tests::cloud::Cloud::start().await {
            Ok(cloud) => cloud,
            Err(skipped) => return skipped.say(),
        }
    };
}

/// Registers a repository with one Python workflow.
async fn register(sandbox: &Sandbox, rest: &Rest, name: &str, config: &str, script: &str) {
    let repository = Repository::with(sandbox.join("etl"), [workflow(name, &polars(config), script)]);
    rest.register(&repository.url()).await;
}
