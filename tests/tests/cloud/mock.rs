//! What the mock has that moto lacks.

use data_runner_tests::cloud::{Fault, Mock};
use data_runner_tests::until;
use serde_json::json;

use crate::{PLAIN, launch};

macro_rules! mock_or_skip {
    () => {
        match Mock::start().await {
            Ok(mock) => mock,
            Err(skipped) => return skipped.say(),
        }
    };
}

#[tokio::test]
async fn a_launch_with_the_same_token_is_the_same_launch() {
    let mock = mock_or_skip!();
    let token = ("ClientToken", "one");
    let first = launch(&mock, b"data", &[token]).await;
    assert_eq!(launch(&mock, b"data", &[token]).await, first);
    mock.instance_profile("jobs").await;
    let with_profile = [("ClientToken", "with a profile"), ("IamInstanceProfile.Name", "jobs")];
    let once = launch(&mock, b"data", &with_profile).await;
    assert_eq!(launch(&mock, b"data", &with_profile).await, once);
    assert_ne!(launch(&mock, b"data", &[("ClientToken", "two")]).await, first);
    assert_ne!(launch(&mock, b"data", &[]).await, launch(&mock, b"data", &[]).await);

    let other = [&PLAIN[..], &[token]].concat();
    assert_eq!(mock.call("ec2", &other).await.error(), (400, "IdempotentParameterMismatch".to_owned()));

    // In another zone the same token is another one.
    let subnets: Vec<_> = mock.subnets().keys().cloned().collect();
    let mut here = [&PLAIN[..], &[token, ("SubnetId", &subnets[0])]].concat();
    mock.call("ec2", &here).await.good();
    *here.last_mut().unwrap() = ("SubnetId", &subnets[1]);
    mock.call("ec2", &here).await.good();

    mock.end(&first, "Client.UserInitiatedShutdown").await;
    mock.reaches(&first, "terminated").await;
    mock.end(&first, "Client.UserInitiatedShutdown").await;
    let again = mock.call("ec2", &other).await.error();
    assert_eq!(again, (400, "IdempotentParameterMismatch".to_owned()));
}

#[tokio::test]
async fn states_take_their_time_and_have_reasons() {
    let mock = mock_or_skip!();
    mock.settings(json!({ "pending": 600, "shutting_down": 600 })).await;
    let id = launch(&mock, b"", &[]).await;
    assert_eq!(mock.instance(&id).await.state, "pending");
    mock.settings(json!({ "pending": 0.1 })).await;
    mock.reaches(&id, "running").await;
    mock.end(&id, "Server.SpotInstanceTermination").await;
    assert_eq!(mock.instance(&id).await.state, "shutting-down");
    mock.settings(json!({ "shutting_down": 0.1 })).await;
    assert_eq!(mock.reaches(&id, "terminated").await.reason, "Server.SpotInstanceTermination");
}

#[tokio::test]
async fn an_instance_may_be_invisible_for_a_while() {
    let mock = mock_or_skip!();
    mock.settings(json!({ "invisible": 600 })).await;
    let id = launch(&mock, b"", &[]).await;
    let describe = [("Action", "DescribeInstances")];
    assert!(!mock.call("ec2", &describe).await.good().contains(&id));
    for action in ["DescribeInstances", "TerminateInstances"] {
        let refused = mock.call("ec2", &[("Action", action), ("InstanceId.1", &id)]).await.error();
        assert_eq!(refused, (400, "InvalidInstanceID.NotFound".to_owned()), "{action}");
    }
    mock.settings(json!({ "invisible": 0 })).await;
    assert!(mock.call("ec2", &describe).await.good().contains(&id));
    mock.forget(&id).await;
    assert!(!mock.call("ec2", &describe).await.good().contains(&id), "long after its end");
}

