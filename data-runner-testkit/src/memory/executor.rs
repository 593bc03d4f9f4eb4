//! An Executor whose jobs are scripts in memory: deterministic, and at home in tokio's paused time.
//!
//! The jobs belong to a [`ScriptedMachine`], not to the executor, as real processes belong to a machine and not to an
//! agent: make a second [`ScriptedExecutor`] on the same machine and it adopts what the first one started.
//!
//! ```ignore
//! let machine = ScriptedMachine::new(|_request| Script::new().prints("hello\n").waits().exits(0));
//! let executor = machine.executor(polars());
//! …
//! machine.release(&request.folder);        // the job goes on
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::execution::{Ending, Failure, StopReason, Usage};
use data_runner_core::id::{Claim, WorkerType};
use data_runner_core::log::{ChunkBuilder, LogChunk, LogOffset, LogPosition, Stream};
use data_runner_core::port::{
    ExecuteError, Executor, JobEnd, JobNews, Prepared, RunRequest, RunningJob, SecretValue,
};
use data_runner_core::time::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::sample;

/// What a job does.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// How long `prepare` takes.
    pub prepare_takes: Duration,
    /// What `prepare` says then; `None`: it succeeds.
    pub prepare_fails: Option<Failure>,
    /// What it does, in order.
    pub steps: Vec<Step>,
    /// How it ends after them.
    pub end: ScriptEnd,
    /// What it does when it is told to stop.
    pub on_term: OnTerm,
}

/// One thing that a job does.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Writes these bytes.
    Print(Stream, Bytes),
    /// Lets time pass.
    Sleep(Duration),
    /// Waits until the test releases it.
    Wait,
    /// Writes this text to the file named by `DATA_RUNNER_OUTPUT`.
    Output(String),
    /// Leaves a process behind that would live for ever, in a session of its own.
    LeaveProcess,
}

/// How a job ends when nobody stops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptEnd {
    /// With this code.
    Exit(u8),
    /// By this signal.
    Signal(u8),
    /// Killed for its memory.
    OutOfMemory,
}

/// What a job does when TERM comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTerm {
    /// It dies of it.
    Dies,
    /// It exits with this code.
    Exits(u8),
    /// It goes on, until KILL comes after the grace.
    Ignores,
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    /// A job that does nothing and exits with 0.
    pub fn new() -> Self {
        Self {
            prepare_takes: Duration::ZERO,
            prepare_fails: None,
            steps: Vec::new(),
            end: ScriptEnd::Exit(0),
            on_term: OnTerm::Dies,
        }
    }

    /// A job whose environment cannot be made.
    pub fn unpreparable(failure: Failure) -> Self {
        Self { prepare_fails: Some(failure), ..Self::new() }
    }

    /// Its environment takes so long.
    #[must_use]
    pub fn prepares_for(mut self, duration: Duration) -> Self {
        self.prepare_takes = duration;
        self
    }

    /// Then it writes `bytes` to standard output.
    #[must_use]
    pub fn prints(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Print(Stream::Stdout, bytes.into()))
    }

    /// Then it writes `bytes` to standard error.
    #[must_use]
    pub fn complains(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Print(Stream::Stderr, bytes.into()))
    }

    /// Then it sleeps.
    #[must_use]
    pub fn sleeps(self, duration: Duration) -> Self {
        self.then(Step::Sleep(duration))
    }

    /// Then it waits until it is released.
    #[must_use]
    pub fn waits(self) -> Self {
        self.then(Step::Wait)
    }

    /// Then it writes `text` as its output.
    #[must_use]
    pub fn outputs(self, text: impl Into<String>) -> Self {
        self.then(Step::Output(text.into()))
    }

    /// Then it does `step`.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// And exits with `code`.
    #[must_use]
    pub fn exits(self, code: u8) -> Self {
        Self { end: ScriptEnd::Exit(code), ..self }
    }

    /// And ends like this.
    #[must_use]
    pub fn ends(self, end: ScriptEnd) -> Self {
        Self { end, ..self }
    }

    /// What it does on TERM.
    #[must_use]
    pub fn on_term(self, on_term: OnTerm) -> Self {
        Self { on_term, ..self }
    }
}

/// The machine that the jobs live on; clones are the same machine.
#[derive(Clone)]
pub struct ScriptedMachine(Arc<Machine>);

struct Machine {
    script_of: Box<dyn Fn(&RunRequest) -> Script + Send + Sync>,
    jobs: Mutex<BTreeMap<PathBuf, Arc<Job>>>,
    starts: Mutex<Vec<Claim>>,
    secrets: Mutex<BTreeMap<Claim, BTreeMap<String, SecretValue>>>,
}

