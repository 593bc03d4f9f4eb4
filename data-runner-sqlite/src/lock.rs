//! The lock that makes one process the supervisor of a state folder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use data_runner_core::port::StateError;
use rustix::fs::{FlockOperation, flock};

use crate::error::file_error;

/// A held lock; dropping it, or the end of the process, frees it. The kernel keeps it, so no stale one can remain.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock of `path`, and leaves our process id in the file for whoever is refused.
    ///
    /// # Errors
    /// `Held`, naming the holder, while somebody else has it.
    pub(crate) fn take(path: &Path) -> Result<Self, StateError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(file_error)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(file_error)?;
                return Err(StateError::Held { holder: describe(&holder) });
            }
            Err(error) => return Err(file_error(error.into())),
        }
        file.set_len(0).map_err(file_error)?;
        file.rewind().map_err(file_error)?;
        writeln!(file, "{}", std::process::id()).map_err(file_error)?;
        Ok(Self { _file: file })
    }
}

/// The holder may not have written its id yet.
fn describe(holder: &str) -> String {
    match holder.trim() {
        "" => "a process that has just started".to_owned(),
        pid => format!("process {pid}"),
    }
}
