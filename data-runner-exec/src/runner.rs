//! What all executors share: to start a job under a shim, and to find it again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_runner_core::port::{ExecuteError, Prepared, RunRequest, RunningJob};
use rustix::fs::FlockOperation;
use tokio::net::UnixStream;

use crate::environment::lease_of;
use crate::job_env::{job_env, temporary_folder};
use crate::machine::{self, MachineFacts};
use crate::pool::{Handed, ShimPool};
use crate::process::boot_id;
use crate::running::{ShimJob, failure_of, machine, recorded_end, vanished};
use crate::shim::record::{
    self, GIVEN_UP_FILE, MemorySign, RunSpec, SPEC_FILE, ShimRecord, TAKEN_FILE, Watched,
};
use crate::shim::socket_path;

/// How long a shim may take between taking a run and answering.
const SHIM_ANSWERS_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What an agent decides about all its jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// Bytes of log that are kept of an attempt: the first half and, when it prints more, about as much of its end.
    pub log_quota: u64,
    /// Variables of the agent that jobs get: those whose names begin with one of these (`AWS_` in `dev`). Never the
    /// agent's own, `DATA_RUNNER_…`: a token may be among them.
    pub passthrough: Vec<String>,
    /// Whether a job has the machine to itself, so that what the machine's interfaces carry while it runs is the job's.
    pub alone_on_machine: bool,
}

impl Default for RunOptions {
    /// 1 GiB of log, nothing passes through, and there may be other jobs.
    fn default() -> Self {
        Self { log_quota: 1 << 30, passthrough: Vec::new(), alone_on_machine: false }
    }
}

/// What is particular about the jobs of an engine.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    /// How it says that memory ran out.
    pub memory_signs: Vec<MemorySign>,
    /// Where it puts what does not fit into memory.
    pub spill: Option<PathBuf>,
    /// Whether it is DuckDB's CLI, which tells of each statement.
    pub sql: bool,
}

/// Starts and finds jobs; the part of an executor that is the same for all.
#[derive(Debug, Clone)]
pub struct Runner {
    shims: Arc<ShimPool>,
    options: RunOptions,
    facts: MachineFacts,
}

impl Runner {
    /// Runs jobs under the shims of `shims`.
    pub fn new(shims: Arc<ShimPool>, options: RunOptions) -> Self {
        Self { shims, options, facts: machine::facts() }
    }

    /// Memory that the job may use, in bytes: what it asks for, cut to what this machine has.
    pub fn memory_for(&self, run: &RunRequest) -> u64 {
        run.job.resources.memory_bytes.min(self.facts.memory_for_jobs())
    }

    /// Processors that the job may use, likewise.
    pub fn cpus_for(&self, run: &RunRequest) -> u32 {
        run.job.resources.cpus.clamp(1, self.facts.cpus.max(1))
    }

    /// The variables that the job gets whatever its executor adds, its secrets apart.
    pub(crate) fn variables_for(&self, run: &RunRequest) -> BTreeMap<String, OsString> {
        job_env(run, &Prepared::default(), &self.options)
    }

    /// Starts the job, or finds it if it was started before.
    pub(crate) async fn start(
        &self,
        run: &RunRequest,
        prepared: &Prepared,
        engine: Engine,
    ) -> Result<Box<dyn RunningJob>, ExecuteError> {
        if let Some(job) = self.adopt(run).await? {
            return Ok(job);
        }
        let spec = self.spec(run, prepared, engine);
        make_ready(&run.folder, &temporary_folder(run), &spec)
            .map_err(|error| machine("writing the run's specification", error))?;
        let handed = self.shims.hand_over(&run.folder, &prepared.secrets).await;
        match handed.map_err(|error| machine("starting a shim", error))? {
            Handed::Started(shim) => Ok(Box::new(ShimJob::alive(&run.folder, shim, Duration::ZERO))),
            Handed::Ended => self.ended_at_once(run).await,
        }
    }

