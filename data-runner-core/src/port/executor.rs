//! Running jobs, on the agent's side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{SecretValue, Source};
use crate::execution::{Ending, Failure, SqlReport, StopReason, Usage};
use crate::id::{Claim, WorkerType};
use crate::log::{LogChunk, LogOffset};
use crate::workflow::{JobSpec, PackageLock};

/// Runs the jobs of one worker type.
///
/// Contract:
/// - `prepare` makes the environment, or says by a Failure (cause `environment` or `source`) why it cannot; it is
///   idempotent and safe to be run for several jobs at once; what it makes is reused by content;
/// - a job whose `packages` are locked gets exactly those, or a Failure; `prepared.packages` says what it got;
/// - `start` starts the job exactly once; the attempt is on disk in `run.folder` before a process exists;
/// - `prepared.secrets` reach the job's environment and are masked as `***` in its log, its output and the message of
///   its failure, whoever watches it; they are never on disk;
/// - `adopt` finds a job that `start` started in the same folder, alive or ended, also after this process was killed
///   and started again; `None`: no process of it was ever started, or it is not this machine's boot any more;
/// - see [`RunningJob`] for what follows.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// The worker type that it runs.
    fn worker_type(&self) -> WorkerType;

    /// Makes what the job needs beside its code.
    async fn prepare(&self, run: Arc<RunRequest>) -> Result<Prepared, ExecuteError>;

    /// Starts the job.
    async fn start(
        &self,
        run: Arc<RunRequest>,
        prepared: Prepared,
    ) -> Result<Box<dyn RunningJob>, ExecuteError>;

    /// Finds a job that was started earlier.
    async fn adopt(&self, run: Arc<RunRequest>) -> Result<Option<Box<dyn RunningJob>>, ExecuteError>;
}

/// One job to run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRequest {
    /// The attempt and its lease.
    pub claim: Claim,
    /// The job.
    pub job: Arc<JobSpec>,
    /// A folder of its own, on this machine, that exists. The executor keeps its records and the log's spool there;
    /// the agent removes it when everything is acknowledged.
    pub folder: PathBuf,
    /// How long the job may go on while no process of an agent looks after it. Then it is stopped as `Interrupted`: a
    /// supervisor that cannot end this machine counts on that before it tries the execution elsewhere.
    pub alone_for: Duration,
}

impl RunRequest {
    /// Where the bundle is unpacked: `folder/code`. The job's working directory is `job.folder` in it.
    pub fn code(&self) -> PathBuf {
        self.folder.join("code")
    }

    /// The job's working directory.
    pub fn working_directory(&self) -> PathBuf {
        self.code().join(Path::new(&self.job.folder))
    }
}

/// What `prepare` made: opaque to everyone but the executor that made it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prepared {
    /// The program and its arguments. Never a shell string.
    pub command: Vec<std::ffi::OsString>,
    /// Environment variables beside those that every job gets.
    pub env: Vec<(String, std::ffi::OsString)>,
    /// Environment variables whose values nobody but the job may see: what the executor adds, and `job.secrets`, which
    /// the agent resolves and adds right before the start.
    pub secrets: BTreeMap<String, SecretValue>,
    /// What a person should know about it: versions, the lock's hash.
    pub notes: Vec<String>,
    /// All packages of the environment, exactly, where a later attempt can have them again.
    pub packages: Option<Arc<PackageLock>>,
}

/// A job that was started.
///
/// Contract:
/// - `changed` returns when there is more log after `seen`, or the end; it is cancel-safe;
/// - `read_log` gives chunks that continue from `from`, in order, as often as it is asked;
/// - an end is given only after the whole process tree is gone and the log is complete, and then always the same;
/// - `stop` sends TERM to the tree, KILL after the grace; it returns at once, and the end tells the reason;
///   a job that ended by itself first keeps its own end;
/// - dropping it does not stop the job; without anybody who holds it, the job is stopped after `alone_for`.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait RunningJob: Send + Sync + 'static {
    /// Waits for news.
    async fn changed(&self, seen: LogOffset) -> Result<JobNews, ExecuteError>;

    /// At most about `max_bytes` (and at least one chunk, if there is one) of the log from `from` on.
    async fn read_log(&self, from: LogOffset, max_bytes: usize) -> Result<Vec<LogChunk>, ExecuteError>;

    /// Begins to stop it; `grace` is the time between TERM and KILL.
    async fn stop(&self, reason: StopReason, grace: Duration) -> Result<(), ExecuteError>;

    /// For how long it has run.
    fn running_for(&self) -> Duration;
}

/// News of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobNews {
    /// The log reaches to this offset.
    Log(LogOffset),
    /// It has ended, and the log with it.
    Ended(Box<JobEnd>),
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEnd {
    /// How.
    pub ending: Ending,
    /// What it used.
    pub usage: Usage,
    /// What it wrote to `DATA_RUNNER_OUTPUT`.
    pub output: Option<serde_json::Value>,
    /// What its owner should know of it, such as why there is no output: sentences that hold nothing of what the job
    /// wrote.
    pub warnings: Vec<String>,
    /// Where its log ends.
    pub log_end: LogOffset,
    /// How long it ran.
    pub ran_for: Duration,
    /// What the engine told of an SQL script, if it was one.
    pub sql: Option<Box<SqlReport>>,
}

/// Why a job could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The job cannot be run; the failure says why in its user's terms.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// The machine failed us.
    #[error("{doing} failed")]
    Machine {
        /// What was being done.
        doing: String,
        /// Why.
        #[source]
        source: Source,
    },
}
