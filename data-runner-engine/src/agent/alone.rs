//! One job without a supervisor: the same executors, the same secrets, in the caller's own process.

use std::sync::Arc;

use bytes::Bytes;
use data_runner_core::execution::{Ending, Failure, FailureCause, StopReason, Usage};
use data_runner_core::log::{LogOffset, Segment};
use data_runner_core::port::{
    ExecuteError, Executor, JobEnd, JobNews, RunRequest, RunningJob, SecretResolver,
};
use tokio_util::sync::CancellationToken;

use super::chain;
use super::code::{self, CodeUnpacker, NoCode};
use super::secrets;

/// About how much of a log is read at once.
const PIECE: usize = 1 << 20;

/// What runs a job alone.
pub struct Alone {
    /// Runs jobs of its worker type.
    pub executor: Arc<dyn Executor>,
    /// Unpacks its code.
    pub unpacker: Arc<dyn CodeUnpacker>,
    /// Resolves its secrets.
    pub secrets: Arc<dyn SecretResolver>,
}

impl Alone {
    /// Runs a job, whose code is in `archive`, to its end; `print` gets its log as it comes. When `stop` is cancelled the
    /// job is told to end, and killed after its grace. What it leaves in `run.folder` is the caller's to remove.
    ///
    /// # Errors
    /// This machine failed us. Why a job could not be started is an [`Ending::NeverStarted`] instead.
    pub async fn run(
        &self,
        run: RunRequest,
        archive: Bytes,
        stop: CancellationToken,
        print: impl FnMut(Segment) + Send,
    ) -> Result<JobEnd, ExecuteError> {
        let started = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(never(Ending::Stopped { reason: StopReason::Cancelled })),
            started = self.start(Arc::new(run.clone()), archive) => started,
        };
        match started {
            Ok(job) => follow(&*job, &run, stop, print).await,
            Err(ExecuteError::Failed(failure)) => Ok(never(Ending::NeverStarted { failure })),
            Err(error @ ExecuteError::Machine { .. }) => Err(error),
        }
    }

    async fn start(&self, run: Arc<RunRequest>, archive: Bytes) -> Result<Box<dyn RunningJob>, ExecuteError> {
        let unpacked = code::unpack(Arc::clone(&self.unpacker), archive, run.code()).await;
        unpacked.map_err(|none| {
            ExecuteError::Failed(match none {
                NoCode::Impossible(failure) => failure,
                NoCode::Delayed(message) => Failure::new(FailureCause::Source, message),
            })
        })?;
        let mut prepared = self.executor.prepare(Arc::clone(&run)).await?;
        let values = secrets::resolve(&*self.secrets, &run.job.secrets).await;
        prepared.secrets.extend(values.map_err(ExecuteError::Failed)?);
        self.executor.start(run, prepared).await
    }
}

async fn follow(
    job: &dyn RunningJob,
    run: &RunRequest,
    stop: CancellationToken,
    mut print: impl FnMut(Segment) + Send,
) -> Result<JobEnd, ExecuteError> {
    let mut seen = LogOffset(0);
    let mut told = false;
    loop {
        let news = tokio::select! {
            () = stop.cancelled(), if !told => {
                told = true;
                job.stop(StopReason::Cancelled, run.job.grace).await?;
                continue;
            }
            news = job.changed(seen) => news?,
        };
        let upto = match &news {
            JobNews::Log(upto) => *upto,
            JobNews::Ended(end) => end.log_end,
        };
        while seen < upto {
            let chunks = job.read_log(seen, PIECE).await?;
            if chunks.is_empty() {
                break;
            }
            for chunk in chunks {
                let segments = chunk.segments().map_err(|error| ExecuteError::Machine {
                    doing: format!("reading the log: {}", chain(&error)),
                    source: error.into(),
                })?;
                segments.into_iter().for_each(&mut print);
                seen = chunk.end.offset;
            }
        }
        if let JobNews::Ended(end) = news {
            return Ok(*end);
        }
    }
}

/// The end of a job that never ran.
fn never(ending: Ending) -> JobEnd {
    JobEnd {
        ending,
        usage: Usage::default(),
        output: None,
        warnings: Vec::new(),
        log_end: LogOffset(0),
        ran_for: std::time::Duration::ZERO,
        sql: None,
    }
}
