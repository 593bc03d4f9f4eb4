//! How the agent of a machine that we launched proves who it is, once, and gets a certificate for what follows.

use async_trait::async_trait;

use super::{Retry, Source};
use crate::id::{Sha256, WorkerId};
use crate::time::Timestamp;
use crate::worker::Candidate;

/// What a transport asks when an agent wants to join: the engine answers.
///
/// Contract:
/// - a token is good for one worker and one launched candidate, for one public key, and until the machine's time to join
///   is over; everything else is refused, and the refusal does not say which of these it was;
/// - the same worker, token and key get an answer as often as they ask: a reply may be lost.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait JoinGate: Send + Sync + 'static {
    /// Lets the agent of `worker` join.
    async fn join(&self, worker: WorkerId, ask: JoinRequest) -> Result<Certificate, JoinRefused>;
}

/// Makes and checks tokens and certificates; holds the installation's keys.
///
/// Contract:
/// - `token` of the same worker and candidate is always the same, on every supervisor of the installation, and nobody
///   without the key can make it;
/// - `check` compares in constant time and gives the hash of the request's public key after its signature was checked;
/// - `issue` signs that public key for that worker and for nothing else.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
pub trait JoinAuthority: Send + Sync + 'static {
    /// The token that the machine of this candidate gets.
    fn token(&self, worker: WorkerId, candidate: &Candidate) -> String;

    /// Checks token and request; gives the hash of the public key.
    fn check(
        &self,
        worker: WorkerId,
        candidate: &Candidate,
        ask: &JoinRequest,
    ) -> Result<Sha256, JoinRefused>;

    /// A certificate for the request's public key, good until `until`.
    fn issue(
        &self,
        worker: WorkerId,
        ask: &JoinRequest,
        until: Timestamp,
    ) -> Result<Certificate, JoinRefused>;
}

/// What an agent that wants to join shows.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The token from its user-data.
    pub token: String,
    /// A certificate signing request (PKCS #10, DER). Its key never leaves the machine.
    pub signing_request: Vec<u8>,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest").finish_non_exhaustive()
    }
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate and those that vouch for it, PEM.
    pub chain: String,
    /// When it ends.
    pub until: Timestamp,
}

/// Why an agent may not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinRefused {
    /// The token, the key or the time is wrong.
    #[error("not welcome")]
    Refused,
    /// It could not be decided now.
    #[error("nobody can join at present")]
    Unavailable(#[source] Source),
}

impl JoinRefused {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused => Retry::Never,
            Self::Unavailable(_) => Retry::Later,
        }
    }
}
