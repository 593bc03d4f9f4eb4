//! A BlobStore in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use data_runner_core::id::Sha256;
use data_runner_core::port::{BlobError, BlobRef, BlobStore, ByteSource, Checked, Source};

/// Blobs in memory; clones are the same store, so that it outlives a supervisor of a test.
#[derive(Clone, Default)]
pub struct MemoryBlobs(Arc<Mutex<BTreeMap<Sha256, Bytes>>>);

impl MemoryBlobs {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `bytes` in the place of the blob `hash`, as a failing disk would.
    pub fn damage(&self, hash: &Sha256, bytes: Bytes) {
        self.blobs().insert(hash.clone(), bytes);
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Sha256, Bytes>> {
        self.0.lock().expect("no holder panics")
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn put(&self, bytes: Bytes) -> Result<Sha256, BlobError> {
        let hash = Sha256::of(&bytes);
        self.blobs().insert(hash.clone(), bytes);
        Ok(hash)
    }

    async fn get(&self, hash: &Sha256) -> Result<Bytes, BlobError> {
        let bytes = self.blobs().get(hash).cloned().ok_or_else(|| BlobError::NotFound(hash.clone()))?;
        if Sha256::of(&bytes) == *hash { Ok(bytes) } else { Err(BlobError::Corrupt(hash.clone())) }
    }

    async fn contains(&self, hash: &Sha256) -> Result<bool, BlobError> {
        Ok(self.blobs().contains_key(hash))
    }

    async fn put_pieces(&self, blob: BlobRef, content: Box<dyn ByteSource>) -> Result<(), BlobError> {
        let mut content = Checked::new(content, blob.clone());
        let mut bytes = BytesMut::new();
        while let Some(piece) = content.next().await? {
            bytes.extend_from_slice(&piece);
        }
        self.blobs().insert(blob.hash, bytes.freeze());
        Ok(())
    }

    async fn read(&self, hash: &Sha256) -> Result<Box<dyn ByteSource>, BlobError> {
        let bytes = self.blobs().get(hash).cloned().ok_or_else(|| BlobError::NotFound(hash.clone()))?;
        Ok(Box::new(Reader { whole: bytes.clone(), rest: bytes, hash: hash.clone() }))
    }

    async fn remove(&self, hash: &Sha256) -> Result<(), BlobError> {
        self.blobs().remove(hash);
        Ok(())
    }
}

/// Gives a blob in pieces, and says at the end what it was worth.
struct Reader {
    whole: Bytes,
    rest: Bytes,
    hash: Sha256,
}

#[async_trait]
impl ByteSource for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, Source> {
        if !self.rest.is_empty() {
            return Ok(Some(self.rest.split_to(self.rest.len().min(64 << 10))));
        }
        let good = Sha256::of(&self.whole) == self.hash;
        if good { Ok(None) } else { Err(BlobError::Corrupt(self.hash.clone()).into()) }
    }
}
