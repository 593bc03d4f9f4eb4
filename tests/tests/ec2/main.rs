//! The product on machines of EC2, from a registered repository to a terminated instance: a real supervisor, the mock
//! of AWS, and machines that boot from nothing but their user-data (see `data_runner_tests::cloud`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod away;
mod example;
mod hardships;
mod images;
mod jobs;
mod kills;
mod neighbours;
mod unpushed;

use data_runner_tests::cloud::Mock;
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

/// Launches a machine as somebody else in the account, with these tags; its id.
async fn launch(mock: &Mock, tags: &[(&str, &str)]) -> String {
    let mut form = vec![("Action".to_owned(), "RunInstances".to_owned())];
    let mut say = |name: &str, value: &str| form.push((name.to_owned(), value.to_owned()));
    for (name, value) in
        [("ImageId", "ami-12345678"), ("MinCount", "1"), ("MaxCount", "1"), ("InstanceType", "t3.small")]
    {
        say(name, value);
    }
    for (number, (key, value)) in (1..).zip(tags) {
        say("TagSpecification.1.ResourceType", "instance");
        say(&format!("TagSpecification.1.Tag.{number}.Key"), key);
        say(&format!("TagSpecification.1.Tag.{number}.Value"), value);
    }
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = mock.call("ec2", &form).await.good();
    answer.split("<instanceId>").nth(1).unwrap().split('<').next().unwrap().to_owned()
}
