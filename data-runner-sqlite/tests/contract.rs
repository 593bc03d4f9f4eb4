//! The store on SQLite keeps the contracts of its four ports.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use async_trait::async_trait;
use data_runner_sqlite::SqliteStore;
use data_runner_testkit::contract::state_store::{Store, StoreFixture};
use tempfile::TempDir;

struct OnDisk(TempDir);

impl OnDisk {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }
}

#[async_trait]
impl StoreFixture for OnDisk {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(self.0.path()).await.unwrap())
    }

    /// Without `close`: the file stays as the last commit left it, with the WAL beside it.
    async fn crash(&self, store: Arc<dyn Store>) {
        drop(store);
    }
}

data_runner_testkit::state_store_contract!(OnDisk::new());
data_runner_testkit::log_store_contract!(OnDisk::new());
data_runner_testkit::catalog_contract!(OnDisk::new());
data_runner_testkit::token_store_contract!(OnDisk::new());
