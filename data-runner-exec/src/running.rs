//! A job as the agent sees it: the shim's socket for news, its files for everything else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use data_runner_core::execution::{Ending, Failure, StopReason, Usage};
use data_runner_core::log::{LogChunk, LogOffset};
use data_runner_core::port::{ExecuteError, JobEnd, JobNews, RunningJob};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;

use crate::remains;
use crate::shim::control_line;
use crate::shim::record::{self, Command, EXIT_FILE, ExitRecord, OUTPUT_FILE, OUTPUT_LIMIT};
use crate::spool::SpoolReader;

/// A job that a shim runs or ran. Dropping it leaves the job alone.
#[derive(Debug)]
pub(crate) struct ShimJob {
    log: SpoolReader,
    began: Instant,
    news: watch::Receiver<News>,
    commands: Mutex<Option<OwnedWriteHalf>>,
    watcher: Option<AbortHandle>,
}

#[derive(Debug, Clone)]
enum News {
    /// So many times was there something to look at.
    Alive(u64),
    Ended(Box<JobEnd>),
    /// How it ended cannot be read.
    Unreadable(Arc<io::Error>),
}

impl ShimJob {
    /// A job whose shim talks on `socket`, and which began `ago`.
    pub(crate) fn alive(folder: &Path, socket: UnixStream, ago: Duration) -> Self {
        let (from_shim, to_shim) = socket.into_split();
        let (news, receiver) = watch::channel(News::Alive(0));
        let watcher = tokio::spawn(listen(folder.to_owned(), from_shim, news));
        Self {
            log: SpoolReader::open(folder),
            began: Instant::now().checked_sub(ago).unwrap_or_else(Instant::now),
            news: receiver,
            commands: Mutex::new(Some(to_shim)),
            watcher: Some(watcher.abort_handle()),
        }
    }

    /// A job that has ended.
    pub(crate) fn ended(folder: &Path, end: JobEnd) -> Self {
        let (_, news) = watch::channel(News::Ended(Box::new(end)));
        let log = SpoolReader::open(folder);
        Self { log, began: Instant::now(), news, commands: Mutex::new(None), watcher: None }
    }
}

impl Drop for ShimJob {
    fn drop(&mut self) {
        if let Some(watcher) = &self.watcher {
            watcher.abort();
        }
    }
}

#[async_trait]
impl RunningJob for ShimJob {
    async fn changed(&self, seen: LogOffset) -> Result<JobNews, ExecuteError> {
        let mut news = self.news.clone();
        loop {
            let latest = news.borrow_and_update().clone();
            let end = self.log.end().map_err(|error| machine("reading the log's spool", error))?;
            if end > seen {
                return Ok(JobNews::Log(end));
            }
            match latest {
                News::Ended(end) => return Ok(JobNews::Ended(end)),
                News::Unreadable(error) => return Err(machine("reading how the job ended", error)),
                News::Alive(_) => {}
            }
            news.changed().await.map_err(|error| machine("listening to the shim", error))?;
        }
    }

    async fn read_log(&self, from: LogOffset, max_bytes: usize) -> Result<Vec<LogChunk>, ExecuteError> {
        self.log.read(from, max_bytes).map_err(|error| machine("reading the log's spool", error))
    }

    async fn stop(&self, reason: StopReason, grace: Duration) -> Result<(), ExecuteError> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let line = control_line(Command::Stop { reason, grace_ms });
        let line = line.map_err(|error| machine("writing a command to the shim", error))?;
        let mut commands = self.commands.lock().await;
        if let Some(shim) = commands.as_mut()
            // One that is gone needs no command: its end is, or will be, the news.
            && shim.write_all(&line).await.is_err()
        {
            *commands = None;
        }
        Ok(())
    }

    fn running_for(&self) -> Duration {
        match &*self.news.borrow() {
            News::Ended(end) => end.ran_for,
            News::Alive(_) | News::Unreadable(_) => self.began.elapsed(),
        }
    }
}

/// Turns what the shim says into news, until it is gone.
async fn listen(folder: PathBuf, mut shim: OwnedReadHalf, news: watch::Sender<News>) {
    let mut block = [0; 1024];
    while let Ok(1..) = shim.read(&mut block).await {
        news.send_modify(|latest| {
            if let News::Alive(count) = latest {
                *count += 1;
            }
        });
    }
    let end = tokio::task::spawn_blocking(move || end_of(&folder)).await.map_err(io::Error::other);
    news.send_replace(match end.flatten() {
        Ok(end) => News::Ended(Box::new(end)),
        Err(error) => News::Unreadable(Arc::new(error)),
    });
}

