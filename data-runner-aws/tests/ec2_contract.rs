//! Machines of EC2 keep the contract of a provisioner: those of the endpoint in `AWS_ENDPOINT_URL` if there is one, and
//! else those of a mock that these tests start. An endpoint needs a default network in its region, and its machines cost
//! what they cost.
//!
//! An imitation of EC2 may lack what the contract is about. `DATA_RUNNER_ENDPOINT_LACKS=idempotent-launches` says so: the
//! clauses that need it are skipped, and named at the end of the run.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_ec2::types::Filter;
use data_runner_aws::{AgentBinary, AwsAccount, Ec2Options, Ec2Provisioner};
use data_runner_aws_light::Endpoints;
use data_runner_core::id::{Sha256, WorkerId};
use data_runner_core::port::{Certificate, JoinAuthority, JoinRefused, JoinRequest, Provisioner};
use data_runner_core::settings::{CodeDelivery, Ec2Allow, Ec2Settings};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::{Candidate, MachineRequest};
use data_runner_core::workflow::Architecture;
use data_runner_testkit::contract::provisioner::{LossyFixture, ProvisionerFixture};
use data_runner_testkit::memory::blob_store::MemoryBlobs;
use data_runner_tests::cloud::{Fault, Mock, REGION};

struct Fixture {
    config: SdkConfig,
    endpoint: String,
    region: String,
    /// Another one for each test: they run side by side in one account.
    installation: String,
    subnets: Vec<String>,
    security_group: String,
    account: AwsAccount,
    /// `None`: somebody else's endpoint.
    mock: Option<Mock>,
}

/// What the endpoint in `AWS_ENDPOINT_URL` lacks, for those who know it. Nobody else: every clause runs.
const LACKS: &str = "DATA_RUNNER_ENDPOINT_LACKS";

impl Fixture {
    /// `None` where there is neither an endpoint nor a mock; then it said why.
    async fn start() -> Option<Self> {
        match std::env::var("AWS_ENDPOINT_URL").ok().filter(|endpoint| !endpoint.is_empty()) {
            Some(endpoint) => Some(Self::at(endpoint, None).await),
            None => Self::on_a_mock().await,
        }
    }

    async fn on_a_mock() -> Option<Self> {
        match Mock::start().await {
            Ok(mock) => Some(Self::at(mock.endpoint(), Some(mock)).await),
            Err(skipped) => {
                skipped.say();
                None
            }
        }
    }

    async fn at(endpoint: String, mock: Option<Mock>) -> Self {
        static TESTS: AtomicU64 = AtomicU64::new(0);
        let region = std::env::var("AWS_REGION").unwrap_or_else(|_| REGION.to_owned());
        let mut config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new(region.clone()))
            .endpoint_url(&endpoint);
        if mock.is_some() {
            config =
                config.credentials_provider(Credentials::new("AKIATEST", "a secret", None, None, "test"));
        }
        let config = config.load().await;
        let (subnets, security_group) = network(&config).await;
        let number = TESTS.fetch_add(1, Ordering::Relaxed);
        let installation = format!("contract-{}-{number}", std::process::id());
        let account = account(&config, &region, &endpoint);
        Self { config, endpoint, region, installation, subnets, security_group, account, mock }
    }

    fn of(&self, account: AwsAccount, installation: &str) -> Arc<dyn Provisioner> {
        let settings = Ec2Settings {
            region: self.region.clone(),
            subnets: self.subnets.clone(),
            security_groups: vec![self.security_group.clone()],
            public_ip: false,
            images: BTreeMap::new(),
            instance_profile: None,
            max_machines: 20,
            join_within: std::time::Duration::from_secs(300),
            tags: BTreeMap::new(),
            allow: Ec2Allow::default(),
            code_delivery: CodeDelivery::Grpc,
            bucket: None,
        };
        let url = "https://supervisor.example:8443/agent".to_owned();
        let agent = AgentBinary { sha256: Sha256::of(b""), from_supervisor: Some(url), from_store: None };
        let options = Ec2Options {
            installation: installation.to_owned(),
            settings,
            grpc_url: "https://supervisor.example:7443".into(),
            ca: "nobody's".into(),
            agents: BTreeMap::from([(Architecture::X86_64, agent)]),
            python_index: None,
            environment: BTreeMap::new(),
            power_off: data_runner_aws::POWER_OFF.into(),
        };
        Arc::new(Ec2Provisioner::new(account, options, Arc::new(Nobody), Arc::new(MemoryBlobs::new())))
    }
}