impl ScriptedMachine {
    /// A machine on which a job does what `script_of` says.
    pub fn new(script_of: impl Fn(&RunRequest) -> Script + Send + Sync + 'static) -> Self {
        Self(Arc::new(Machine {
            script_of: Box::new(script_of),
            jobs: Mutex::default(),
            starts: Mutex::default(),
            secrets: Mutex::default(),
        }))
    }

    /// An executor for `worker_type` on this machine. Another one later is the agent after a restart.
    pub fn executor(&self, worker_type: WorkerType) -> ScriptedExecutor {
        ScriptedExecutor { machine: self.clone(), worker_type }
    }

    /// Every claim that a process was started for, in order: none may be there twice.
    pub fn starts(&self) -> Vec<Claim> {
        locked(&self.0.starts).clone()
    }

    /// The secrets that the job of this attempt was started with.
    pub fn secrets(&self, claim: Claim) -> BTreeMap<String, SecretValue> {
        locked(&self.0.secrets).get(&claim).cloned().unwrap_or_default()
    }

    /// The run folders whose jobs have not ended.
    pub fn alive(&self) -> Vec<PathBuf> {
        let jobs = locked(&self.0.jobs);
        jobs.iter()
            .filter(|(_, job)| locked(&job.state).end.is_none())
            .map(|(folder, _)| folder.clone())
            .collect()
    }

    /// Lets the job of `folder` pass its waits, those that are still to come too.
    pub fn release(&self, folder: &Path) {
        if let Some(job) = self.job(folder) {
            locked(&job.state).released = true;
            job.touch();
        }
    }

    /// Ends the job of `folder` as if its shim had been killed: it is found, and has vanished.
    pub fn lose(&self, folder: &Path) {
        if let Some(job) = self.job(folder) {
            job.finish(Ending::Vanished { message: "its shim is gone without an exit record".to_owned() });
        }
    }

    /// The machine starts again: nothing of what ran can be found any more.
    pub fn reboot(&self) {
        for job in std::mem::take(&mut *locked(&self.0.jobs)).into_values() {
            job.finish(Ending::Vanished { message: "the machine was started again".to_owned() });
        }
    }

    fn job(&self, folder: &Path) -> Option<Arc<Job>> {
        locked(&self.0.jobs).get(folder).cloned()
    }
}

/// Runs scripted jobs.
#[derive(Clone)]
pub struct ScriptedExecutor {
    machine: ScriptedMachine,
    worker_type: WorkerType,
}

#[async_trait]
impl Executor for ScriptedExecutor {
    fn worker_type(&self) -> WorkerType {
        self.worker_type.clone()
    }

    async fn prepare(&self, run: Arc<RunRequest>) -> Result<Prepared, ExecuteError> {
        let script = (self.machine.0.script_of)(&run);
        if !script.prepare_takes.is_zero() {
            tokio::time::sleep(script.prepare_takes).await;
        }
        match script.prepare_fails {
            Some(failure) => Err(ExecuteError::Failed(failure)),
            None => Ok(Prepared { command: vec!["scripted".into()], ..Prepared::default() }),
        }
    }

    async fn start(
        &self,
        run: Arc<RunRequest>,
        prepared: Prepared,
    ) -> Result<Box<dyn RunningJob>, ExecuteError> {
        let script = (self.machine.0.script_of)(&run);
        let job = {
            let mut jobs = locked(&self.machine.0.jobs);
            if let Some(started) = jobs.get(&run.folder) {
                return Ok(Box::new(ScriptedJob(Arc::clone(started))));
            }
            let job = Arc::new(Job::new());
            jobs.insert(run.folder.clone(), Arc::clone(&job));
            job
        };
        locked(&self.machine.0.starts).push(run.claim);
        locked(&self.machine.0.secrets).insert(run.claim, prepared.secrets);
        tokio::spawn(play(Arc::clone(&job), script, run.job.timeout, run.job.grace));
        Ok(Box::new(ScriptedJob(job)))
    }

    async fn adopt(&self, run: Arc<RunRequest>) -> Result<Option<Box<dyn RunningJob>>, ExecuteError> {
        Ok(self.machine.job(&run.folder).map(|job| Box::new(ScriptedJob(job)) as Box<dyn RunningJob>))
    }
}

struct Job {
    started: Instant,
    state: Mutex<JobState>,
    touched: watch::Sender<u64>,
}

struct JobState {
    chunks: Vec<LogChunk>,
    position: LogPosition,
    released: bool,
    stop: Option<(StopReason, Duration)>,
    output: Option<serde_json::Value>,
    warnings: Vec<String>,
    end: Option<JobEnd>,
}

