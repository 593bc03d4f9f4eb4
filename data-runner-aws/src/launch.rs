//! One machine for one worker: the same request for the same candidate, however often it is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_ec2::operation::run_instances::builders::RunInstancesInputBuilder;
use data_runner_core::id::{MachineId, WorkerId};
use data_runner_core::port::{BlobError, BlobStore, JoinAuthority, LaunchAnswer};
use data_runner_core::worker::Candidate;
use data_runner_core::workflow::BundleRef;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;

use crate::answer::Refusal;
use crate::call::{AwsAccount, CallError, in_words};
use crate::options::Ec2Options;
use crate::pinned::{PinnedRequest, client_token};
use crate::user_data::{AgentProgram, AgentSource, EmbeddedBundle, TrustedBy, UserData, UserDataError};
use crate::{request, tags};

/// Launches machines. A launch that is asked for again while it waits for the throttle, or is under way, is the same one.
pub(crate) struct Launcher {
    account: AwsAccount,
    options: Arc<Ec2Options>,
    authority: Arc<dyn JoinAuthority>,
    blobs: Arc<dyn BlobStore>,
    under_way: Mutex<BTreeMap<String, Launching>>,
    /// When a launch was refused for its instance profile first.
    without_profile: Mutex<BTreeMap<String, Instant>>,
}

type Launching = Shared<BoxFuture<'static, LaunchAnswer>>;

impl Launcher {
    pub fn new(
        account: AwsAccount,
        options: Arc<Ec2Options>,
        authority: Arc<dyn JoinAuthority>,
        blobs: Arc<dyn BlobStore>,
    ) -> Arc<Self> {
        let (under_way, without_profile) = (Mutex::default(), Mutex::default());
        Arc::new(Self { account, options, authority, blobs, under_way, without_profile })
    }

