//! Who calls, as far as the connection tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use data_runner_core::id::WorkerId;
use tonic::{Request, Status};

use crate::limits::JOINS_PER_CONNECTION;

/// One connection, as its calls know it.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    who: Who,
    joins: Arc<AtomicU32>,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Somebody on a port that asks nobody.
    Anybody,
    /// Somebody with TLS and without a certificate of an agent.
    Stranger,
    /// The holder of the certificate of this worker's agent.
    Agent(WorkerId),
}

impl Caller {
    pub(super) fn new(who: Who) -> Self {
        Self { who, joins: Arc::default() }
    }

    /// The caller of a request. The server puts it there; without it nobody is let in.
    pub(super) fn of<T>(request: &Request<T>) -> Result<&Self, Status> {
        request.extensions().get().ok_or_else(|| Status::internal("the connection is not known"))
    }

    /// Refuses strangers.
    pub(super) fn known(&self) -> Result<(), Status> {
        match self.who {
            Who::Anybody | Who::Agent(_) => Ok(()),
            Who::Stranger => {
                Err(Status::unauthenticated("a certificate of this installation is needed; join first"))
            }
        }
    }

    /// Refuses everybody who may not speak for this worker.
    pub(super) fn speaks_for(&self, worker: WorkerId) -> Result<(), Status> {
        self.known()?;
        match self.who {
            Who::Agent(own) if own != worker => {
                tracing::warn!(%own, %worker, "an agent asked for what is another worker's");
                Err(Status::permission_denied("the certificate is another worker's"))
            }
            Who::Anybody | Who::Stranger | Who::Agent(_) => Ok(()),
        }
    }

    /// Counts one wish to join; refuses when there were too many on this connection.
    pub(super) fn count_join(&self) -> Result<(), Status> {
        if self.joins.fetch_add(1, Ordering::Relaxed) < JOINS_PER_CONNECTION {
            return Ok(());
        }
        Err(Status::resource_exhausted("asked too often on one connection"))
    }
}

/// Stands before the service for agents, so that nothing of a stranger's message is read.
pub(super) fn known_only(request: Request<()>) -> Result<Request<()>, Status> {
    Caller::of(&request)?.known()?;
    Ok(request)
}
