//! Which ways there are to a machine, and in which order.

use data_runner_core::cost::{MachinePrice, Market};
use data_runner_core::port::ProvisionError;
use data_runner_core::workflow::Spot;

use super::fake::Fake;
use super::*;

async fn labels(provisioner: &Ec2Provisioner, request: MachineRequest) -> Vec<String> {
    provisioner.plan(request).await.unwrap().into_iter().map(|candidate| candidate.label).collect()
}

async fn refused(provisioner: &Ec2Provisioner, request: MachineRequest) -> String {
    match provisioner.plan(request).await.unwrap_err() {
        ProvisionError::Rejected { message, hint } => {
            assert!(hint.is_some(), "{message}");
            message
        }
        other @ ProvisionError::Unavailable(_) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_wanted_size_comes_before_its_fallbacks_and_spot_before_on_demand() {
    let fake = Fake::start().await;
    fake.world(|world| {
        world.spot = vec![
            ("us-east-1a", "t3.medium", "0.0200"),
            ("us-east-1b", "t3.medium", "0.0150"),
            ("us-east-1b", "t3a.medium", "0.0100"),
        ];
    });
    let provisioner = provisioner(&fake).await;
    let mut request = request();
    request.compute.spot = Spot::Prefer;
    request.compute.fallback_instance_sizes =
        ["t3a.medium", "t3.medium"].map(|name| name.parse().unwrap()).to_vec();
    let expected = [
        "t3.medium in us-east-1b, spot",
        "t3.medium in us-east-1a, spot",
        "t3a.medium in us-east-1b, spot",
        "t3a.medium in us-east-1a, spot",
        "t3.medium in us-east-1a, on-demand",
        "t3.medium in us-east-1b, on-demand",
        "t3a.medium in us-east-1a, on-demand",
        "t3a.medium in us-east-1b, on-demand",
    ];
    assert_eq!(labels(&provisioner, request.clone()).await, expected);
    assert_eq!(labels(&provisioner, request.clone()).await, expected, "the same again");
    request.compute.spot = Spot::Only;
    assert_eq!(labels(&provisioner, request.clone()).await, expected[..4]);
    request.compute.spot = Spot::Never;
    assert_eq!(labels(&provisioner, request).await, expected[4..]);
    assert_eq!(fake.calls("DescribeSubnets").len(), 1, "a subnet does not move");
    assert_eq!(fake.calls("GetParameter").len(), 1, "the newest image is resolved once");
    assert_eq!(fake.calls("RunInstances").len(), 0);
}

#[tokio::test]
async fn candidates_have_prices_and_unknown_ones_have_none() {
    let fake = Fake::start().await;
    fake.world(|world| world.spot = vec![("us-east-1b", "t3.medium", "0.0150")]);
    let provisioner = provisioner(&fake).await;
    let mut request = request();
    request.compute.spot = Spot::Prefer;
    request.compute.disk_bytes = Some(73 << 30);
    let candidates = provisioner.plan(request).await.unwrap();
    let prices: Vec<_> = candidates.iter().map(|candidate| (candidate.market, candidate.price)).collect();
    let price = |instance| Some(MachinePrice { instance, volume: 8_000, address: 0 });
    let expected = [
        (Market::Spot, price(15_000)),
        (Market::Spot, None),
        (Market::OnDemand, price(41_600)),
        (Market::OnDemand, price(41_600)),
    ];
    assert_eq!(prices, expected);
}

#[tokio::test]
async fn the_image_fits_the_architecture_and_is_pinned() {
    let fake = Fake::start().await;
    let provisioner = provisioner(&fake).await;
    let mut request = request();
    request.instance_size = "t4g.medium".into();
    let candidate = provisioner.plan(request).await.unwrap().remove(0);
    assert_eq!(candidate.request["image"], "ami-arm");
    assert_eq!(candidate.request["architecture"], "arm64");
}

#[tokio::test]
async fn a_workflows_image_wins_over_the_installations() {
    let fake = Fake::start().await;
    fake.world(|world| {
        world.images.insert("ami-type", "x86_64");
        world.images.insert("ami-own", "x86_64");
    });
    let mut options = options();
    options.settings.images = BTreeMap::from([(sample::polars(), "ami-type".into())]);
    options.settings.allow.images = vec!["ami-own".into()];
    let provisioner = with_options(&fake, options).await;
    let of_type = provisioner.plan(request()).await.unwrap().remove(0);
    assert_eq!(of_type.request["image"], "ami-type");
    let mut request = request();
    request.compute.image = Some("ami-own".into());
    assert_eq!(provisioner.plan(request).await.unwrap()[0].request["image"], "ami-own");
}

#[tokio::test]
async fn what_cannot_be_had_is_rejected_with_a_reason() {
    let fake = Fake::start().await;
    let mut options = options();
    options.settings.allow.images = vec!["ami-arm".into(), "ami-none".into()];
    options.settings.allow.subnets = vec!["subnet-none".into()];
    let provisioner = with_options(&fake, options).await;
    let with = |change: &dyn Fn(&mut MachineRequest)| {
        let mut request = request();
        change(&mut request);
        request
    };
    for (request, says) in [
        (with(&|request| request.instance_size = "t3.mediun".into()), "did you mean t3.medium"),
        (with(&|request| request.deadline = None), "deadline"),
        (with(&|request| request.compute.disk_bytes = Some(1 << 30)), "8 GiB"),
        (with(&|request| request.compute.image = Some("ami-arm".into())), "another architecture"),
        (with(&|request| request.compute.image = Some("ami-none".into())), "no image ami-none"),
        (with(&|request| request.compute.subnets = vec!["subnet-none".into()]), "subnet-none"),
        (
            with(&|request| request.compute.fallback_instance_sizes = vec!["t4g.medium".parse().unwrap()]),
            "another architecture",
        ),
    ] {
        let message = refused(&provisioner, request).await;
        assert!(message.contains(says), "{message:?} says {says:?}");
    }
    assert_eq!(fake.calls("RunInstances").len(), 0);
}

#[tokio::test]
async fn what_the_operator_does_not_allow_is_rejected_before_aws_is_asked() {
    let fake = Fake::start().await;
    let mut options = options();
    options.settings.allow.instance_sizes = vec!["m6i.*".into()];
    let provisioner = with_options(&fake, options).await;
    let message = refused(&provisioner, request()).await;
    assert!(message.contains("ec2.allow.instance_sizes"), "{message}");
    let mut request = request();
    request.instance_size = "m6i.large".into();
    request.compute.instance_profile = Some("admin".into());
    let message = refused(&provisioner, request).await;
    assert!(message.contains("compute.instance_profile") && message.contains("admin"), "{message}");
    assert!(fake.world(|world| world.calls.is_empty()));
}

#[tokio::test]
async fn an_account_that_cannot_be_asked_is_no_rejection() {
    let fake = Fake::start().await;
    fake.fail(
        "DescribeSubnets",
        vec![super::fake::Fault::Refuse(503, "RequestLimitExceeded", "slowly".into()); 3],
    );
    let error = provisioner(&fake).await.plan(request()).await.unwrap_err();
    assert!(matches!(error, ProvisionError::Unavailable(_)), "{error:?}");
}