    pub async fn launch(self: &Arc<Self>, worker: WorkerId, candidate: Candidate) -> LaunchAnswer {
        let pinned = match PinnedRequest::of(&candidate) {
            Ok(pinned) => pinned,
            Err(error) => return unreadable(&error),
        };
        let token = client_token(&self.options.installation, worker, &candidate, &pinned.subnet);
        let launching = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = || self.begin(token.clone(), worker, candidate, pinned);
            under_way.entry(token.clone()).or_insert_with(begin).clone()
        };
        launching.await
    }

    /// A task of its own: whoever gives up leaves the others their answer.
    fn begin(
        self: &Arc<Self>,
        token: String,
        worker: WorkerId,
        candidate: Candidate,
        pinned: PinnedRequest,
    ) -> Launching {
        let this = Arc::clone(self);
        async move {
            let (launcher, own) = (Arc::clone(&this), token.clone());
            let launched =
                tokio::spawn(async move { launcher.ask(&own, worker, &candidate, &pinned).await }).await;
            this.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
            launched.unwrap_or_else(|error| LaunchAnswer::Unknown {
                message: format!("the launch broke off: {error}"),
            })
        }
        .boxed()
        .shared()
    }

    async fn ask(
        &self,
        token: &str,
        worker: WorkerId,
        candidate: &Candidate,
        pinned: &PinnedRequest,
    ) -> LaunchAnswer {
        let request = match self.request(worker, candidate, pinned).await {
            Ok(request) => request.client_token(token),
            Err(answer) => return answer,
        };
        self.account.throttle.run_instances.take().await;
        let answer = match request.send_with(&self.account.ec2_once).await {
            Ok(made) => launched(made.instances().first().and_then(|instance| instance.instance_id())),
            Err(error) => self.refused(token, CallError::of("RunInstances", error)),
        };
        tracing::info!(%worker, candidate = candidate.label, ?answer, "launch answered");
        answer
    }

    /// The request, but for its token.
    pub async fn request(
        &self,
        worker: WorkerId,
        candidate: &Candidate,
        pinned: &PinnedRequest,
    ) -> Result<RunInstancesInputBuilder, LaunchAnswer> {
        let user_data = self.user_data(worker, candidate, pinned).await?;
        let tags = tags::of_worker(&self.options.installation, worker, pinned.deadline, &pinned.tags);
        Ok(request::run_instances(pinned, candidate, &tags, &user_data))
    }

    fn refused(&self, token: &str, error: CallError) -> LaunchAnswer {
        match error {
            CallError::Refused { status, code, message, .. } => {
                let refusal = Refusal { status, code, message };
                refusal.answer(self.refused_for(token, refusal.names_a_profile()))
            }
            // Also when it was not asked now: an earlier try may have made a machine.
            CallError::NotAsked { .. } | CallError::NoAnswer { .. } => {
                LaunchAnswer::Unknown { message: in_words(&error) }
            }
        }
    }

    /// For how long this launch has been refused for its instance profile.
    fn refused_for(&self, token: &str, names_a_profile: bool) -> Duration {
        let mut without = self.without_profile.lock().unwrap_or_else(PoisonError::into_inner);
        if names_a_profile {
            let first = *without.entry(token.to_owned()).or_insert_with(Instant::now);
            return first.elapsed();
        }
        without.remove(token);
        Duration::ZERO
    }

    async fn user_data(
        &self,
        worker: WorkerId,
        candidate: &Candidate,
        pinned: &PinnedRequest,
    ) -> Result<Vec<u8>, LaunchAnswer> {
        let bundle = match &pinned.bundle {
            Some(bundle) => self.bundle(bundle).await?,
            None => None,
        };
        let mut user_data = UserData {
            worker,
            grpc_url: pinned.grpc_url.clone(),
            ca: self.options.ca.clone(),
            token: self.authority.token(worker, candidate),
            agent: program(pinned),
            deadline: pinned.deadline,
            region: self.account.region.clone(),
            slots: pinned.slots,
            python_index: pinned.python_index(),
            baked: pinned.baked,
            bake: None,
            bundle,
            environment: pinned.environment.clone(),
            power_off: pinned.power_off.clone(),
        };
        let mut rendered = user_data.render();
        if user_data.bundle.is_some() && matches!(rendered, Err(UserDataError::TooLarge { .. })) {
            // It does not fit; the agent fetches it over its own connection.
            user_data.bundle = None;
            rendered = user_data.render();
        }
        rendered.map_err(|error| LaunchAnswer::Fatal {
            message: in_words(&error),
            hint: Some("shorten what `ec2` and `python` of supervisor.yaml say".to_owned()),
        })
    }

    async fn bundle(&self, bundle: &BundleRef) -> Result<Option<EmbeddedBundle>, LaunchAnswer> {
        match self.blobs.get(&bundle.hash).await {
            Ok(bytes) => Ok(Some(EmbeddedBundle { sha256: bundle.hash.clone(), bytes: bytes.to_vec() })),
            // The agent asks for it over its connection, and is told what is wrong.
            Err(BlobError::NotFound(_) | BlobError::Corrupt(_)) => Ok(None),
            Err(error @ (BlobError::Unavailable(_) | BlobError::Different(_) | BlobError::Broken(_))) => {
                Err(LaunchAnswer::Unknown { message: in_words(&error) })
            }
        }
    }
}

fn launched(instance: Option<&str>) -> LaunchAnswer {
    match instance.map(str::parse::<MachineId>) {
        Some(Ok(machine)) => LaunchAnswer::Launched(machine),
        // It said yes and not what it made; the listing finds it by its tag.
        Some(Err(_)) | None => LaunchAnswer::Adopt,
    }
}

fn unreadable(error: &serde_json::Error) -> LaunchAnswer {
    LaunchAnswer::Fatal {
        message: format!("what was planned cannot be read: {error}"),
        hint: Some("it was planned by another version of the supervisor: execute again".to_owned()),
    }
}

/// The agent as a machine fetches it.
pub(crate) fn program(pinned: &PinnedRequest) -> AgentProgram {
    let source = |url: &Option<String>, trusted_by| {
        url.as_ref().map(|url| AgentSource { url: url.clone(), trusted_by })
    };
    let sources = [
        source(&pinned.agent.from_supervisor, TrustedBy::Supervisor),
        source(&pinned.agent.from_store, TrustedBy::Image),
    ];
    AgentProgram {
        architecture: pinned.architecture,
        sha256: pinned.agent.sha256.clone(),
        sources: sources.into_iter().flatten().collect(),
    }
}
