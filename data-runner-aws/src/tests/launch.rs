//! One machine for one worker, whatever happens to the answers.

use super::fake::{Fake, Fault};
use super::*;

#[tokio::test]
async fn the_request_says_all_that_a_machine_must_be() {
    let fake = Fake::start().await;
    let provisioner = provisioner(&fake).await;
    let worker = sample::worker_id(1);
    assert!(matches!(launch(&provisioner, worker).await, LaunchAnswer::Launched(_)));
    let asked = fake.calls("RunInstances").remove(0).parameters;
    let worker = worker.to_string();
    for (name, value) in [
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("ImageId", "ami-x86"),
        ("InstanceType", "t3.medium"),
        ("InstanceInitiatedShutdownBehavior", "terminate"),
        ("MetadataOptions.HttpTokens", "required"),
        ("MetadataOptions.HttpPutResponseHopLimit", "1"),
        ("NetworkInterface.1.SubnetId", "subnet-a"),
        ("NetworkInterface.1.SecurityGroupId.1", "sg-1"),
        ("NetworkInterface.1.AssociatePublicIpAddress", "false"),
        ("IamInstanceProfile.Name", "etl"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.Encrypted", "true"),
        ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "8"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.2.ResourceType", "volume"),
    ] {
        assert_eq!(asked.get(name).map(String::as_str), Some(value), "{name} of {asked:#?}");
    }
    for absent in ["KeyName", "InstanceMarketOptions.MarketType"] {
        assert_eq!(asked.get(absent), None);
    }
    let token = &asked["ClientToken"];
    assert!(token.len() <= 64 && token.is_ascii(), "{token}");
    for specification in [1, 2] {
        let tags = tags(&asked, specification);
        for (key, value) in [
            ("data-runner:installation", "prod-us"),
            ("data-runner:worker", &*worker),
            ("data-runner:execution", "e-1"),
            ("data-runner:deadline", "2030-03-17T17:46:40.000000Z"),
            ("CostCenter", "data"),
            ("tier", "gold"),
        ] {
            assert_eq!(tags.get(key).map(String::as_str), Some(value), "{key}");
        }
    }
}

fn tags(asked: &BTreeMap<String, String>, specification: u32) -> BTreeMap<String, String> {
    let part = |n: u32, what: &str| asked.get(&format!("TagSpecification.{specification}.Tag.{n}.{what}"));
    (1..).map_while(|n| Some((part(n, "Key")?.clone(), part(n, "Value")?.clone()))).collect()
}

#[tokio::test]
async fn what_a_workflow_wants_is_asked_for() {
    let fake = Fake::start().await;
    let mut options = options();
    options.settings.public_ip = true;
    options.settings.allow.instance_profiles = vec!["other".into()];
    let provisioner = with_options(&fake, options).await;
    let mut request = request();
    request.compute.spot = data_runner_core::workflow::Spot::Only;
    request.compute.disk_bytes = Some((50 << 30) - 1);
    request.compute.instance_profile = Some("other".into());
    let candidate = provisioner.plan(request).await.unwrap().remove(0);
    provisioner.launch(sample::worker_id(1), candidate).await;
    let asked = fake.calls("RunInstances").remove(0).parameters;
    for (name, value) in [
        ("InstanceMarketOptions.MarketType", "spot"),
        ("InstanceMarketOptions.SpotOptions.SpotInstanceType", "one-time"),
        ("InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior", "terminate"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "50"),
        ("IamInstanceProfile.Name", "other"),
        ("NetworkInterface.1.AssociatePublicIpAddress", "true"),
    ] {
        assert_eq!(asked.get(name).map(String::as_str), Some(value), "{name} of {asked:#?}");
    }
}

#[tokio::test]
async fn the_same_launch_is_the_same_to_the_byte_also_after_a_restart_and_from_the_store() {
    let fake = Fake::start().await;
    let first = provisioner(&fake).await;
    let candidate = candidate(&first).await;
    let stored = serde_json::to_string(&candidate).unwrap();
    let machine = first.launch(sample::worker_id(1), candidate).await;
    // What a newer supervisor would plan differs; what was planned stays.
    let mut newer = options();
    newer.agents.clear();
    newer.settings.tags.clear();
    newer.grpc_url = "https://elsewhere:1".into();
    let restarted = with_options(&fake, newer).await;
    let candidate: Candidate = serde_json::from_str(&stored).unwrap();
    assert_eq!(restarted.launch(sample::worker_id(1), candidate).await, machine);
    let bodies: Vec<_> = fake.calls("RunInstances").into_iter().map(|call| call.body).collect();
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(fake.machines().len(), 1);
}

#[tokio::test]
async fn a_reply_that_is_lost_makes_no_second_machine() {
    let fake = Fake::start().await;
    let provisioner = provisioner(&fake).await;
    fake.fail("RunInstances", [Fault::LoseReply]);
    ends_in_one_machine(&fake, &provisioner, &candidate(&provisioner).await).await;
}

#[tokio::test]
async fn a_reply_that_does_not_come_makes_no_second_machine() {
    let fake = Fake::start().await;
    let candidate = candidate(&provisioner(&fake).await).await;
    let impatient = impatient(&fake, Duration::from_millis(100)).await;
    fake.fail("RunInstances", [Fault::Silence]);
    ends_in_one_machine(&fake, &of_account(impatient, options()), &candidate).await;
}

/// The first launch gets no answer and makes a machine; the later ones find it.
async fn ends_in_one_machine(fake: &Fake, provisioner: &Ec2Provisioner, candidate: &Candidate) {
    let worker = sample::worker_id(1);
    let first = provisioner.launch(worker, candidate.clone()).await;
    assert!(matches!(first, LaunchAnswer::Unknown { .. }), "{first:?}");
    assert_eq!(fake.machines().len(), 1, "it was made all the same");
    let later = asked_until_known(provisioner, worker, candidate).await;
    assert_eq!(later, LaunchAnswer::Launched(fake.machines()[0].id.parse().unwrap()));
    assert_eq!(fake.machines().len(), 1);
}

/// As core does: the same again, until there is an answer.
async fn asked_until_known(
    provisioner: &Ec2Provisioner,
    worker: WorkerId,
    candidate: &Candidate,
) -> LaunchAnswer {
    loop {
        let answer = provisioner.launch(worker, candidate.clone()).await;
        if !matches!(answer, LaunchAnswer::Unknown { .. }) {
            return answer;
        }
    }
}

#[tokio::test]
async fn two_hundred_workers_whose_replies_are_lost_get_two_hundred_machines() {
    let fake = Fake::start().await;
    let provisioner = Arc::new(provisioner(&fake).await);
    let candidate = candidate(&provisioner).await;
    fake.fail("RunInstances", vec![Fault::LoseReply; 300]);
    let launches: Vec<_> = (1..=200)
        .map(|n| {
            let (provisioner, candidate) = (Arc::clone(&provisioner), candidate.clone());
            tokio::spawn(
                async move { asked_until_known(&provisioner, sample::worker_id(n), &candidate).await },
            )
        })
        .collect();
    for launch in launches {
        let answer = launch.await.unwrap();
        assert!(matches!(answer, LaunchAnswer::Launched(_)), "{answer:?}");
    }
    assert_eq!(fake.calls("RunInstances").len(), 500, "the lost ones and the answered ones");
    assert_eq!(fake.machines().len(), 200);
}

#[tokio::test]
async fn what_is_launched_again_while_it_is_under_way_is_asked_once() {
    let fake = Fake::start().await;
    let provisioner = provisioner(&fake).await;
    let candidate = candidate(&provisioner).await;
    let launch = || provisioner.launch(sample::worker_id(1), candidate.clone());
    let (one, two, three) = tokio::join!(launch(), launch(), launch());
    assert_eq!((&one, &one), (&two, &three));
    assert_eq!(fake.calls("RunInstances").len(), 1);
}

#[tokio::test]
async fn workers_and_candidates_have_tokens_of_their_own() {
    let fake = Fake::start().await;
    let provisioner = provisioner(&fake).await;
    let candidates = provisioner.plan(request()).await.unwrap();
    for worker in [1, 2] {
        for candidate in &candidates {
            provisioner.launch(sample::worker_id(worker), candidate.clone()).await;
        }
    }
    let mut tokens: Vec<_> =
        fake.calls("RunInstances").into_iter().map(|call| call.parameters["ClientToken"].clone()).collect();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 4);
}