    async fn ended_at_once(&self, run: &RunRequest) -> Result<Box<dyn RunningJob>, ExecuteError> {
        let end = recorded_end(&run.folder).map_err(|error| machine("reading how the job ended", error))?;
        match end.as_ref().map(failure_of) {
            Some(Some(failure)) => Err(ExecuteError::Failed(failure)),
            Some(None) | None => match self.adopt(run).await? {
                Some(job) => Ok(job),
                None => Err(machine("starting a shim", "it ended before it started the job")),
            },
        }
    }

    fn spec(&self, run: &RunRequest, prepared: &Prepared, engine: Engine) -> RunSpec {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let env = job_env(run, prepared, &self.options);
        RunSpec {
            command: prepared.command.iter().cloned().map(Into::into).collect(),
            env: env.into_iter().map(|(name, value)| (name, value.into())).collect(),
            working_directory: run.working_directory(),
            memory_limit: Some(self.memory_for(run)),
            timeout_ms: millis(run.job.timeout),
            grace_ms: millis(run.job.grace),
            alone_for_ms: millis(run.alone_for),
            log_quota: self.options.log_quota,
            memory_signs: engine.memory_signs,
            watched: Watched {
                folders: vec![run.code(), temporary_folder(run)],
                spill: engine.spill,
                network: self.options.alone_on_machine,
                sql: engine.sql,
            },
            lease: prepared.command.first().and_then(|program| lease_of(Path::new(program))),
        }
    }

    /// Finds the job that was started in the run's folder.
    pub(crate) async fn adopt(&self, run: &RunRequest) -> Result<Option<Box<dyn RunningJob>>, ExecuteError> {
        let found = find(&run.folder).await.map_err(|error| machine("looking for the job", error))?;
        Ok(found.map(|job| Box::new(job) as Box<dyn RunningJob>))
    }
}

fn make_ready(folder: &Path, temporary: &Path, spec: &RunSpec) -> io::Result<()> {
    // What an attempt to start left that never had a process.
    for old in [TAKEN_FILE, GIVEN_UP_FILE, crate::shim::CONTROL_SOCKET] {
        match fs::remove_file(folder.join(old)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::create_dir_all(temporary)?;
    record::write(&folder.join(SPEC_FILE), spec)
}

async fn find(folder: &Path) -> io::Result<Option<ShimJob>> {
    if give_up_untaken(folder)? || !folder.join(TAKEN_FILE).exists() {
        return Ok(None);
    }
    let until = Instant::now() + SHIM_ANSWERS_WITHIN;
    loop {
        // In this order: what is true of a shim that lives may end between two looks, but not the other way round.
        let lives = shim_lives(folder)?;
        if let Some(end) = recorded_end(folder)? {
            return Ok(Some(ShimJob::ended(folder, end)));
        }
        if !lives {
            return dead_without_record(folder);
        }
        if let Some(record) = ShimRecord::read(folder)?
            && let Ok(socket) = connect(folder).await
        {
            return Ok(Some(ShimJob::alive(folder, socket, age(record.job_start_time)?)));
        }
        if Instant::now() > until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the job's shim does not answer"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Takes a specification away that no shim has taken; then none will.
fn give_up_untaken(folder: &Path) -> io::Result<bool> {
    match fs::rename(folder.join(SPEC_FILE), folder.join(GIVEN_UP_FILE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn shim_lives(folder: &Path) -> io::Result<bool> {
    let lock = File::open(folder.join(TAKEN_FILE))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// A shim that was killed: before its job's exec, then nothing ever ran; or after it, then the job has vanished.
fn dead_without_record(folder: &Path) -> io::Result<Option<ShimJob>> {
    match ShimRecord::read(folder)? {
        Some(record) if record.boot_id == boot_id()? => Ok(Some(ShimJob::ended(folder, vanished(folder)?))),
        Some(_) | None => Ok(None),
    }
}

async fn connect(folder: &Path) -> io::Result<UnixStream> {
    let open = File::open(folder)?;
    UnixStream::connect(socket_path(&open)).await
}

/// How long ago a process started that has this start time.
fn age(start_time: u64) -> io::Result<Duration> {
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let started = start_time as f64 / rustix::param::clock_ticks_per_second() as f64;
    Ok(Duration::try_from_secs_f64(uptime - started).unwrap_or_default())
}
