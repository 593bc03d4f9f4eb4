//! How connections to the file are made.

use std::path::{Path, PathBuf};
use std::time::Duration;

use data_runner_core::port::StateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection, SqlitePool};

use crate::error::{file_error, store_error};

/// SQLite 3.51.3: earlier ones can corrupt a WAL when it is reset (<https://www.sqlite.org/wal.html>).
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long a connection waits for another one's lock. Only a backup or another program can hold one for long.
const BUSY: Duration = Duration::from_secs(10);

/// Where the state lies and what it may take.
#[derive(Debug, Clone)]
pub struct Options {
    folder: PathBuf,
    readers: u32,
    max_bytes: Option<u64>,
}

impl Options {
    /// The state in `folder`, which is made if it is not there.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), readers: 4, max_bytes: None }
    }

    /// How many connections read at one time; 4 unless told, at least 1. Idle ones close after a minute.
    #[must_use]
    pub fn readers(mut self, readers: u32) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// The most that the database file may grow to; beyond it, writes fail with `DiskFull`. No limit unless told.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.join("state.db")
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.folder.join("state.lock")
    }

    pub(crate) fn make_folder(&self) -> Result<(), StateError> {
        std::fs::create_dir_all(&self.folder).map_err(file_error)
    }

    /// The connection that writes.
    pub(crate) async fn writer(&self) -> Result<SqliteConnection, StateError> {
        self.writing().connect().await.map_err(store_error)
    }

    /// The same as a pool of one, which is what sqlx can run migrations on in a task that may move between threads.
    pub(crate) async fn migrating_pool(&self) -> Result<SqlitePool, StateError> {
        SqlitePoolOptions::new().max_connections(1).connect_with(self.writing()).await.map_err(store_error)
    }

    fn writing(&self) -> SqliteConnectOptions {
        let mut options = base(&self.database(), 4096)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode only FULL makes a commit survive the loss of power.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // In pages of 4 KiB: seldom enough not to slow a burst down, often enough to keep the WAL at 8 MiB.
            .pragma("wal_autocheckpoint", "2000")
            .pragma("journal_size_limit", "67108864");
        if let Some(bytes) = self.max_bytes {
            options = options.pragma("max_page_count", (bytes / 4096).max(1).to_string());
        }
        options
    }

    /// The connections that read. Made when they are first needed.
    pub(crate) fn readers_pool(&self) -> SqlitePool {
        SqlitePoolOptions::new()
            .max_connections(self.readers)
            .min_connections(0)
            .idle_timeout(Duration::from_secs(60))
            .acquire_timeout(BUSY)
            // A local file does not go away between two queries.
            .test_before_acquire(false)
            .connect_lazy_with(base(&self.database(), 1024).read_only(true))
    }
}

fn base(database: &Path, cache_kib: u32) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database)
        .busy_timeout(BUSY)
        .pragma("cache_size", format!("-{cache_kib}"))
        .pragma("temp_store", "memory")
        .statement_cache_capacity(64)
        .disable_statement_logging()
}

/// Refuses to work on a SQLite that is known to lose data. A change of the lock file can bring an older one back
/// without anybody seeing it.
pub(crate) async fn check_version(connection: &mut SqliteConnection) -> Result<(), StateError> {
    let version: String = sqlx::query_scalar!(r#"SELECT sqlite_version() AS "version!: String""#)
        .fetch_one(connection)
        .await
        .map_err(store_error)?;
    if version_number(&version).is_some_and(|number| number >= OLDEST_SQLITE) {
        return Ok(());
    }
    Err(StateError::Unavailable(
        format!("this program was built with SQLite {version}, which can corrupt its log; 3.51.3 is needed")
            .into(),
    ))
}

/// `3.51.3` is 3051003, as in `SQLITE_VERSION_NUMBER`.
fn version_number(version: &str) -> Option<i32> {
    let mut parts = version.splitn(3, '.').map(|part| part.parse::<i32>().ok());
    Some(parts.next()?? * 1_000_000 + parts.next()?? * 1000 + parts.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_sqlite_compare_by_number() {
        assert_eq!(version_number("3.51.3"), Some(OLDEST_SQLITE));
        assert!(version_number("3.51.2") < Some(OLDEST_SQLITE));
        assert!(version_number("3.9.0") < version_number("3.51.0"));
        assert!(version_number("4.0.0") > version_number("3.99.99"));
        assert_eq!(version_number("unknown"), None);
    }
}
