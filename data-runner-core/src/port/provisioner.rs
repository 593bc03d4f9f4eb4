//! Machines.

use async_trait::async_trait;

use super::{Retry, Source};
use crate::id::{MachineId, WorkerId};
use crate::worker::{Candidate, Machine, MachineRequest};

/// Starts and ends machines. Core decides which; every call is idempotent, so that it can be repeated after a crash.
///
/// Contract:
/// - `plan` has no side effect and orders candidates by preference, the best first; an empty list never comes back,
///   `ProvisionError::Rejected` says why there is none;
/// - `launch` of the same worker with the same candidate never makes two machines, however often it is repeated and
///   whatever the answers were; every answer but `Launched`, `Adopt` and `Unknown` says that there is none;
/// - where it can see that an agent is down (`AgentDown`), the same launch revives it on the same machine;
/// - `terminate` accepts machines that are unknown or gone, ends no other machine than the one that is named, and its Ok
///   is no proof that the machine is gone;
/// - `list` is complete or an error; it shows every machine that bears our mark, also those that we forgot, with state
///   and reason, and none of another installation's; a machine that it shows as `Terminated` has no process of a job
///   left;
/// - messages do not change from one answer to the next while their reason is the same;
/// - `console` has no side effect; a machine that has written nothing, or is unknown, gives an empty text.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Provisioner: Send + Sync + 'static {
    /// The ways to get such a machine.
    async fn plan(&self, request: MachineRequest) -> Result<Vec<Candidate>, ProvisionError>;

    /// Starts a machine for `worker`.
    async fn launch(&self, worker: WorkerId, candidate: Candidate) -> LaunchAnswer;

    /// Ends the machine of `worker`; where `machine` names one, that one only.
    async fn terminate(&self, worker: WorkerId, machine: Option<MachineId>) -> Result<(), ProvisionError>;

    /// All machines that bear our mark.
    async fn list(&self) -> Result<Vec<Machine>, ProvisionError>;

    /// The end of what the machine wrote to its console, a few KiB at most: why it did not come up.
    async fn console(&self, machine: MachineId) -> Result<String, ProvisionError>;
}

/// What became of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchAnswer {
    /// The machine exists.
    Launched(MachineId),
    /// This candidate cannot be had; the next one may.
    FallBack {
        /// Why.
        message: String,
    },
    /// No candidate can be had at present; wait and say so.
    Hold {
        /// Why.
        message: String,
    },
    /// It will never work without a person.
    Fatal {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A machine of this worker may exist: find it in a listing.
    Adopt,
    /// No definite answer: repeat the same call.
    Unknown {
        /// What is known.
        message: String,
    },
}

/// Why the provisioner could not answer.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// No machine of that kind may or can be had.
    #[error("{message}")]
    Rejected {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// It cannot be reached, or is throttled.
    #[error("the provisioner failed")]
    Unavailable(#[source] Source),
}

impl ProvisionError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Rejected { .. } => Retry::Never,
            Self::Unavailable(_) => Retry::Later,
        }
    }
}