#[tokio::test]
async fn faults_hit_what_they_are_for_as_often_as_they_should() {
    let mock = mock_or_skip!();
    let capacity = Fault::error("RunInstances", "InsufficientInstanceCapacity");
    mock.faults(&[capacity.with("InstanceType", "t3.small").times(2)]).await;
    let large = [&PLAIN[..4], &[("InstanceType", "t3.large")]].concat();
    mock.call("ec2", &large).await.good();
    for _ in 0..2 {
        let refused = mock.call("ec2", &PLAIN).await.error();
        assert_eq!(refused, (400, "InsufficientInstanceCapacity".to_owned()));
    }
    mock.call("ec2", &PLAIN).await.good();

    let unavailable = Fault { status: Some(503), ..Fault::error("DescribeInstances", "Unavailable") };
    mock.faults(&[unavailable]).await;
    let refused = mock.call("ec2", &[("Action", "DescribeInstances")]).await.error();
    assert_eq!(refused, (503, "Unavailable".to_owned()));
}

#[tokio::test]
async fn a_lost_reply_is_a_launch_nevertheless() {
    let mock = mock_or_skip!();
    mock.faults(&[Fault::lost_reply("RunInstances")]).await;
    let form = [&PLAIN[..], &[("ClientToken", "one")]].concat();
    assert!(mock.try_call("ec2", &form).await.is_err(), "nobody answers");
    assert_eq!(mock.instances().await.len(), 1);
    mock.call("ec2", &form).await.good();
    assert_eq!(mock.instances().await.len(), 1);
    let launches = mock.calls().await.into_iter().filter(|call| call.action == "RunInstances").count();
    assert_eq!(launches, 2);
}

#[tokio::test]
async fn permissions_can_be_tried_dry() {
    let mock = mock_or_skip!();
    mock.settings(json!({ "denied": ["TerminateInstances"] })).await;
    let dry = ("DryRun", "true");
    let launch = [&PLAIN[..], &[dry]].concat();
    assert_eq!(mock.call("ec2", &launch).await.error(), (412, "DryRunOperation".to_owned()));
    let terminate = [("Action", "TerminateInstances"), ("InstanceId.1", "i-0123456789abcdef0"), dry];
    for form in [&terminate[..], &terminate[..2]] {
        assert_eq!(mock.call("ec2", form).await.error(), (403, "UnauthorizedOperation".to_owned()));
    }
    assert!(mock.instances().await.is_empty());
}

#[tokio::test]
async fn an_image_takes_its_time_has_its_name_alone_and_goes_with_its_snapshot() {
    let mock = mock_or_skip!();
    mock.settings(json!({ "imaging": 600 })).await;
    let id = launch(&mock, b"", &[]).await;
    let mark = |prefix: &str, kind: &str| {
        let tag = |end: &str, value: &str| (format!("TagSpecification.{prefix}.{end}"), value.to_owned());
        [tag("ResourceType", kind), tag("Tag.1.Key", "of"), tag("Tag.1.Value", "tests")]
    };
    let marks = [mark("1", "image"), mark("2", "snapshot")].concat();
    let mut create = vec![("Action", "CreateImage"), ("InstanceId", &id), ("Name", "one")];
    create.extend(marks.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let image = mock.call("ec2", &create).await.good();
    let image = image.split(['<', '>']).find(|text| text.starts_with("ami-")).unwrap();
    assert_eq!(mock.call("ec2", &create).await.error(), (400, "InvalidAMIName.Duplicate".to_owned()));

    let ours = async |action: &str| {
        let of = [("Action", action), ("Filter.1.Name", "tag:of"), ("Filter.1.Value.1", "tests")];
        mock.call("ec2", &of).await.good()
    };
    assert!(ours("DescribeImages").await.contains("<imageState>pending"));
    mock.settings(json!({ "imaging": 0 })).await;
    until("the image", async || ours("DescribeImages").await.contains("<imageState>available").then_some(()))
        .await;
    assert!(ours("DescribeSnapshots").await.contains("<snapshotId>"));

    let remove = [("Action", "DeregisterImage"), ("ImageId", image), ("DeleteAssociatedSnapshots", "true")];
    mock.call("ec2", &remove).await.good();
    assert!(!ours("DescribeImages").await.contains("<imageId>"));
    assert!(!ours("DescribeSnapshots").await.contains("<snapshotId>"));
}