#[tokio::test]
async fn code_goes_along_when_it_fits_and_stays_behind_when_it_does_not() {
    use base64::Engine as _;
    use data_runner_core::port::BlobStore as _;
    use data_runner_core::workflow::BundleRef;

    let fake = Fake::start().await;
    let blobs = MemoryBlobs::new();
    let mut options = options();
    options.settings.code_delivery = CodeDelivery::UserData;
    let provisioner =
        Ec2Provisioner::new(account(&fake).await, options, Arc::new(Tokens), Arc::new(blobs.clone()));
    // Noise: it does not get smaller.
    let noise: Vec<u8> =
        (0..400u32).flat_map(|n| hex::decode(Sha256::of(&n.to_be_bytes()).as_str()).unwrap()).collect();
    for (worker, bytes, along) in [(1, &noise[..400], true), (2, &noise[..], false)] {
        let hash = blobs.put(bytes.to_vec().into()).await.unwrap();
        let mut request = request();
        request.code = Some(BundleRef { hash: hash.clone(), bytes: bytes.len() as u64 });
        let candidate = provisioner.plan(request).await.unwrap().remove(0);
        let answer = provisioner.launch(sample::worker_id(worker), candidate).await;
        assert!(matches!(answer, LaunchAnswer::Launched(_)), "{answer:?}");
        let call = fake.calls("RunInstances").pop().unwrap();
        let script = base64::engine::general_purpose::STANDARD.decode(&call.parameters["UserData"]).unwrap();
        assert_eq!(String::from_utf8_lossy(&script).contains(hash.as_str()), along);
    }
}

#[tokio::test]
async fn what_another_version_planned_is_refused_and_not_guessed() {
    let fake = Fake::start().await;
    let provisioner = provisioner(&fake).await;
    let mut candidate = candidate(&provisioner).await;
    candidate.request = serde_json::json!({"image": "ami-x86"});
    let answer = provisioner.launch(sample::worker_id(1), candidate).await;
    assert!(matches!(answer, LaunchAnswer::Fatal { .. }), "{answer:?}");
    assert_eq!(fake.calls("RunInstances").len(), 0);
}
