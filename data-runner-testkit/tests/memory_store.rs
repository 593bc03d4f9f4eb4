//! The store in memory keeps the contracts of its four ports, and fails on demand.

#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::event::Change;
use data_runner_core::id::CommitSequence;
use data_runner_core::port::StateError;
use data_runner_testkit::contract::state_store::{Store, StoreFixture};
use data_runner_testkit::memory::store::{MemoryStore, StoreFault};
use data_runner_testkit::sample::{at, execution, execution_id};

struct InMemory(MemoryStore);

#[async_trait]
impl StoreFixture for InMemory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    async fn crash(&self, store: Arc<dyn Store>) {
        drop(store);
        self.0.release();
    }
}

data_runner_testkit::state_store_contract!(InMemory(MemoryStore::new()));
data_runner_testkit::log_store_contract!(InMemory(MemoryStore::new()));
data_runner_testkit::catalog_contract!(InMemory(MemoryStore::new()));
data_runner_testkit::token_store_contract!(InMemory(MemoryStore::new()));

fn put(n: u64) -> Vec<Change> {
    vec![Change::PutExecution(Arc::new(execution(n)))]
}

#[test]
fn an_injected_failure_strikes_once_and_changes_nothing() {
    let store = MemoryStore::new();
    let epoch = store.acquire_now().unwrap();
    store.fail_next_commit(StoreFault::DiskFull);
    store.fail_next_commit(StoreFault::Unavailable);
    assert!(matches!(store.commit_now(epoch, at(1), put(1)), Err(StateError::DiskFull(_))));
    assert!(matches!(store.commit_now(epoch, at(1), put(1)), Err(StateError::Unavailable(_))));
    assert_eq!(store.execution_now(execution_id(1)), None);
    assert_eq!(store.commit_now(epoch, at(1), put(1)).unwrap(), CommitSequence(1));
}

#[test]
fn a_lost_answer_is_an_error_after_the_commit_was_done() {
    let store = MemoryStore::new();
    let epoch = store.acquire_now().unwrap();
    store.fail_next_commit(StoreFault::AnswerLost);
    assert!(matches!(store.commit_now(epoch, at(1), put(1)), Err(StateError::Unavailable(_))));
    let snapshot = store.load_now(epoch).unwrap();
    assert_eq!((snapshot.sequence, snapshot.executions), (CommitSequence(1), vec![execution(1)]));
}

#[test]
fn loads_and_appends_fail_on_demand_too() {
    let store = MemoryStore::new();
    let epoch = store.acquire_now().unwrap();
    store.fail_next_load(StoreFault::Unavailable);
    store.fail_next_append(StoreFault::DiskFull);
    assert!(store.load_now(epoch).is_err());
    assert!(store.load_now(epoch).is_ok());
    assert!(matches!(store.append_now(Vec::new()), Err(StateError::DiskFull(_))));
    assert!(store.append_now(Vec::new()).is_ok());
}
