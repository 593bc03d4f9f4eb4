//! Blobs: bundles of code, by their hash.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Retry, Source};
use crate::id::Sha256;

/// Keeps immutable bytes under their SHA-256.
///
/// Contract:
/// - `put` is durable when it returns, and putting the same bytes again changes nothing;
/// - `get` gives exactly the bytes of the hash, or `NotFound`; bytes that no longer have the hash are `Corrupt`;
/// - a `put` that was cut short leaves nothing that `get` would give;
/// - calls run in parallel.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Keeps `bytes` and returns their hash.
    async fn put(&self, bytes: Bytes) -> Result<Sha256, BlobError>;

    /// The bytes that have this hash.
    async fn get(&self, hash: &Sha256) -> Result<Bytes, BlobError>;

    /// Whether `get` would find them.
    async fn contains(&self, hash: &Sha256) -> Result<bool, BlobError>;
}

/// Where a blob can be fetched from by HTTP, without any other right. Whoever has it can, so it is a secret while it is
/// good.
#[derive(Clone, PartialEq, Eq)]
pub struct BlobLink {
    /// The address.
    pub url: String,
}

impl std::fmt::Debug for BlobLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobLink").finish_non_exhaustive()
    }
}

/// Gives out links to blobs, of a store that others can reach by itself.
///
/// Contract:
/// - a GET of the link gives exactly the bytes of the hash, for as long as it is good; whoever fetches checks the hash;
/// - whether the blob is there is not asked: the link of one that is not leads nowhere.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait BlobLinks: Send + Sync + 'static {
    /// A link that is good for so long.
    async fn link(&self, hash: &Sha256, valid_for: Duration) -> Result<BlobLink, BlobError>;
}

/// Why a blob could not be kept or had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No bytes of that hash are kept.
    #[error("no blob {0} is kept")]
    NotFound(Sha256),
    /// What is kept no longer has the hash.
    #[error("the blob {0} is damaged")]
    Corrupt(Sha256),
    /// The store cannot be reached, is full, or the like.
    #[error("the blob store failed")]
    Unavailable(#[source] Source),
}

impl BlobError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotFound(_) | Self::Corrupt(_) => Retry::Never,
            Self::Unavailable(_) => Retry::Later,
        }
    }
}
