//! What is on disk of one worker's machine.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use data_runner_core::id::WorkerId;
use data_runner_core::time::Timestamp;
use data_runner_core::worker::Candidate;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::process::{ProcessId, boot_id};

/// The intent to have the machine: written before anything is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) candidate: Candidate,
    pub(crate) at: Timestamp,
}

/// A start of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "agent", rename_all = "snake_case")]
pub(crate) enum Start {
    /// It is about to be started in this boot; a crash now leaves it unknown whether it was.
    Intended { boot_id: String },
    /// It was.
    Done { boot_id: String, process: ProcessId },
}

/// Why the machine ended, or shall end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) reason: String,
}

/// A shim as the exec crate records it in a run's folder: part of what the two agree on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ShimRecord {
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
    pub(crate) boot_id: String,
    pub(crate) job_pid: Option<u32>,
    pub(crate) job_start_time: Option<u64>,
    pub(crate) cgroup: Option<PathBuf>,
}

/// The folder of one worker.
#[derive(Debug, Clone)]
pub(crate) struct MachineFolder {
    pub(crate) worker: WorkerId,
    pub(crate) path: PathBuf,
}

/// Held while the machine is changed, by whatever process changes it.
pub(crate) struct Held {
    _file: File,
}

impl MachineFolder {
    pub(crate) fn new(state: &Path, worker: WorkerId) -> Self {
        Self { worker, path: state.join(worker.to_string()) }
    }

    /// All that are in `state`.
    pub(crate) fn all(state: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(state) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut folders = Vec::new();
        for entry in entries {
            if let Some(worker) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                folders.push(Self::new(state, worker));
            }
        }
        folders.sort_by_key(|folder| folder.worker);
        Ok(folders)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join("machine").join(name)
    }

    /// Makes the folder.
    pub(crate) fn make(&self) -> io::Result<()> {
        durable::make_folder(&self.path.join("machine"))
    }

    /// Waits until nobody else changes the machine. Blocks.
    pub(crate) fn hold(&self) -> io::Result<Held> {
        let file = File::create(self.file("lock"))?;
        file.lock()?;
        Ok(Held { _file: file })
    }

    /// Whether somebody changes the machine at this moment.
    pub(crate) fn is_held(&self) -> io::Result<bool> {
        let file = match File::open(self.file("lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(crate) fn launch(&self) -> io::Result<Option<Launch>> {
        read(&self.file("launch.json"))
    }

    pub(crate) fn record_launch(&self, launch: &Launch) -> io::Result<()> {
        write(&self.file("launch.json"), launch)
    }

    pub(crate) fn start(&self) -> io::Result<Option<Start>> {
        read(&self.file("agent.json"))
    }

    pub(crate) fn record_start(&self, start: &Start) -> io::Result<()> {
        write(&self.file("agent.json"), start)
    }

    /// Keeps the token that the agent joins with, where only its owner reads it, and says where.
    pub(crate) fn keep_join_token(&self, token: &str) -> io::Result<PathBuf> {
        let path = self.file("join-token");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(token.as_bytes())?;
        Ok(path)
    }

    /// The end that was begun.
    pub(crate) fn ending(&self) -> io::Result<Option<End>> {
        read(&self.file("ending.json"))
    }

    pub(crate) fn record_ending(&self, end: &End) -> io::Result<()> {
        write(&self.file("ending.json"), end)
    }

    /// The end that was proved.
    pub(crate) fn terminated(&self) -> io::Result<Option<End>> {
        read(&self.file("terminated.json"))
    }

    pub(crate) fn record_terminated(&self, end: &End) -> io::Result<()> {
        write(&self.file("terminated.json"), end)
    }

    /// The shims that were started in this boot.
    pub(crate) fn shims(&self) -> io::Result<Vec<ShimRecord>> {
        let boot = boot_id()?;
        let runs = match fs::read_dir(self.path.join("runs")) {
            Ok(runs) => runs,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut shims = Vec::new();
        for run in runs {
            match read::<ShimRecord>(&run?.path().join("shim.json")) {
                Ok(record) => shims.extend(record.filter(|record| record.boot_id == boot)),
                // Its processes still bear our mark.
                Err(error) => {
                    tracing::warn!(worker = %self.worker, %error, "the record of a shim cannot be read")
                }
            }
        }
        Ok(shims)
    }

    /// Removes everything of it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, format!("{}: {error}", path.display()))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    durable::write(path, &serde_json::to_vec(value).map_err(io::Error::other)?)
}
