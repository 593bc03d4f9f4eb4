//! Blobs as files.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::id::Sha256;
use data_runner_core::port::{BlobError, BlobStore};

use crate::durable;

/// A [`BlobStore`] in a folder: the blob `abcd…` is the file `ab/cd…`. Several may use one folder.
#[derive(Debug, Clone)]
pub struct FolderBlobs {
    root: Arc<PathBuf>,
}

impl FolderBlobs {
    /// A store in `root`, which is made with the first blob.
    pub fn new(root: PathBuf) -> Self {
        Self { root: Arc::new(root) }
    }

    fn path(&self, hash: &Sha256) -> PathBuf {
        let (shard, rest) = hash.as_str().split_at(2);
        self.root.join(shard).join(rest)
    }

    fn read(&self, hash: &Sha256) -> Result<Bytes, BlobError> {
        match std::fs::read(self.path(hash)) {
            Ok(bytes) if Sha256::of(&bytes) == *hash => Ok(bytes.into()),
            Ok(_) => Err(BlobError::Corrupt(hash.clone())),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(BlobError::NotFound(hash.clone())),
            Err(error) => Err(BlobError::Unavailable(error.into())),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<Sha256> {
        let hash = Sha256::of(bytes);
        let path = self.path(&hash);
        // What is there may be damaged, so that its name alone does not spare the writing.
        if self.read(&hash).is_err() {
            if let Some(folder) = path.parent() {
                durable::make_folder(folder)?;
            }
            durable::write(&path, bytes)?;
        }
        Ok(hash)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .unwrap_or_else(|error| Err(BlobError::Unavailable(error.into())))
    }
}

#[async_trait]
impl BlobStore for FolderBlobs {
    async fn put(&self, bytes: Bytes) -> Result<Sha256, BlobError> {
        self.blocking(move |store| store.write(&bytes).map_err(|error| BlobError::Unavailable(error.into())))
            .await
    }

    async fn get(&self, hash: &Sha256) -> Result<Bytes, BlobError> {
        let hash = hash.clone();
        self.blocking(move |store| store.read(&hash)).await
    }

    async fn contains(&self, hash: &Sha256) -> Result<bool, BlobError> {
        let path = self.path(hash);
        self.blocking(move |_| path.try_exists().map_err(|error| BlobError::Unavailable(error.into()))).await
    }
}
