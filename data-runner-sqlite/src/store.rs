//! The store: what is opened, held and closed.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use data_runner_core::port::StateError;
use sqlx::SqlitePool;

use crate::connect::{self, Options};
use crate::error::{corrupt, store_error};
use crate::lock::FileLock;
use crate::schema;
use crate::writer::Writer;

/// State, logs and catalogue of one installation. Share it by `Arc`.
///
/// Dropping it loses nothing that was answered, but only [`SqliteStore::close`] leaves a file without a WAL beside it.
#[derive(Debug)]
pub struct SqliteStore {
    pub(crate) readers: SqlitePool,
    pub(crate) writer: Writer,
    lock_file: PathBuf,
    /// Held from `acquire` on.
    tenure: Mutex<Option<FileLock>>,
}

impl SqliteStore {
    /// Opens the state in `folder` with the usual options.
    ///
    /// # Errors
    /// As [`SqliteStore::open_with`].
    pub async fn open(folder: impl Into<PathBuf>) -> Result<Self, StateError> {
        Self::open_with(Options::new(folder)).await
    }

    /// Opens the state, makes it if there is none, and brings an older schema to this version. To read it, and to write
    /// logs, this is enough; to commit, [`StateStore::acquire`] must follow.
    ///
    /// # Errors
    /// `TooNew` for a state of a later version; `Corrupt` for a file that is no database of ours; `Held` where the
    /// schema must be changed and a supervisor is at work; `DiskFull`; otherwise `Unavailable`.
    ///
    /// [`StateStore::acquire`]: data_runner_core::port::StateStore::acquire
    pub async fn open_with(options: Options) -> Result<Self, StateError> {
        options.make_folder()?;
        let mut connection = options.writer().await?;
        connect::check_version(&mut connection).await?;
        schema::bring_up(&options, &mut connection).await?;
        Ok(Self {
            readers: options.readers_pool(),
            lock_file: options.lock_file(),
            writer: Writer::start(options, connection),
            tenure: Mutex::new(None),
        })
    }

    /// Whether there is a state in `folder`.
    pub fn is_in(folder: impl Into<PathBuf>) -> bool {
        Options::new(folder).database().exists()
    }

    /// Has SQLite read the whole file and check it. Takes time in proportion to its size; reads and commits go on
    /// meanwhile.
    ///
    /// # Errors
    /// `Corrupt`, whose source names what was found.
    pub async fn integrity(&self) -> Result<(), StateError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        let found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_all(&mut *connection)
            .await
            .map_err(store_error)?;
        let orphans: Vec<(String, Option<i64>, String, i64)> = sqlx::query_as("PRAGMA foreign_key_check")
            .fetch_all(&mut *connection)
            .await
            .map_err(store_error)?;
        let mut findings: Vec<String> = found.into_iter().filter(|finding| finding != "ok").collect();
        findings.extend(
            orphans
                .iter()
                .map(|(table, row, parent, _)| format!("row {row:?} of {table} names nothing in {parent}")),
        );
        if findings.is_empty() { Ok(()) } else { Err(corrupt("database", findings.join("\n"))) }
    }

    /// Writes what waits, moves the WAL into the database file and gives the tenure up. The store answers `Unavailable`
    /// from then on.
    ///
    /// # Errors
    /// If the WAL could not be moved. Nothing is lost by that: the next one who opens the state does it.
    pub async fn close(&self) -> Result<(), StateError> {
        // A reader that is still open would keep the WAL from being emptied.
        self.readers.close().await;
        let closed = self.writer.close().await;
        self.release();
        closed
    }

    /// Takes the file lock, and keeps it until the store is closed or dropped.
    pub(crate) fn take_lock(&self) -> Result<(), StateError> {
        let lock = FileLock::take(&self.lock_file)?;
        *self.tenure.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        Ok(())
    }

    pub(crate) fn release(&self) {
        *self.tenure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
