//! Who gets code: agents, for their own live attempts.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::id::{Claim, Sha256, WorkerId};
use data_runner_core::port::{BundleGate, BundleRefused};

use super::Shared;

/// What a transport asks when an agent wants code. Make it first, give it to the transport, then to the
/// [`SupervisorBuilder`](super::SupervisorBuilder); until the supervisor runs, everything is refused.
#[derive(Clone, Default)]
pub struct Gate {
    shared: Arc<OnceLock<Arc<Shared>>>,
}

impl Gate {
    pub(super) fn open(&self, shared: &Arc<Shared>) {
        // A gate is opened once; a second supervisor makes its own.
        self.shared.get_or_init(|| Arc::clone(shared));
    }
}

#[async_trait]
impl BundleGate for Gate {
    async fn bundle(&self, worker: WorkerId, claim: Claim, hash: &Sha256) -> Result<Bytes, BundleRefused> {
        let refused = BundleRefused::NotYours { worker, claim };
        let Some(shared) = self.shared.get() else {
            return Err(refused);
        };
        let execution = shared.catalog.execution(claim.attempt.execution).await;
        let execution = execution.map_err(|error| BundleRefused::Unavailable(Box::new(error)))?;
        let yours = execution.is_some_and(|execution| {
            let live = execution.state.live();
            execution.job.bundle.hash == *hash
                && live.is_some_and(|live| live.worker == worker && live.claim(execution.id) == claim)
        });
        if !yours {
            return Err(refused);
        }
        shared.blobs.get(hash).await.map_err(|error| BundleRefused::Unavailable(Box::new(error)))
    }
}
