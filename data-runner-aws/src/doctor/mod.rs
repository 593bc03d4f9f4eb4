//! Whether this installation can run machines in this account, and if not, what to do. Nothing is started or changed:
//! rights are proved by dry runs.

mod network;
mod quota;
mod rights;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_ec2::config::Intercept;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::{DateTime, Format};
use bytes::Bytes;
use data_runner_core::id::{Sha256, WorkerId};
use data_runner_core::port::{
    BlobError, BlobRef, BlobStore, ByteSource, Certificate, Checkup, Finding, JoinAuthority, JoinRefused,
    JoinRequest, ProvisionError, Verdict,
};
use data_runner_core::settings::Ec2Settings;
use data_runner_core::time::Timestamp;
use data_runner_core::worker::{Candidate, MachineRequest};
use data_runner_core::workflow::{Architecture, InstanceSize};
use tokio::sync::watch;

use crate::call::{AwsAccount, CallError, in_words};
use crate::launch::Launcher;
use crate::list::Fleet;
use crate::options::{AgentBinary, Ec2Options};
use crate::plan::Planner;

/// Beyond this, AWS refuses what is signed (5 minutes), and certificates and deadlines disagree.
const TOLERATED_SKEW: Duration = Duration::from_secs(30);
/// The size that is tried if it is allowed.
const USUAL_SIZE: &str = "t3.medium";

/// Looks at an account as an [`Ec2Provisioner`](crate::Ec2Provisioner) of these options would use it.
pub struct Ec2Doctor {
    account: AwsAccount,
    options: Arc<Ec2Options>,
    planner: Planner,
    launcher: Arc<Launcher>,
    fleet: Fleet,
    public_url: String,
}

impl Ec2Doctor {
    /// A doctor for the machines of an installation, which would dial `public_url`.
    pub fn new(account: AwsAccount, installation: String, settings: Ec2Settings, public_url: String) -> Self {
        let options = Arc::new(stand_in(installation, settings));
        Self {
            planner: Planner::new(account.clone(), Arc::clone(&options)),
            launcher: Launcher::new(
                account.clone(),
                Arc::clone(&options),
                Arc::new(Nothing),
                Arc::new(Nothing),
            ),
            fleet: Fleet::new(account.clone(), &options.installation),
            account,
            options,
            public_url,
        }
    }

    /// Everything that was found, in the order in which it should be mended.
    async fn examine(&self) -> Vec<Finding> {
        let mut findings = self.identity().await;
        if findings.iter().any(|finding| finding.verdict == Verdict::Bad) {
            // Whoever is not let in learns nothing more.
            findings.extend(network::supervisor(&self.public_url).await);
            return findings;
        }
        findings.extend(network::subnets_and_groups(&self.account, &self.options.settings).await);
        findings.extend(rights::reads(&self.account).await);
        let (image, candidate) = self.candidate().await;
        findings.push(image);
        if let Some(candidate) = candidate {
            findings.extend(rights::launches(&self.account, &self.launcher, &candidate).await);
        }
        findings.extend(rights::on_machines(&self.account, &self.fleet).await);
        findings.push(rights::prices(&self.account).await);
        findings.extend(quota::vcpus(&self.account, self.options.settings.max_machines).await);
        findings.extend(network::supervisor(&self.public_url).await);
        findings
    }

    /// Who we are for AWS, and what its clock says.
    async fn identity(&self) -> Vec<Finding> {
        let (date, said) = watch::channel(None);
        let asked = aws_sdk_sts::Client::new(&self.account.config)
            .get_caller_identity()
            .customize()
            .interceptor(ReadDate { date })
            .send()
            .await;
        let clock = said.borrow().map(|theirs| clock(SystemTime::now(), theirs));
        let identity = match asked.map_err(|error| CallError::of("GetCallerIdentity", error)) {
            Ok(known) => Finding::good("credentials", known.arn().unwrap_or("they are accepted")),
            Err(error) => Finding::bad(
                "credentials",
                in_words(&error),
                "give the supervisor a role, or credentials in its environment or profile, and look at its region",
            ),
        };
        [Some(identity), clock].into_iter().flatten().collect()
    }

