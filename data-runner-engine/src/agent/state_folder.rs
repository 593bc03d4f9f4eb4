//! What an agent keeps on disk.
//!
//! ```text
//! agent.lock                    held by the one agent that uses the folder
//! agent.json                    who it is: incarnation, highest epoch
//! bundles/<sha256>              code
//! runs/<execution>-<number>/    one attempt: record.json, the code, and what the executor keeps
//! trash/                        attempts that are over
//! ```

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use data_runner_core::agent::{AgentIdentity, AgentRecord, RunRecord};
use data_runner_core::id::AttemptId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::trash::Trash;

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFolderError {
    /// Another agent uses it.
    #[error("another agent uses {}: give each agent a state folder of its own", .0.display())]
    InUse(PathBuf),
    /// Something in it cannot be understood.
    #[error("{} cannot be understood", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> StateFolderError + 'a {
    move |source| StateFolderError::Io { doing, path: path.to_owned(), source }
}

/// An agent's state folder; nobody else uses it as long as this lives.
#[derive(Debug)]
pub(super) struct StateFolder {
    root: PathBuf,
    /// Unlocked by the operating system when the process ends, however it ends.
    /// What is left of attempts that are over.
    pub(super) trash: Trash,
    _lock: File,
}

impl StateFolder {
    /// Takes the folder, which is made if it does not exist, and begins the next incarnation.
    pub(super) fn open(root: &Path) -> Result<(Self, AgentIdentity, Vec<RunRecord>), StateFolderError> {
        let runs = root.join("runs");
        std::fs::create_dir_all(&runs).map_err(failed("make", &runs))?;
        // The folder's name is given to jobs, which run in other folders.
        let root = std::path::absolute(root).map_err(failed("find", root))?;
        let lock_path = root.join("agent.lock");
        let lock = File::create(&lock_path).map_err(failed("make", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateFolderError::InUse(root)),
            Err(TryLockError::Error(source)) => return Err(failed("lock", &lock_path)(source)),
        }
        let trash = root.join("trash");
        let trash = Trash::open(trash.clone()).map_err(failed("open", &trash))?;
        let this = Self { root, trash, _lock: lock };
        let mut identity: AgentIdentity = read(&this.identity_path())?.unwrap_or_default();
        identity.incarnation += 1;
        write(&this.identity_path(), &identity, Survives::MachineCrash)?;
        let records = this.load_runs()?;
        Ok((this, identity, records))
    }

    /// Where bundles are kept.
    pub(super) fn bundles(&self) -> PathBuf {
        self.root.join("bundles")
    }

    /// The folder of an attempt.
    pub(super) fn run(&self, attempt: AttemptId) -> PathBuf {
        self.root.join("runs").join(format!("{}-{}", attempt.execution, attempt.number))
    }

    fn identity_path(&self) -> PathBuf {
        self.root.join("agent.json")
    }

    /// Writes a record. Blocks.
    ///
    /// The record of a run has to survive this process, not the machine: when that crashes, the job is gone with it, and
    /// a record that was lost or torn stands for nothing. Not waiting for the disk keeps milliseconds out of each start.
    pub(super) fn keep(&self, record: &AgentRecord) -> Result<(), StateFolderError> {
        match record {
            AgentRecord::Identity(identity) => write(&self.identity_path(), identity, Survives::MachineCrash),
            AgentRecord::Run(run) => {
                let folder = self.run(run.claim.attempt);
                std::fs::create_dir_all(&folder).map_err(failed("make", &folder))?;
                write(&folder.join("record.json"), run, Survives::ProcessCrash)
            }
        }
    }

    /// Removes an attempt's folder. Its record goes first: what is left of a removal that was cut short is no attempt.
    /// Blocks.
    pub(super) fn forget(&self, attempt: AttemptId) -> Result<(), StateFolderError> {
        let folder = self.run(attempt);
        match std::fs::remove_file(folder.join("record.json")) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("remove", &folder)(source));
            }
            Ok(()) | Err(_) => {}
        }
        self.trash.take(&folder).map_err(failed("remove", &folder))
    }

    fn load_runs(&self) -> Result<Vec<RunRecord>, StateFolderError> {
        let runs = self.root.join("runs");
        let mut records = Vec::new();
        for entry in std::fs::read_dir(&runs).map_err(failed("read", &runs))? {
            let folder = entry.map_err(failed("read", &runs))?.path();
            match read(&folder.join("record.json")) {
                Ok(Some(record)) => records.push(record),
                // Left by a removal that was cut short, or by a start before its record: nothing ever ran in it.
                Ok(None) => std::fs::remove_dir_all(&folder).map_err(failed("remove", &folder))?,
                // Renames leave no torn record; only a crash of the machine does, and nothing runs after that.
                Err(StateFolderError::Corrupt { path, source }) if source.is_eof() => {
                    tracing::warn!(path = %path.display(), %source, "a torn record is dropped");
                    std::fs::remove_dir_all(&folder).map_err(failed("remove", &folder))?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(records)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateFolderError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| StateFolderError::Corrupt { path: path.to_owned(), source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// What a file has to survive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Survives {
    ProcessCrash,
    MachineCrash,
}

/// Replaces a file whole: whoever reads it sees the old content or the new.
fn write<T: Serialize>(path: &Path, value: &T, survives: Survives) -> Result<(), StateFolderError> {
    let temporary = path.with_extension("json.tmp");
    let bytes = serde_json::to_vec(value)
        .map_err(|source| StateFolderError::Corrupt { path: path.to_owned(), source })?;
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(&bytes)?;
        match survives {
            Survives::ProcessCrash => Ok(()),
            Survives::MachineCrash => file.sync_data(),
        }
    });
    written.map_err(failed("write", &temporary))?;
    std::fs::rename(&temporary, path).map_err(failed("write", path))
}
