//! What the agent and the shim tell each other by files in the run folder.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use data_runner_core::execution::{Ending, SqlReport, StopReason};
use data_runner_core::log::LogOffset;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::meter::Measured;

/// What is to be run: written by the agent before anything else. The shim takes it by renaming it to [`TAKEN_FILE`] and
/// holds it locked for as long as it lives; an agent that starts again gives it up by renaming it to [`GIVEN_UP_FILE`]: only one of them can.
pub(crate) const SPEC_FILE: &str = "run.json";
pub(crate) const TAKEN_FILE: &str = "run.taken.json";
pub(crate) const GIVEN_UP_FILE: &str = "run.given-up.json";
/// Who runs it; written before the job's exec.
pub(crate) const SHIM_FILE: &str = "shim.json";
/// How it ended; written when the whole tree is gone and the log is complete.
pub(crate) const EXIT_FILE: &str = "exit.json";
/// Where an agent that did not start the shim finds it.
pub(crate) const CONTROL_SOCKET: &str = "control.sock";
/// The file that `DATA_RUNNER_OUTPUT` names.
pub(crate) const OUTPUT_FILE: &str = "output.json";
/// The most that may be in it, in bytes.
pub(crate) const OUTPUT_LIMIT: u64 = 1 << 20;

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunSpec {
    /// Program and arguments.
    pub command: Vec<Text>,
    /// The whole environment.
    pub env: Vec<(String, Text)>,
    /// Where it starts.
    pub working_directory: PathBuf,
    /// Memory that it may hold, in bytes.
    pub memory_limit: Option<u64>,
    /// How long it may run.
    pub timeout_ms: u64,
    /// Between TERM and KILL when the time is up.
    pub grace_ms: u64,
    /// How long it may go on without an agent.
    pub alone_for_ms: u64,
    /// Bytes of log that are kept.
    pub log_quota: u64,
    /// What on standard error means that memory ran out.
    pub memory_signs: Vec<MemorySign>,
    /// A file that is held locked (shared) while the job runs: what it guards is in use.
    pub lease: Option<PathBuf>,
    /// What is watched of it.
    #[serde(default)]
    pub watched: Watched,
}

/// What of a job is watched for the account of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Watched {
    /// The folders whose size counts: its code with what it writes beside it, and its temporary files.
    pub folders: Vec<PathBuf>,
    /// Where its engine puts what does not fit into memory.
    pub spill: Option<PathBuf>,
    /// Whether what the machine's interfaces carry is the job's.
    pub network: bool,
    /// Whether it is an SQL script of DuckDB: its profile comes by [`PROFILE_PIPE`](super::profile::PROFILE_PIPE), and it
    /// prints results as boxes.
    pub sql: bool,
}

/// A program's own way to say that memory ran out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySign {
    /// It must have ended with this exit code; a signal counts as 128 and its number.
    pub code: u8,
    /// And a line among the last 16 KiB of its standard error must begin with this.
    pub line_starts_with: String,
}

/// Text of the operating system that may be no Unicode: JSON keeps it as text where it is, as bytes where it is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Text {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<std::ffi::OsString> for Text {
    fn from(text: std::ffi::OsString) -> Self {
        use std::os::unix::ffi::OsStringExt as _;
        text.into_string().map_or_else(|bytes| Self::Bytes(bytes.into_vec()), Self::Text)
    }
}

impl From<Text> for std::ffi::OsString {
    fn from(text: Text) -> Self {
        use std::os::unix::ffi::OsStringExt as _;
        match text {
            Text::Text(text) => text.into(),
            Text::Bytes(bytes) => Self::from_vec(bytes),
        }
    }
}

/// Who runs it. Other programs read this too (a provisioner that must end everything of an agent).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimRecord {
    /// The shim.
    pub pid: u32,
    /// Its start time, in clock ticks since boot.
    pub start_time: u64,
    /// The boot that this is true in.
    pub boot_id: String,
    /// The job's first process; it leads a session of its own.
    pub job_pid: u32,
    /// Its start time, likewise.
    pub job_start_time: u64,
    /// The cgroup v2 folder that holds the tree, where there is one: writing 1 to its `cgroup.kill` ends it.
    pub cgroup: Option<String>,
}

impl ShimRecord {
    /// Reads the record in the run folder `folder`; `None`: no process of a job was ever started there.
    pub fn read(folder: &Path) -> io::Result<Option<Self>> {
        read(&folder.join(SHIM_FILE))
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    pub ending: Ending,
    pub peak_memory_bytes: Option<u64>,
    pub cpu_micros: u64,
    pub log_end: LogOffset,
    pub ran_micros: u64,
    #[serde(default)]
    pub measured: Measured,
    #[serde(default)]
    pub sql: Option<Box<SqlReport>>,
}

/// What an agent says to a shim, one a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// Stop the job.
    Stop { reason: StopReason, grace_ms: u64 },
}

/// What a shim says to an agent: single bytes. The end is that it closes the connection.
pub(crate) const STARTED: u8 = b'S';
pub(crate) const LOG_GREW: u8 = b'L';

/// Writes `value` so that a reader sees all of it or nothing. It lasts through our end, not through the machine's:
/// after that no process of the job is left either.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(value)?;
    let unfinished = path.with_extension("json.tmp");
    // What a job gets in its environment is nobody else's to read.
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true).truncate(true), 0o600);
    options.open(&unfinished)?.write_all(&text)?;
    std::fs::rename(&unfinished, path)
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
