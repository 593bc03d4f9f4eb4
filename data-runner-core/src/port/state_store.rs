//! The state: everything that a decision can change, in one atomic transaction a batch.

use async_trait::async_trait;

use super::{Retry, Source};
use crate::event::{Change, Snapshot};
use crate::id::{CommitSequence, Epoch};
use crate::time::Timestamp;

/// Keeps what the Orchestrator decided.
///
/// Contract:
/// - `acquire` makes the caller the one supervisor of this store and gives it an epoch that is higher than any before;
///   while another process holds it, it is refused with `Held`;
/// - `load` gives everything that is not terminal, as the last commit left it, with the log offsets that are stored;
/// - `commit` applies all changes in order, or none, and is durable when it returns; each commit's sequence is one
///   higher than the one before; an empty list commits nothing and returns the last sequence;
/// - `commit` under an epoch that is no longer the highest is `Fenced` and changes nothing;
/// - after an error of `commit` the caller does not know whether it happened, and loads again.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait StateStore: Send + Sync + 'static {
    /// Takes the store.
    async fn acquire(&self, at: Timestamp) -> Result<Epoch, StateError>;

    /// Everything that is active.
    async fn load(&self, epoch: Epoch) -> Result<Snapshot, StateError>;

    /// Applies `changes` in one transaction.
    async fn commit(
        &self,
        epoch: Epoch,
        at: Timestamp,
        changes: Vec<Change>,
    ) -> Result<CommitSequence, StateError>;
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another supervisor holds the store.
    #[error("another supervisor holds this state: {holder}")]
    Held {
        /// What is known of it.
        holder: String,
    },
    /// Another supervisor took the store since.
    #[error("another supervisor has taken this state since (epoch {current}, ours was {ours})")]
    Fenced {
        /// The epoch of the call.
        ours: Epoch,
        /// The highest epoch.
        current: Epoch,
    },
    /// The store was written by a newer version.
    #[error(
        "this state was written by a newer version (schema {found}, this one knows up to {known}): {hint}"
    )]
    TooNew {
        /// The schema version that was found.
        found: i64,
        /// The newest that this version knows.
        known: i64,
        /// What to do.
        hint: String,
    },
    /// What is stored cannot be understood.
    #[error("the stored {what} cannot be read")]
    Corrupt {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// The disk is full.
    #[error("the disk that holds the state is full")]
    DiskFull(#[source] Source),
    /// Anything else that may pass.
    #[error("the state store failed")]
    Unavailable(#[source] Source),
}

impl StateError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::DiskFull(_) | Self::Unavailable(_) => Retry::Later,
            Self::Held { .. } | Self::Fenced { .. } | Self::TooNew { .. } | Self::Corrupt { .. } => {
                Retry::Never
            }
        }
    }
}