/// How the job in `folder` ended whose shim is gone. Without an exit record it has vanished; then nothing of it is left
/// when this returns.
fn end_of(folder: &Path) -> io::Result<JobEnd> {
    match recorded_end(folder)? {
        Some(end) => Ok(end),
        None => vanished(folder),
    }
}

/// How the job in `folder` ended, if that is on record.
pub(crate) fn recorded_end(folder: &Path) -> io::Result<Option<JobEnd>> {
    let Some(exit) = record::read::<ExitRecord>(&folder.join(EXIT_FILE))? else {
        return Ok(None);
    };
    let (output, warnings) = match output(folder) {
        Ok(output) => (output, Vec::new()),
        Err(not_kept) => (None, vec![not_kept.to_string()]),
    };
    Ok(Some(JobEnd {
        ending: exit.ending,
        usage: Usage {
            peak_memory_bytes: exit.peak_memory_bytes,
            cpu_time: Duration::from_micros(exit.cpu_micros),
            storage: exit.measured.storage,
            peak_folder_bytes: exit.measured.peak_folder_bytes,
            peak_spill_bytes: exit.measured.peak_spill_bytes,
            network: exit.measured.network,
        },
        output,
        warnings,
        log_end: exit.log_end,
        ran_for: Duration::from_micros(exit.ran_micros),
        sql: exit.sql,
    }))
}

/// Ends what is left of a job whose shim was killed, and says so.
pub(crate) fn vanished(folder: &Path) -> io::Result<JobEnd> {
    remains::end(folder)?;
    Ok(JobEnd {
        ending: Ending::Vanished {
            message: "the process that kept watch over the job was killed".to_owned(),
        },
        usage: Usage::default(),
        output: None,
        warnings: Vec::new(),
        log_end: SpoolReader::open(folder).end()?,
        ran_for: Duration::ZERO,
        sql: None,
    })
}

/// Why a job's output is not kept. Nothing of what it wrote is in the message: it may hold secrets.
#[derive(Debug, thiserror::Error)]
enum OutputNotKept {
    #[error(
        "the output that the job wrote to DATA_RUNNER_OUTPUT is not kept: it has {length} bytes, and {OUTPUT_LIMIT} \
         are allowed; keep what is large as an artifact"
    )]
    TooLarge { length: u64 },
    #[error("the output that the job wrote to DATA_RUNNER_OUTPUT is not kept: it is not JSON ({0})")]
    NotJson(serde_json::Error),
    #[error("the output that the job wrote to DATA_RUNNER_OUTPUT is not kept: it cannot be read ({0})")]
    Unreadable(io::Error),
}

/// The job's output, if it wrote any. A job is not failed for one that is not kept, and nothing is added to its log.
fn output(folder: &Path) -> Result<Option<serde_json::Value>, OutputNotKept> {
    let path = folder.join(OUTPUT_FILE);
    let file = match std::fs::symlink_metadata(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OutputNotKept::Unreadable(error)),
    };
    if !file.is_file() {
        return Err(OutputNotKept::Unreadable(io::Error::other("it is no regular file")));
    }
    if file.len() > OUTPUT_LIMIT {
        return Err(OutputNotKept::TooLarge { length: file.len() });
    }
    let text = std::fs::read(&path).map_err(OutputNotKept::Unreadable)?;
    serde_json::from_slice(&text).map(Some).map_err(OutputNotKept::NotJson)
}

/// Why the job never started, if that is how it ended.
pub(crate) fn failure_of(end: &JobEnd) -> Option<Failure> {
    match &end.ending {
        Ending::NeverStarted { failure } => Some(failure.clone()),
        Ending::Exited { .. }
        | Ending::Signalled { .. }
        | Ending::OutOfMemory { .. }
        | Ending::Stopped { .. }
        | Ending::Vanished { .. } => None,
    }
}

pub(crate) fn machine(
    doing: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ExecuteError {
    ExecuteError::Machine { doing: doing.to_owned(), source: source.into() }
}
