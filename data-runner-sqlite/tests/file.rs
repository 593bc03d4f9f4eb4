//! What SQLite adds to the contracts: a file, a lock, versions, and disks that fill.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::error::Error;
use std::process::Command;
use std::sync::Arc;

use data_runner_core::event::Change;
use data_runner_core::execution::Execution;
use data_runner_core::id::CommitSequence;
use data_runner_core::log::{ChunkBuilder, LogPosition, Stream};
use data_runner_core::message::{LogAppend, LogOutcome};
use data_runner_core::port::{Catalog, LogStore, StateError, StateStore};
use data_runner_core::time::Entropy;
use data_runner_sqlite::{Options, SqliteStore};
use data_runner_testkit::sample::{at, execution, execution_id, lease};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

fn put(n: u64) -> Vec<Change> {
    vec![Change::PutExecution(Arc::new(execution(n)))]
}

/// An execution that needs two megabytes.
fn put_large(n: u64) -> Vec<Change> {
    let labels = [("large".to_owned(), "x".repeat(2 << 20))].into();
    vec![Change::PutExecution(Arc::new(Execution { labels, ..execution(n) }))]
}

async fn sql(folder: &TempDir, statement: &'static str) {
    let url = format!("sqlite://{}", folder.path().join("state.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_state_of_a_newer_version_is_refused_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    SqliteStore::open(folder.path()).await.unwrap().close().await.unwrap();
    sql(
        &folder,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', true, x'00', 0)",
    )
    .await;
    let error = SqliteStore::open(folder.path()).await.unwrap_err();
    assert!(matches!(&error, StateError::TooNew { found: 9999, known, .. } if *known >= 1), "{error:?}");
    assert!(error.to_string().contains("backup"), "{error}");
}

#[tokio::test]
async fn an_empty_file_becomes_a_state() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("state.db"), "").unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let epoch = store.acquire(at(0)).await.unwrap();
    assert_eq!(store.commit(epoch, at(1), put(1)).await.unwrap(), CommitSequence(1));
}

