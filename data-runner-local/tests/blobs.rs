//! Blobs in a folder keep the contract.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use data_runner_core::id::Sha256;
use data_runner_core::port::{BlobError, BlobStore};
use data_runner_local::FolderBlobs;
use data_runner_testkit::contract::blob_store::BlobFixture;
use tempfile::TempDir;

struct Fixture(TempDir);

impl Fixture {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("not/made/yet")
    }

    fn file(&self, hash: &Sha256) -> PathBuf {
        self.root().join(&hash.as_str()[..2]).join(&hash.as_str()[2..])
    }
}

impl BlobFixture for Fixture {
    fn store(&self) -> Arc<dyn BlobStore> {
        Arc::new(FolderBlobs::new(self.root()))
    }

    fn reopened(&self) -> Arc<dyn BlobStore> {
        self.store()
    }

    fn damage(&self, hash: &Sha256, bytes: &[u8]) {
        std::fs::write(self.file(hash), bytes).unwrap();
    }
}

data_runner_testkit::blob_store_contract!(Fixture::new());

#[tokio::test]
async fn a_put_that_was_cut_short_leaves_nothing_that_is_given() {
    let it = Fixture::new();
    let (store, bytes) = (it.store(), Bytes::from_static(b"whole"));
    let hash = store.put(bytes.clone()).await.unwrap();
    // What a crash leaves: a part, under the name that is used before the whole is there.
    let part = it.file(&hash).with_file_name(".new-abc");
    std::fs::rename(it.file(&hash), &part).unwrap();
    assert!(matches!(store.get(&hash).await, Err(BlobError::NotFound(_))));
    assert!(!store.contains(&hash).await.unwrap());
    store.put(bytes.clone()).await.unwrap();
    assert_eq!(store.get(&hash).await.unwrap(), bytes);
}

#[tokio::test]
async fn tidying_removes_what_was_cut_short_and_nothing_else() {
    let it = Fixture::new();
    let store = FolderBlobs::new(it.root());
    store.tidy().unwrap();
    let hash = store.put(Bytes::from_static(b"whole")).await.unwrap();
    let part = it.file(&hash).with_file_name(".new-abc");
    std::fs::write(&part, "who").unwrap();
    store.tidy().unwrap();
    assert!(!part.exists());
    assert_eq!(store.get(&hash).await.unwrap(), "whole");
}
