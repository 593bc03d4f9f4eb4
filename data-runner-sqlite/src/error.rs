//! From what SQLite says to what a caller can act on.

use data_runner_core::port::StateError;

/// Primary result codes of SQLite (<https://www.sqlite.org/rescode.html>).
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const NOT_A_DATABASE: i32 = 26;
/// An extended one: the shared-memory file could not grow, which means that its file system is full.
const IO_ERROR_SHARED_MEMORY_SIZE: i32 = 4874;

/// The port's error for one of sqlx.
pub(crate) fn store_error(error: sqlx::Error) -> StateError {
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<i32>().ok());
    match code {
        Some(IO_ERROR_SHARED_MEMORY_SIZE) => StateError::DiskFull(error.into()),
        Some(code) if code & 0xff == FULL => StateError::DiskFull(error.into()),
        Some(code) if matches!(code & 0xff, CORRUPT | NOT_A_DATABASE) => {
            StateError::Corrupt { what: "database file".to_owned(), source: error.into() }
        }
        Some(_) | None => StateError::Unavailable(error.into()),
    }
}

/// The port's error for a file operation beside the database.
pub(crate) fn file_error(error: std::io::Error) -> StateError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        StateError::DiskFull(error.into())
    } else {
        StateError::Unavailable(error.into())
    }
}

/// A row that is not what this version writes.
pub(crate) fn corrupt(
    what: impl Into<String>,
    source: impl Into<data_runner_core::port::Source>,
) -> StateError {
    StateError::Corrupt { what: what.into(), source: source.into() }
}

/// The writer is gone: the store was closed, or its runtime is going down.
#[derive(Debug, thiserror::Error)]
#[error("the store is closed")]
pub(crate) struct Closed;

impl From<Closed> for StateError {
    fn from(closed: Closed) -> Self {
        Self::Unavailable(closed.into())
    }
}
