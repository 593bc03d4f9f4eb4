//! What transports ask: who gets code, whose files are kept, and who may join.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use data_runner_core::artifact::ArtifactOffer;
use data_runner_core::event::{Answer, Request};
use data_runner_core::id::{Sha256, WorkerId};
use data_runner_core::port::{
    AgentGate, ArtifactRefused, BlobLink, BlobLinks, Bundle, BundleForm, BundleRefused, ByteSource,
    Certificate, JoinAuthority, JoinGate, JoinRefused, JoinRequest, WantedBundle,
};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::{Candidate, Purpose, Worker, WorkerState};

use super::handle::unexpected;
use super::{RequestError, Shared};

/// How much longer than its machine an agent's certificate is good: the machine's end may be late.
const AFTER_DEADLINE: Duration = Duration::from_secs(3600);
/// How long the certificate of a machine without a deadline is good.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// How long a link to code is good: an agent follows it at once.
const LINK_GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// What a transport asks. Make it first, give it to the transport, then to the
/// [`SupervisorBuilder`](super::SupervisorBuilder); until the supervisor runs, everything is refused.
#[derive(Clone, Default)]
pub struct Gate {
    shared: Arc<OnceLock<Arc<Shared>>>,
    authority: Option<Arc<dyn JoinAuthority>>,
    links: Option<Arc<dyn BlobLinks>>,
}

impl Gate {
    /// A gate where agents of launched machines can join, by tokens of this authority. At the default one nobody can.
    pub fn with_authority(authority: Arc<dyn JoinAuthority>) -> Self {
        Self { authority: Some(authority), ..Self::default() }
    }

    /// The same gate; agents that follow links get code by one. At the default one they get its bytes.
    #[must_use]
    pub fn giving_links(self, links: Arc<dyn BlobLinks>) -> Self {
        Self { links: Some(links), ..self }
    }

    /// A link for who takes one. Where none can be had, the bytes do.
    async fn link(&self, hash: &Sha256, form: BundleForm) -> Option<BlobLink> {
        let links = match form {
            BundleForm::Any => self.links.as_ref()?,
            BundleForm::Bytes => return None,
        };
        let link = links.link(hash, LINK_GOOD_FOR).await;
        link.inspect_err(|error| {
            tracing::warn!(%hash, error = error as &dyn std::error::Error, "there is no link to code; it is sent");
        })
        .ok()
    }

    pub(super) fn open(&self, shared: &Arc<Shared>) {
        // A gate is opened once; a second supervisor makes its own.
        self.shared.get_or_init(|| Arc::clone(shared));
    }
}

#[async_trait]
impl AgentGate for Gate {
    async fn bundle(&self, worker: WorkerId, wanted: WantedBundle) -> Result<Bundle, BundleRefused> {
        let WantedBundle { claim, hash, form } = wanted;
        let refused = BundleRefused::NotYours { worker, claim };
        let Some(shared) = self.shared.get() else {
            return Err(refused);
        };
        let execution = shared.catalog.execution(claim.attempt.execution).await;
        let execution = execution.map_err(|error| BundleRefused::Unavailable(Box::new(error)))?;
        let yours = execution.is_some_and(|execution| {
            let live = execution.state.live();
            execution.job.bundle.hash == hash
                && live.is_some_and(|live| live.worker == worker && live.claim(execution.id) == claim)
        });
        if !yours {
            return Err(refused);
        }
        if let Some(link) = self.link(&hash, form).await {
            return Ok(Bundle::Link(link));
        }
        let bytes = shared.blobs.get(&hash).await;
        bytes.map(Bundle::Bytes).map_err(|error| BundleRefused::Unavailable(Box::new(error)))
    }

    async fn keep_artifact(
        &self,
        worker: WorkerId,
        offer: ArtifactOffer,
        content: Box<dyn ByteSource>,
    ) -> Result<(), ArtifactRefused> {
        match self.shared.get() {
            Some(shared) => shared.keep_artifact(worker, offer, content).await,
            None => Err(ArtifactRefused::Unavailable("the supervisor does not run yet".into())),
        }
    }
}

#[async_trait]
impl JoinGate for Gate {
    async fn join(&self, worker: WorkerId, ask: JoinRequest) -> Result<Certificate, JoinRefused> {
        let Some(authority) = &self.authority else {
            return Err(refused(worker, "nobody can join here"));
        };
        let Some(shared) = self.shared.get() else {
            return Err(JoinRefused::Unavailable(Box::new(RequestError::Unavailable)));
        };
        let known = shared.catalog.worker(worker).await;
        let known = known.map_err(|error| JoinRefused::Unavailable(Box::new(error)))?;
        let Some(candidate) = known.as_ref().and_then(candidate_of) else {
            return Err(refused(worker, "it has no machine that may join"));
        };
        let key = authority
            .check(worker, candidate, &ask)
            .inspect_err(|error| tracing::warn!(%worker, %error, "an agent's token or key is wrong"))?;
        // The key is bound to the worker, durably, before anything is signed.
        match shared.ask(Request::Join { worker, key }).await {
            Ok(Answer::Worker(bound)) => authority.issue(worker, &ask, until(&bound, shared)),
            Ok(Answer::Rejected(_)) => {
                Err(refused(worker, "its time is over, or it joined with another key"))
            }
            other => unexpected(other).map_err(|error| JoinRefused::Unavailable(Box::new(error))),
        }
    }
}

/// The agent is not told why; people who read the log are.
fn refused(worker: WorkerId, why: &str) -> JoinRefused {
    tracing::warn!(%worker, why, "an agent may not join");
    JoinRefused::Refused
}

/// What was launched for a worker whose agent may still be joining.
fn candidate_of(worker: &Worker) -> Option<&Candidate> {
    match &worker.state {
        WorkerState::Launching { candidate, .. } | WorkerState::Booting { candidate, .. } => Some(candidate),
        WorkerState::Idle { candidate, .. } | WorkerState::Busy { candidate, .. } => candidate.as_ref(),
        WorkerState::Planning { .. }
        | WorkerState::Draining { .. }
        | WorkerState::Terminating { .. }
        | WorkerState::Terminated { .. } => None,
    }
}

fn until(worker: &Worker, shared: &Shared) -> Timestamp {
    let deadline = match &worker.purpose {
        Purpose::Workflow { request, .. } => request.deadline,
        Purpose::Any => None,
    };
    match deadline {
        Some(deadline) => deadline.after(AFTER_DEADLINE),
        None => shared.clock.now().wall.after(WITHOUT_DEADLINE),
    }
}
