//! Blobs, by their hash: bundles of code, and, in a store of their own, files that jobs left.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ByteSource, Retry, Source};
use crate::id::Sha256;

/// Keeps immutable bytes under their SHA-256.
///
/// Contract:
/// - `put` is durable when it returns, and putting the same bytes again changes nothing;
/// - `get` gives exactly the bytes of the hash, or `NotFound`; bytes that no longer have the hash are `Corrupt`;
/// - `put_pieces` and `read` do the same without ever holding all of the bytes; content that is not the blob, or breaks
///   off, is an error and leaves what was there as it was; what is read of damaged bytes ends in an error, not in good
///   order;
/// - a put that was cut short leaves nothing that `get` would give;
/// - what was removed is not found any more; removing what is not there is no error;
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

    /// Keeps what comes of `content`, which must be the bytes that `blob` says.
    async fn put_pieces(&self, blob: BlobRef, content: Box<dyn ByteSource>) -> Result<(), BlobError>;

    /// The bytes that have this hash, piece by piece. Their errors are [`BlobError`]s.
    async fn read(&self, hash: &Sha256) -> Result<Box<dyn ByteSource>, BlobError>;

    /// Forgets them.
    async fn remove(&self, hash: &Sha256) -> Result<(), BlobError>;
}

/// Which bytes, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobRef {
    /// Their hash.
    pub hash: Sha256,
    /// How many they are.
    pub bytes: u64,
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
    /// What came is not what was announced.
    #[error("what came is not the blob {0}")]
    Different(Sha256),
    /// What was to be kept did not come to its end.
    #[error("what was to be kept broke off")]
    Broken(#[source] Source),
    /// The store cannot be reached, is full, or the like.
    #[error("the blob store failed")]
    Unavailable(#[source] Source),
}

impl BlobError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotFound(_) | Self::Corrupt(_) | Self::Different(_) => Retry::Never,
            Self::Broken(_) | Self::Unavailable(_) => Retry::Later,
        }
    }
}