    /// What would be launched: its image, agent, subnets and rights to read them.
    async fn candidate(&self) -> (Finding, Option<Candidate>) {
        let permitted =
            |size: &&str| self.options.settings.permits(&MachineRequest::plain(*size, None, 1)).is_ok();
        let Some(size) = [USUAL_SIZE].into_iter().chain(InstanceSize::names()).find(permitted) else {
            let what = "ec2.allow.instance_sizes allows no size that is known";
            return (Finding::bad("sizes", what, "allow one, such as `t3.*`"), None);
        };
        let mut request = MachineRequest::plain(size, None, 1);
        request.deadline = Some(Timestamp::from_micros(in_an_hour()));
        match self.planner.plan(request).await {
            Ok(candidates) => {
                let image = candidates[0].request["image"].as_str().unwrap_or_default().to_owned();
                let found = format!("{} from the image {image}", candidates[0].label);
                (Finding::good("image", found), candidates.into_iter().next())
            }
            Err(ProvisionError::Rejected { message, hint }) => {
                (Finding::bad("image", message, hint.unwrap_or_default()), None)
            }
            Err(error @ ProvisionError::Unavailable(_)) => {
                let help = "allow ssm:GetParameter on the public image parameters, and ec2:DescribeImages";
                (Finding::bad("image", in_words(&error), help), None)
            }
        }
    }
}

#[async_trait]
impl Checkup for Ec2Doctor {
    async fn check(&self) -> Vec<Finding> {
        self.examine().await
    }
}

/// Options whose requests have the real ones' shape. What a supervisor alone knows is left out of them: nothing is
/// launched.
fn stand_in(installation: String, settings: Ec2Settings) -> Ec2Options {
    let agent = AgentBinary { sha256: Sha256::of(b""), from_supervisor: None, from_store: None };
    Ec2Options {
        installation,
        settings,
        grpc_url: String::new(),
        ca: String::new(),
        agents: [Architecture::X86_64, Architecture::Arm64].map(|of| (of, agent.clone())).into(),
        python_index: None,
        environment: BTreeMap::new(),
        power_off: crate::POWER_OFF.to_owned(),
    }
}

/// Lets nobody join and keeps nothing.
struct Nothing;

impl JoinAuthority for Nothing {
    fn token(&self, _: WorkerId, _: &Candidate) -> String {
        String::new()
    }

    fn check(&self, _: WorkerId, _: &Candidate, _: &JoinRequest) -> Result<Sha256, JoinRefused> {
        Err(JoinRefused::Refused)
    }

    fn issue(&self, _: WorkerId, _: &JoinRequest, _: Timestamp) -> Result<Certificate, JoinRefused> {
        Err(JoinRefused::Refused)
    }
}

#[async_trait]
impl BlobStore for Nothing {
    async fn put(&self, _: Bytes) -> Result<Sha256, BlobError> {
        Err(BlobError::Unavailable("a doctor keeps nothing".into()))
    }

    async fn get(&self, hash: &Sha256) -> Result<Bytes, BlobError> {
        Err(BlobError::NotFound(hash.clone()))
    }

    async fn contains(&self, _: &Sha256) -> Result<bool, BlobError> {
        Ok(false)
    }

    async fn put_pieces(&self, _: BlobRef, _: Box<dyn ByteSource>) -> Result<(), BlobError> {
        Err(BlobError::Unavailable("a doctor keeps nothing".into()))
    }

    async fn read(&self, hash: &Sha256) -> Result<Box<dyn ByteSource>, BlobError> {
        Err(BlobError::NotFound(hash.clone()))
    }

    async fn remove(&self, _: &Sha256) -> Result<(), BlobError> {
        Ok(())
    }
}

/// A worker that never was, for requests that launch nothing.
fn nobody() -> WorkerId {
    WorkerId::from_uuid(uuid::Uuid::nil())
}

fn in_an_hour() -> i64 {
    let hour = SystemTime::now() + Duration::from_secs(3600);
    let since = hour.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn clock(ours: SystemTime, theirs: SystemTime) -> Finding {
    let apart = ours.duration_since(theirs).unwrap_or_else(|later| later.duration());
    let found = format!("{} s apart from that of AWS", apart.as_secs());
    if apart <= TOLERATED_SKEW {
        return Finding::good("clock", found);
    }
    Finding::bad("clock", found, "set this machine's clock, for example with chrony")
}

/// Takes the date from the header of an answer, also of one that refuses.
#[derive(Debug)]
struct ReadDate {
    date: watch::Sender<Option<SystemTime>>,
}

impl Intercept for ReadDate {
    fn name(&self) -> &'static str {
        "ReadDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        self.date.send_replace(date.and_then(|date| SystemTime::try_from(date).ok()));
        Ok(())
    }
}

/// The same machine from spare capacity.
fn as_spot(candidate: &Candidate) -> Candidate {
    Candidate { market: data_runner_core::cost::Market::Spot, ..candidate.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_differ_by_half_a_minute_in_both_directions() {
        let theirs = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (apart, verdict) in [(30, Verdict::Good), (31, Verdict::Bad)] {
            let apart = Duration::from_secs(apart);
            assert_eq!(clock(theirs + apart, theirs).verdict, verdict);
            assert_eq!(clock(theirs - apart, theirs).verdict, verdict);
        }
    }
}