impl Job {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            state: Mutex::new(JobState {
                chunks: Vec::new(),
                position: LogPosition::START,
                released: false,
                stop: None,
                output: None,
                warnings: Vec::new(),
                end: None,
            }),
            touched: watch::Sender::new(0),
        }
    }

    fn touch(&self) {
        self.touched.send_modify(|count| *count += 1);
    }

    /// Waits until `answer` finds what it looks for.
    async fn until<T>(&self, mut answer: impl FnMut(&JobState) -> Option<T>) -> T {
        let mut touched = self.touched.subscribe();
        loop {
            if let Some(found) = answer(&locked(&self.state)) {
                return found;
            }
            // The sender is in `self`, so it cannot be gone.
            let _ = touched.changed().await;
        }
    }

    fn print(&self, stream: Stream, bytes: &[u8]) {
        let at = Timestamp::after(sample::at(0), self.started.elapsed());
        let mut state = locked(&self.state);
        if state.end.is_some() {
            return;
        }
        let mut builder = ChunkBuilder::resume(state.position);
        for block in bytes.chunks(64 << 10) {
            builder.push(stream, at, block);
            let chunk = builder.finish();
            state.chunks.extend(chunk);
        }
        state.position = builder.position();
        drop(state);
        self.touch();
    }

    fn finish(&self, ending: Ending) {
        let mut state = locked(&self.state);
        if state.end.is_none() {
            state.end = Some(JobEnd {
                ending,
                usage: Usage {
                    peak_memory_bytes: Some(1 << 20),
                    cpu_time: Duration::from_millis(1),
                    ..Usage::default()
                },
                output: state.output.take(),
                warnings: std::mem::take(&mut state.warnings),
                log_end: state.position.offset,
                ran_for: self.started.elapsed(),
                sql: None,
            });
        }
        drop(state);
        self.touch();
    }
}

async fn play(job: Arc<Job>, script: Script, timeout: Duration, grace: Duration) {
    let ending = tokio::select! {
        biased;
        () = job.until(|state| state.end.as_ref().map(|_| ())) => return,
        ending = steps(&job, &script) => ending,
        ending = stopped(&job, &script, timeout, grace) => ending,
    };
    job.finish(ending);
}

async fn steps(job: &Job, script: &Script) -> Ending {
    for step in &script.steps {
        match step {
            Step::Print(stream, bytes) => job.print(*stream, bytes),
            Step::Sleep(duration) => tokio::time::sleep(*duration).await,
            Step::Wait => job.until(|state| state.released.then_some(())).await,
            Step::Output(text) => {
                let mut state = locked(&job.state);
                match serde_json::from_str(text) {
                    Ok(output) => state.output = Some(output),
                    Err(error) => state.warnings.push(format!("the output is no JSON: {error}")),
                }
            }
            // It dies with the job, and nothing here can see it.
            Step::LeaveProcess => {}
        }
    }
    match script.end {
        ScriptEnd::Exit(code) => Ending::Exited { code },
        ScriptEnd::Signal(signal) => Ending::Signalled { signal },
        ScriptEnd::OutOfMemory => Ending::OutOfMemory { limit_bytes: None },
    }
}

async fn stopped(job: &Job, script: &Script, timeout: Duration, grace: Duration) -> Ending {
    let (reason, grace) = tokio::select! {
        biased;
        stop = job.until(|state| state.stop) => stop,
        () = tokio::time::sleep_until(job.started + timeout) => (StopReason::Timeout, grace),
    };
    match script.on_term {
        OnTerm::Dies | OnTerm::Exits(_) => {}
        OnTerm::Ignores => tokio::time::sleep(grace).await,
    }
    Ending::Stopped { reason }
}

struct ScriptedJob(Arc<Job>);

#[async_trait]
impl RunningJob for ScriptedJob {
    async fn changed(&self, seen: LogOffset) -> Result<JobNews, ExecuteError> {
        Ok(self
            .0
            .until(|state| match &state.end {
                Some(end) if state.position.offset <= seen => Some(JobNews::Ended(Box::new(end.clone()))),
                Some(_) | None => {
                    (state.position.offset > seen).then_some(JobNews::Log(state.position.offset))
                }
            })
            .await)
    }

    async fn read_log(&self, from: LogOffset, max_bytes: usize) -> Result<Vec<LogChunk>, ExecuteError> {
        let state = locked(&self.0.state);
        let mut left = max_bytes;
        let mut first = true;
        let wanted = state.chunks.iter().skip_while(|chunk| chunk.end.offset <= from);
        Ok(wanted
            .take_while(|chunk| {
                let fits = first || chunk.payload.len() <= left;
                first = false;
                left = left.saturating_sub(chunk.payload.len());
                fits
            })
            .cloned()
            .collect())
    }

    async fn stop(&self, reason: StopReason, grace: Duration) -> Result<(), ExecuteError> {
        locked(&self.0.state).stop.get_or_insert((reason, grace));
        self.0.touch();
        Ok(())
    }

    fn running_for(&self) -> Duration {
        match &locked(&self.0.state).end {
            Some(end) => end.ran_for,
            None => self.0.started.elapsed(),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}