fn account(config: &SdkConfig, region: &str, endpoint: &str) -> AwsAccount {
    let at = Endpoints { all: Some(endpoint.to_owned()), ..Endpoints::default() };
    AwsAccount::new(config, region, at)
}

/// The subnets of the region's default network, and its security group.
async fn network(config: &SdkConfig) -> (Vec<String>, String) {
    let ec2 = aws_sdk_ec2::Client::new(config);
    let default = Filter::builder().name("default-for-az").values("true").build();
    let shown = ec2.describe_subnets().filters(default).send().await.unwrap();
    let vpc = shown.subnets()[0].vpc_id().unwrap().to_owned();
    let subnets = shown.subnets().iter().map(|subnet| subnet.subnet_id().unwrap().to_owned()).collect();
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let groups = ec2
        .describe_security_groups()
        .filters(filter("vpc-id", &vpc))
        .filters(filter("group-name", "default"))
        .send()
        .await
        .unwrap();
    (subnets, groups.security_groups()[0].group_id().unwrap().to_owned())
}

#[async_trait]
impl ProvisionerFixture for Fixture {
    fn provisioner(&self) -> Arc<dyn Provisioner> {
        self.of(self.account.clone(), &self.installation)
    }

    fn restarted(&self) -> Arc<dyn Provisioner> {
        self.of(account(&self.config, &self.region, &self.endpoint), &self.installation)
    }

    fn foreign(&self) -> Arc<dyn Provisioner> {
        self.of(self.account.clone(), &format!("{}-other", self.installation))
    }

    fn request(&self) -> MachineRequest {
        let mut request = MachineRequest::plain("t3.micro", None, 1);
        request.deadline = Some(Timestamp::from_micros(4_000_000_000_000_000));
        request
    }

    /// One runs on each machine, as long as that is not on its way out.
    async fn agents(&self, worker: WorkerId) -> usize {
        let ec2 = aws_sdk_ec2::Client::new(&self.config);
        let filter = |name: &str, values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            Filter::builder().name(name).set_values(Some(values)).build()
        };
        let shown = ec2
            .describe_instances()
            .filters(filter("tag:data-runner:installation", &[&self.installation]))
            .filters(filter("tag:data-runner:worker", &[&worker.to_string()]))
            .filters(filter("instance-state-name", &["pending", "running"]))
            .send()
            .await
            .unwrap();
        shown.reservations().iter().map(|reservation| reservation.instances().len()).sum()
    }

    fn forgets_launches(&self) -> Option<String> {
        let lacks = std::env::var(LACKS).ok().filter(|lacks| !lacks.is_empty() && self.mock.is_none())?;
        assert_eq!(lacks, "idempotent-launches", "{LACKS}");
        Some(format!("{} has no idempotent launches, says {LACKS}", self.endpoint))
    }
}

#[async_trait]
impl LossyFixture for Fixture {
    async fn lose_next_answer(&self) {
        let mock = self.mock.as_ref().unwrap();
        mock.faults(&[Fault::lost_reply("RunInstances")]).await;
    }
}

/// Nobody joins here.
struct Nobody;

impl JoinAuthority for Nobody {
    fn token(&self, worker: WorkerId, _: &Candidate) -> String {
        worker.to_string()
    }

    fn check(&self, _: WorkerId, _: &Candidate, _: &JoinRequest) -> Result<Sha256, JoinRefused> {
        Err(JoinRefused::Refused)
    }

    fn issue(&self, _: WorkerId, _: &JoinRequest, _: Timestamp) -> Result<Certificate, JoinRefused> {
        Err(JoinRefused::Refused)
    }
}

/// What the expression gives, or the end of the test.
macro_rules! or_skip {
    ($fixture:expr) => {
        match $fixture.await {
            Some(fixture) => fixture,
            None => return,
        }
    };
}

data_runner_testkit::provisioner_contract!(or_skip!(Fixture::start()));
data_runner_testkit::provisioner_ambiguity_contract!(or_skip!(Fixture::on_a_mock()));
