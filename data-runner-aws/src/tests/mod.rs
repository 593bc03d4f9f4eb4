//! Through the real SDK, against a fake EC2 that this process serves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod bake;
mod blobs;
mod doctor;
mod fake;
mod launch;
mod list;
mod plan;
mod prices;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use data_runner_aws_light::Endpoints;
use data_runner_core::id::{Sha256, WorkerId};
use data_runner_core::port::{
    Certificate, JoinAuthority, JoinRefused, JoinRequest, LaunchAnswer, Provisioner,
};
use data_runner_core::settings::{CodeDelivery, Ec2Allow, Ec2Settings};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::{Candidate, MachineRequest};
use data_runner_core::workflow::Architecture;
use data_runner_testkit::memory::blob_store::MemoryBlobs;
use data_runner_testkit::sample;

use crate::throttle::Throttle;
use crate::{AgentBinary, AwsAccount, Ec2Options, Ec2Provisioner, POWER_OFF};
use fake::Fake;

/// An account at the fake's address. Nothing holds back its calls.
async fn account(fake: &Fake) -> AwsAccount {
    impatient(fake, Duration::from_secs(20)).await
}

/// The same; a try of a call may take so long.
async fn impatient(fake: &Fake, one_try: Duration) -> AwsAccount {
    account_at(fake.url(), one_try).await
}

async fn account_at(url: &str, one_try: Duration) -> AwsAccount {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let timeouts =
        aws_sdk_ec2::config::timeout::TimeoutConfig::builder().operation_attempt_timeout(one_try).build();
    let config = aws_config::defaults(aws_config::BehaviorVersion::v2026_01_12())
        .region(aws_config::Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(credentials)
        .timeout_config(timeouts)
        .load()
        .await;
    let endpoints = Endpoints { all: Some(url.to_owned()), ..Endpoints::default() };
    let mut account = AwsAccount::new(&config, "us-east-1", endpoints);
    account.throttle = Arc::new(Throttle::open());
    account
}

fn settings() -> Ec2Settings {
    Ec2Settings {
        region: "us-east-1".into(),
        subnets: vec!["subnet-a".into(), "subnet-b".into()],
        security_groups: vec!["sg-1".into()],
        public_ip: false,
        images: BTreeMap::new(),
        instance_profile: Some("etl".into()),
        max_machines: 20,
        join_within: std::time::Duration::from_secs(300),
        tags: BTreeMap::from([("CostCenter".into(), "data".into())]),
        allow: Ec2Allow::default(),
        code_delivery: CodeDelivery::Grpc,
        bucket: None,
    }
}

fn options() -> Ec2Options {
    let agent = |name: &str| AgentBinary {
        sha256: Sha256::of(name.as_bytes()),
        from_supervisor: Some(format!("https://10.0.1.5:8443/agent/{name}")),
        from_store: None,
    };
    Ec2Options {
        installation: "prod-us".into(),
        settings: settings(),
        grpc_url: "https://10.0.1.5:7443".into(),
        ca: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".into(),
        agents: BTreeMap::from([
            (Architecture::X86_64, agent("x86_64")),
            (Architecture::Arm64, agent("arm64")),
        ]),
        python_index: None,
        environment: BTreeMap::new(),
        power_off: POWER_OFF.into(),
    }
}

fn request() -> MachineRequest {
    let mut request = MachineRequest::plain("t3.medium", Some(sample::polars()), 1);
    request.deadline = Some(Timestamp::from_micros(1_900_000_000_000_000));
    request.tags =
        BTreeMap::from([("data-runner:execution".into(), "e-1".into()), ("tier".into(), "gold".into())]);
    request
}

async fn provisioner(fake: &Fake) -> Ec2Provisioner {
    with_options(fake, options()).await
}

async fn with_options(fake: &Fake, options: Ec2Options) -> Ec2Provisioner {
    of_account(account(fake).await, options)
}

fn of_account(account: AwsAccount, options: Ec2Options) -> Ec2Provisioner {
    Ec2Provisioner::new(account, options, Arc::new(Tokens), Arc::new(MemoryBlobs::new()))
}

async fn candidate(provisioner: &Ec2Provisioner) -> Candidate {
    provisioner.plan(request()).await.unwrap().remove(0)
}

async fn launch(provisioner: &Ec2Provisioner, worker: WorkerId) -> LaunchAnswer {
    provisioner.launch(worker, candidate(provisioner).await).await
}

/// Tokens that can be told apart.
struct Tokens;

impl JoinAuthority for Tokens {
    fn token(&self, worker: WorkerId, candidate: &Candidate) -> String {
        Sha256::of(format!("{worker} {}", candidate.label).as_bytes()).to_string()
    }

    fn check(&self, _: WorkerId, _: &Candidate, _: &JoinRequest) -> Result<Sha256, JoinRefused> {
        Err(JoinRefused::Refused)
    }

    fn issue(&self, _: WorkerId, _: &JoinRequest, _: Timestamp) -> Result<Certificate, JoinRefused> {
        Err(JoinRefused::Refused)
    }
}
