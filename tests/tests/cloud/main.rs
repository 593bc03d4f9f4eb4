//! The test cloud itself: what the tests that use it rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod leftovers;
mod machines;
mod mock;

use base64::Engine as _;
use data_runner_tests::cloud::Mock;

/// A launch with this user-data and these parameters beside the usual ones.
async fn launch(mock: &Mock, user_data: &[u8], more: &[(&str, &str)]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(user_data);
    let mut form = vec![
        ("Action", "RunInstances"),
        ("ImageId", "ami-12345678"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("InstanceType", "t3.small"),
        ("InstanceInitiatedShutdownBehavior", "terminate"),
        ("UserData", &encoded),
    ];
    form.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
    form.extend(more);
    let answer = mock.call("ec2", &form).await.good();
    let start = answer.find("<instanceId>").unwrap() + "<instanceId>".len();
    answer[start..].split('<').next().unwrap().to_owned()
}

/// `RunInstances` without anything special.
const PLAIN: [(&str, &str); 5] = [
    ("Action", "RunInstances"),
    ("ImageId", "ami-12345678"),
    ("MinCount", "1"),
    ("MaxCount", "1"),
    ("InstanceType", "t3.small"),
];

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
