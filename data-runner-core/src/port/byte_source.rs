//! Bytes that come in pieces, so that nobody has to hold all of them.

use async_trait::async_trait;
use bytes::Bytes;

use super::{BlobError, BlobRef, Source};
use crate::id::Hashing;

/// Gives bytes piece by piece.
///
/// Contract: no piece is empty; the end, in good order, is `None`; after that, and after an error, it is not asked again.
#[async_trait]
pub trait ByteSource: Send + 'static {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Source>;
}

/// Bytes that are all there already, as one piece.
#[derive(Debug, Clone, Default)]
pub struct OnePiece(Option<Bytes>);

impl From<Bytes> for OnePiece {
    fn from(bytes: Bytes) -> Self {
        Self(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

#[async_trait]
impl ByteSource for OnePiece {
    async fn next(&mut self) -> Result<Option<Bytes>, Source> {
        Ok(self.0.take())
    }
}

/// Bytes on their way into a store, checked as they pass.
pub struct Checked {
    content: Box<dyn ByteSource>,
    blob: BlobRef,
    hashing: Hashing,
}

impl Checked {
    /// `content`, which is to be `blob`.
    pub fn new(content: Box<dyn ByteSource>, blob: BlobRef) -> Self {
        Self { content, blob, hashing: Hashing::default() }
    }

    /// The next piece; `None` only if all that came is the blob.
    ///
    /// # Errors
    /// [`BlobError::Different`] as soon as more comes than the blob has, or at the end; [`BlobError::Broken`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let different = || BlobError::Different(self.blob.hash.clone());
        let Some(piece) = self.content.next().await.map_err(BlobError::Broken)? else {
            let whole = std::mem::take(&mut self.hashing).finish() == self.blob.hash;
            return if whole { Ok(None) } else { Err(different()) };
        };
        self.hashing.take(&piece);
        if self.hashing.bytes() > self.blob.bytes { Err(different()) } else { Ok(Some(piece)) }
    }
}
