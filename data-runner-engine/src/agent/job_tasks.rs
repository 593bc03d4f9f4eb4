//! What is done for one attempt. Each task answers with one event.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::agent::{AgentEvent, JobStep, LogTurn};
use data_runner_core::execution::{Failure, FailureCause, StopReason};
use data_runner_core::id::Claim;
use data_runner_core::log::LogOffset;
use data_runner_core::message::LogAppend;
use data_runner_core::port::{
    AgentSession, ExecuteError, Executor, Prepared, RunRequest, RunningJob, SecretResolver,
};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::artifacts::{self, KeptFiles};
use super::bundles::Bundles;
use super::chain;
use super::code::{self, CodeUnpacker, NoCode};
use super::performer::News;
use super::secrets;

/// The wait before a job that could not be asked or stopped is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one try to fetch the code may take.
const FETCH_WITHIN: Duration = Duration::from_secs(4 * 60);

/// How long making an environment may take. What hangs must not hold an attempt for ever: nothing counts its time yet.
const PREPARE_WITHIN: Duration = Duration::from_secs(25 * 60);

/// What the loop holds for one attempt.
pub(super) struct JobTasks {
    pub(super) request: Arc<RunRequest>,
    pub(super) executor: Option<Arc<dyn Executor>>,
    pub(super) prepared: Option<Prepared>,
    pub(super) job: Option<Arc<dyn RunningJob>>,
    /// Breaks off fetching and preparing.
    pub(super) halt: CancellationToken,
    /// The attempt is being let go: nobody watches or stops it any more.
    pub(super) over: CancellationToken,
    /// Breaks off bringing files to the supervisor.
    pub(super) give_up: CancellationToken,
    kept: KeptFiles,
    /// Pieces of the log go out one after another.
    log_line: Arc<Mutex<()>>,
    news: mpsc::UnboundedSender<News>,
}

impl JobTasks {
    pub(super) fn new(
        request: RunRequest,
        executor: Option<Arc<dyn Executor>>,
        news: mpsc::UnboundedSender<News>,
    ) -> Self {
        Self {
            request: Arc::new(request),
            executor,
            prepared: None,
            job: None,
            halt: CancellationToken::new(),
            over: CancellationToken::new(),
            give_up: CancellationToken::new(),
            kept: KeptFiles::default(),
            log_line: Arc::default(),
            news,
        }
    }

    fn claim(&self) -> Claim {
        self.request.claim
    }

    pub(super) fn fetch(
        &self,
        bundles: Arc<Bundles>,
        unpacker: Arc<dyn CodeUnpacker>,
        session: Option<Arc<dyn AgentSession>>,
    ) {
        let (request, halt, answer) = (Arc::clone(&self.request), self.halt.clone(), self.answer());
        tokio::spawn(async move {
            let fetched = code::bundle(&bundles, session, request.claim, &request.job.bundle);
            let bytes = tokio::select! {
                biased;
                () = halt.cancelled() => return answer.step(JobStep::Halted),
                bytes = tokio::time::timeout(FETCH_WITHIN, fetched) => bytes,
            };
            let bytes = bytes.unwrap_or_else(|_| {
                Err(NoCode::Delayed(format!(
                    "it did not come within {} minutes",
                    FETCH_WITHIN.as_secs() / 60
                )))
            });
            // Unpacking cannot be broken off half-way; it is short.
            let ready = match bytes {
                Ok(bytes) => code::unpack(unpacker, bytes, request.code()).await,
                Err(none) => Err(none),
            };
            answer.step(match ready {
                Ok(()) => JobStep::CodeReady,
                Err(NoCode::Delayed(message)) => JobStep::CodeDelayed { message },
                Err(NoCode::Impossible(failure)) => JobStep::Impossible { failure },
            });
        });
    }

    pub(super) fn prepare(&self) {
        let (request, halt, answer) = (Arc::clone(&self.request), self.halt.clone(), self.answer());
        let Some(executor) = self.executor.clone() else {
            return answer.step(JobStep::Impossible { failure: no_executor(&self.request) });
        };
        tokio::spawn(async move {
            let prepared = tokio::select! {
                biased;
                () = halt.cancelled() => return answer.step(JobStep::Halted),
                prepared = tokio::time::timeout(PREPARE_WITHIN, executor.prepare(request)) => prepared,
            };
            match prepared {
                Err(_) => answer.step(JobStep::Impossible { failure: not_in_time() }),
                Ok(Ok(prepared)) => answer.send(News::Prepared { claim: answer.claim, prepared }),
                Ok(Err(error)) => answer.step(JobStep::Impossible { failure: environment(error) }),
            }
        });
    }

    /// Resolves the job's secrets and starts it.
    pub(super) fn start(&mut self, resolver: Arc<dyn SecretResolver>) {
        let (request, answer) = (Arc::clone(&self.request), self.answer());
        let (Some(executor), Some(mut prepared)) = (self.executor.clone(), self.prepared.take()) else {
            return answer.step(JobStep::Impossible { failure: no_executor(&self.request) });
        };
        tokio::spawn(async move {
            match secrets::resolve(resolver.as_ref(), &request.job.secrets).await {
                Ok(values) => prepared.secrets.extend(values),
                Err(failure) => return answer.step(JobStep::Impossible { failure }),
            }
            match executor.start(request, prepared).await {
                Ok(job) => answer.job(job, JobStep::Started),
                Err(ExecuteError::Failed(failure)) => answer.step(JobStep::Impossible { failure }),
                Err(error @ ExecuteError::Machine { .. }) => {
                    tracing::warn!(attempt = %answer.claim, error = &error as &dyn Error, "starting failed half-way");
                    answer.step(JobStep::Unclear);
                }
            }
        });
    }