#[tokio::test]
async fn a_schema_is_not_changed_while_a_supervisor_is_at_work() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    store.acquire(at(0)).await.unwrap();
    // As if this program knew a migration that the file has not had.
    sql(&folder, "DELETE FROM _sqlx_migrations").await;
    let error = SqliteStore::open(folder.path()).await.unwrap_err();
    assert!(matches!(error, StateError::Held { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_called_so() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("state.db"), "not a database, though long enough".repeat(100)).unwrap();
    let error = SqliteStore::open(folder.path()).await.unwrap_err();
    assert!(matches!(error, StateError::Corrupt { .. }), "{error:?}");
    assert!(error.source().unwrap().to_string().contains("not a database"));
}

#[tokio::test]
async fn damage_is_found_by_the_integrity_check() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let epoch = store.acquire(at(0)).await.unwrap();
    store.commit(epoch, at(1), (1..200).flat_map(put).collect()).await.unwrap();
    store.integrity().await.unwrap();
    store.close().await.unwrap();

    let path = folder.path().join("state.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 8192].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let error = SqliteStore::open(folder.path()).await.unwrap().integrity().await.unwrap_err();
    assert!(matches!(error, StateError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_row_that_nobody_can_read_is_named() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let epoch = store.acquire(at(0)).await.unwrap();
    store.commit(epoch, at(1), put(1)).await.unwrap();
    sql(&folder, "UPDATE executions SET body = '{\"state\": {\"state\": \"levitating\"}}'").await;
    let error = store.load(epoch).await.unwrap_err();
    assert!(error.to_string().contains(&execution_id(1).to_string()), "{error}");
    assert!(error.source().unwrap().to_string().contains("levitating"));
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_writer_goes_on() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open_with(Options::new(folder.path()).max_bytes(1 << 20)).await.unwrap();
    let epoch = store.acquire(at(0)).await.unwrap();
    store.commit(epoch, at(1), put(1)).await.unwrap();
    let error = store.commit(epoch, at(1), put_large(2)).await.unwrap_err();
    assert!(matches!(error, StateError::DiskFull(_)), "{error:?}");
    assert_eq!(store.commit(epoch, at(1), put(3)).await.unwrap(), CommitSequence(2));
    assert_eq!(store.load(epoch).await.unwrap().executions, [execution(1), execution(3)]);
}

#[tokio::test]
async fn a_commit_that_fails_does_not_take_its_neighbours_along() {
    let folder = TempDir::new().unwrap();
    let store =
        Arc::new(SqliteStore::open_with(Options::new(folder.path()).max_bytes(1 << 20)).await.unwrap());
    let epoch = store.acquire(at(0)).await.unwrap();
    let tasks: Vec<_> = (1..=40)
        .map(|n| {
            let store = Arc::clone(&store);
            let changes = if n == 20 { put_large(n) } else { put(n) };
            tokio::spawn(async move { store.commit(epoch, at(1), changes).await })
        })
        .collect();
    let mut failed = 0;
    for task in tasks {
        failed += usize::from(task.await.unwrap().is_err());
    }
    assert_eq!(failed, 1);
    let snapshot = store.load(epoch).await.unwrap();
    assert_eq!((snapshot.sequence, snapshot.executions.len()), (CommitSequence(39), 39));
}

#[tokio::test]
async fn logs_that_do_not_fit_are_not_acknowledged() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open_with(Options::new(folder.path()).max_bytes(1 << 20)).await.unwrap();
    let epoch = store.acquire(at(0)).await.unwrap();
    let claim = data_runner_core::id::Claim {
        attempt: execution(1).attempt_id(data_runner_core::id::AttemptNumber::FIRST),
        lease: lease(1),
    };
    store.commit(epoch, at(1), vec![Change::OpenLog(claim)]).await.unwrap();
    let mut builder = ChunkBuilder::resume(LogPosition::START);
    let mut entropy = Entropy::from_number(1);
    let mut append = |words: usize| {
        let bytes: Vec<u8> = (0..words).flat_map(|_| entropy.bits().to_le_bytes()).collect();
        builder.push(Stream::Stdout, at(1), &bytes);
        LogAppend { claim, chunk: builder.finish().unwrap() }
    };
    let (small, large) = (append(100), append(1 << 18));
    let error = store.append(vec![small.clone(), large]).await.unwrap_err();
    assert!(matches!(error, StateError::DiskFull(_)), "{error:?}");
    assert_eq!(store.summary(claim.attempt).await.unwrap().end, LogPosition::START);
    let acks = store.append(vec![small.clone()]).await.unwrap();
    assert_eq!(acks[0].outcome, LogOutcome::Stored { upto: small.chunk.end.offset });
}

#[tokio::test]
async fn a_closed_store_leaves_one_file_and_answers_no_more() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let epoch = store.acquire(at(0)).await.unwrap();
    store.commit(epoch, at(1), put(1)).await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(!folder.path().join("state.db-wal").exists());
    let error = store.commit(epoch, at(1), put(2)).await.unwrap_err();
    assert!(matches!(error, StateError::Unavailable(_)), "{error:?}");
    assert!(store.counts().await.is_err());
    let next = SqliteStore::open(folder.path()).await.unwrap();
    let epoch = next.acquire(at(2)).await.unwrap();
    assert_eq!(next.load(epoch).await.unwrap().executions, [execution(1)]);
}

#[tokio::test]
async fn the_same_supervisor_cannot_hold_the_state_twice() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    store.acquire(at(0)).await.unwrap();
    let error = store.acquire(at(0)).await.unwrap_err();
    let us = format!("process {}", std::process::id());
    assert!(matches!(&error, StateError::Held { holder } if *holder == us), "{error:?}");
}

/// A file system of two megabytes, in memory.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.0.path()).status().unwrap();
    }
}

#[tokio::test]
async fn a_disk_that_is_really_full_is_told_and_keeps_what_was_answered() {
    let Some(disk) = SmallDisk::mount() else {
        return data_runner_testkit::skipped("this user may not mount a file system");
    };
    let store = SqliteStore::open(disk.0.path()).await.unwrap();
    let epoch = store.acquire(at(0)).await.unwrap();
    let mut answered = 0;
    let error = loop {
        let changes = (0..100).flat_map(|n| put(answered * 100 + n)).collect();
        match store.commit(epoch, at(1), changes).await {
            Ok(_) => answered += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StateError::DiskFull(_)), "{error:?}");
    assert_eq!(store.load(epoch).await.unwrap().executions.len() as u64, answered * 100);
    drop(store);
    let store = SqliteStore::open(disk.0.path()).await.unwrap();
    store.integrity().await.unwrap();
    assert_eq!(store.counts().await.unwrap().values().sum::<u64>(), answered * 100);
}
