//! What the doctor finds in an account.

use data_runner_core::port::{Checkup as _, Finding, Verdict};

use super::fake::{Fake, Fault};
use super::*;
use crate::Ec2Doctor;

async fn examined(fake: &Fake, options: Ec2Options) -> Vec<Finding> {
    let public_url = "https://127.0.0.1:1".to_owned();
    Ec2Doctor::new(account(fake).await, options.installation, options.settings, public_url).check().await
}

fn of<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.check == check).unwrap_or_else(|| panic!("{check}: {findings:#?}"))
}

#[tokio::test]
async fn an_account_in_order_has_nothing_to_mend() {
    let fake = Fake::start().await;
    let findings = examined(&fake, options()).await;
    for check in [
        "credentials",
        "clock",
        "subnet-a",
        "subnet-b",
        "security groups",
        "image",
        "ec2:DescribeInstances",
        "ec2:DescribeImages",
        "ec2:DescribeSpotPriceHistory",
        "ec2:RunInstances",
        "ec2:RunInstances (spot)",
        "quota",
        "quota (spot)",
    ] {
        assert_eq!(of(&findings, check).verdict, Verdict::Good, "{:?}", of(&findings, check));
    }
    assert!(of(&findings, "credentials").message.contains("arn:aws:"));
    // What cannot be known is said to be so.
    assert_eq!(of(&findings, "ec2:TerminateInstances").verdict, Verdict::Warning);
    assert_eq!(of(&findings, "public_url").verdict, Verdict::Bad, "machines cannot reach loopback");
    for finding in &findings {
        assert_eq!(finding.help.is_none(), finding.verdict == Verdict::Good, "{finding:?}");
    }
    assert_eq!(fake.machines().len(), 0, "nothing was launched");
}

#[tokio::test]
async fn rights_on_machines_are_proved_on_one_of_ours() {
    let fake = Fake::start().await;
    let tags = [("data-runner:installation", "prod-us"), ("data-runner:worker", "w")];
    fake.add("i-1", &tags);
    let findings = examined(&fake, options()).await;
    assert_eq!(of(&findings, "ec2:TerminateInstances").verdict, Verdict::Good);
    assert_eq!(of(&findings, "ec2:GetConsoleOutput").verdict, Verdict::Good);
    assert_eq!(fake.machines()[0].state, "running");
}

#[tokio::test]
async fn each_missing_right_is_named_with_what_to_do() {
    for (action, check) in [
        ("RunInstances", "ec2:RunInstances"),
        ("DescribeSpotPriceHistory", "ec2:DescribeSpotPriceHistory"),
        ("DescribeSubnets", "subnets"),
        ("DescribeSecurityGroups", "security groups"),
        ("GetParameter", "image"),
    ] {
        let fake = Fake::start().await;
        let refusal = || Fault::Refuse(403, "UnauthorizedOperation", "You are not authorized".into());
        fake.fail(action, [refusal()]);
        let findings = examined(&fake, options()).await;
        assert_eq!(of(&findings, check).verdict, Verdict::Bad, "{action}: {findings:#?}");
        assert!(of(&findings, check).help.is_some());
    }
}

#[tokio::test]
async fn without_credentials_nothing_else_is_asked() {
    let fake = Fake::start().await;
    fake.fail("GetCallerIdentity", vec![Fault::Refuse(403, "InvalidClientTokenId", "unknown key".into()); 3]);
    let findings = examined(&fake, options()).await;
    assert_eq!(of(&findings, "credentials").verdict, Verdict::Bad);
    assert_eq!(fake.calls("DescribeSubnets").len(), 0);
}

#[tokio::test]
async fn what_does_not_exist_is_found() {
    let fake = Fake::start().await;
    let mut options = options();
    options.settings.subnets = vec!["subnet-none".into()];
    options.settings.security_groups = vec!["sg-elsewhere".into()];
    let findings = examined(&fake, options).await;
    assert!(of(&findings, "subnets").message.contains("subnet-none"));
}

#[tokio::test]
async fn groups_of_another_network_are_found() {
    let fake = Fake::start().await;
    let mut options = options();
    options.settings.security_groups = vec!["sg-elsewhere".into()];
    let findings = examined(&fake, options).await;
    assert_eq!(of(&findings, "security groups").verdict, Verdict::Bad);
}

#[tokio::test]
async fn limits_of_the_account_are_held_against_what_the_settings_allow() {
    let fake = Fake::start().await;
    let mut options = super::options();
    options.settings.max_machines = 20;
    fake.world(|world| world.quotas = [("L-1216C47A", 5.0), ("L-34B43A08", 0.0)].into());
    let findings = examined(&fake, options).await;
    let on_demand = of(&findings, "quota");
    assert_eq!(on_demand.verdict, Verdict::Warning);
    assert!(
        on_demand.message.starts_with("5 vCPUs") && on_demand.message.ends_with("use 40"),
        "{on_demand:?}"
    );
    assert_eq!(of(&findings, "quota (spot)").verdict, Verdict::Bad, "not one machine");

    let denied = r#"{"__type":"AccessDeniedException","Message":"not authorized to perform servicequotas:GetServiceQuota"}"#;
    fake.fail("GetServiceQuota", vec![Fault::Say(400, denied.to_owned()); 2]);
    let findings = examined(&fake, super::options()).await;
    let unknown = of(&findings, "quota");
    assert_eq!(unknown.verdict, Verdict::Warning);
    assert!(unknown.message.contains("not authorized"), "{unknown:?}");
    assert!(unknown.help.as_ref().unwrap().contains("servicequotas:GetServiceQuota"));
}