    pub(super) fn adopt(&self) {
        let (request, answer) = (Arc::clone(&self.request), self.answer());
        let Some(executor) = self.executor.clone() else {
            tracing::error!(attempt = %answer.claim, worker_type = %request.job.worker_type,
                "this agent has no executor any more for an attempt that it holds");
            return answer.step(JobStep::AdoptFailed);
        };
        tokio::spawn(async move {
            match executor.adopt(request).await {
                Ok(Some(job)) => {
                    let running_for = job.running_for();
                    answer.job(job, JobStep::Adopted { running_for });
                }
                Ok(None) => {
                    let message =
                        "no process of it is on the worker: it was never started, or the machine restarted";
                    answer.step(JobStep::NotFound { message: message.to_owned() });
                }
                Err(error) => {
                    tracing::warn!(attempt = %answer.claim, error = &error as &dyn Error, "adopting failed");
                    answer.step(JobStep::AdoptFailed);
                }
            }
        });
    }

    pub(super) fn watch(&self, seen: LogOffset) {
        let (over, answer) = (self.over.clone(), self.answer());
        let Some(job) = self.job.clone() else {
            return;
        };
        tokio::spawn(over.run_until_cancelled_owned(async move {
            loop {
                match job.changed(seen).await {
                    Ok(news) => return answer.step(JobStep::News(news)),
                    Err(error) => {
                        tracing::warn!(attempt = %answer.claim, error = &error as &dyn Error, "the job gives no news");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }));
    }

    /// Brings the files that the job left to the supervisor. `turn` is shared by all attempts: one file comes at a time.
    pub(super) fn keep_artifacts(&self, session: Arc<dyn AgentSession>, turn: Arc<Mutex<()>>) {
        let (request, kept, answer) = (Arc::clone(&self.request), Arc::clone(&self.kept), self.answer());
        let (over, give_up) = (self.over.clone(), self.give_up.clone());
        tokio::spawn(async move {
            let keeping = async {
                let _alone = turn.lock().await;
                artifacts::keep(&request, &*session, kept).await
            };
            tokio::select! {
                biased;
                () = over.cancelled() => {}
                () = give_up.cancelled() => {}
                step = keeping => answer.step(step),
            }
        });
    }

    pub(super) fn stop(&self, reason: StopReason, grace: Duration) {
        let (over, claim) = (self.over.clone(), self.claim());
        let Some(job) = self.job.clone() else {
            return;
        };
        tokio::spawn(over.run_until_cancelled_owned(async move {
            while let Err(error) = job.stop(reason, grace).await {
                tracing::warn!(attempt = %claim, error = &error as &dyn Error, "the job could not be stopped");
                tokio::time::sleep(PAUSE).await;
            }
        }));
    }

    /// Reads a piece of the log and hands it over, until the session is `over`.
    pub(super) fn send_log(
        &self,
        session: Arc<dyn AgentSession>,
        over: CancellationToken,
        turn: LogTurn,
        from: LogOffset,
        max_bytes: u64,
    ) {
        let (log_line, answer) = (Arc::clone(&self.log_line), self.answer());
        let Some(job) = self.job.clone() else {
            return answer.log_sent(turn, from);
        };
        tokio::spawn(async move {
            let mut upto = from;
            let sending = async {
                let _in_order = log_line.lock().await;
                let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
                let chunks = match job.read_log(from, max_bytes).await {
                    Ok(chunks) => chunks,
                    Err(error) => {
                        tracing::warn!(attempt = %answer.claim, error = &error as &dyn Error, "the log cannot be read");
                        return;
                    }
                };
                for chunk in chunks {
                    let end = chunk.end.offset;
                    if session.send_log(LogAppend { claim: answer.claim, chunk }).await.is_err() {
                        // The session's own task reports its end.
                        return;
                    }
                    upto = end;
                }
            };
            // Nothing to answer to when the session is over: the log goes on with the next one.
            let _given_up = over.run_until_cancelled(sending).await;
            answer.log_sent(turn, upto);
        });
    }

    fn answer(&self) -> Answer {
        Answer { claim: self.claim(), news: self.news.clone() }
    }
}

/// The way back to the loop.
struct Answer {
    claim: Claim,
    news: mpsc::UnboundedSender<News>,
}

impl Answer {
    fn send(&self, news: News) {
        // A loop that has ended wants no answers: what is on disk tells the next one.
        let _ended = self.news.send(news);
    }

    fn step(&self, step: JobStep) {
        self.send(News::Event(AgentEvent::Job { claim: self.claim, step }));
    }

    fn job(&self, job: Box<dyn RunningJob>, step: JobStep) {
        self.send(News::Job { claim: self.claim, job: Arc::from(job), step });
    }

    fn log_sent(&self, turn: LogTurn, upto: LogOffset) {
        self.send(News::Event(AgentEvent::LogSent { claim: self.claim, turn, upto }));
    }
}

fn not_in_time() -> Failure {
    let message = format!("the environment was not ready within {} minutes", PREPARE_WITHIN.as_secs() / 60);
    Failure::new(FailureCause::Environment, message).hinting(
        "see whether the worker reaches the package index, or need less of it: a lock, fewer packages",
    )
}

fn no_executor(request: &RunRequest) -> Failure {
    let message = format!("this worker cannot run jobs of type {}", request.job.worker_type);
    Failure::new(FailureCause::Environment, message)
}

fn environment(error: ExecuteError) -> Failure {
    match error {
        ExecuteError::Failed(failure) => failure,
        error @ ExecuteError::Machine { .. } => Failure::new(FailureCause::Environment, chain(&error)),
    }
}
