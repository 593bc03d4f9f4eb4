//! Waiting for an execution, with or without its log, through lost connections and Ctrl-C.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::context::Context;
use super::live::{LiveLine, phase_line};
use crate::error::Error;
use crate::outcome::Outcome;
use crate::output::{say, style};
use data_runner_rest::api::Execution;

/// How often the state is asked for while a person looks on.
const LOOK: Duration = Duration::from_millis(250);
/// How long a server may be away before waiting is given up.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries to reach a server that went away.
const PAUSE: Duration = Duration::from_millis(500);

/// What is wanted of a log that is followed, and where it goes.
#[derive(Debug, Clone)]
pub struct LogWanted {
    /// Filters, as the rest of a query.
    pub query: String,
    /// The media type.
    pub form: &'static str,
    /// Where it goes.
    pub sink: LogSink,
}

/// The media type of a log as the job wrote it.
pub const TEXT: &str = "text/plain";
/// The media type of a log as one document a line.
pub const LINES: &str = "application/x-ndjson";

/// Where the log goes while it is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSink {
    /// It is data.
    Stdout,
    /// Another document is the data.
    Stderr,
}

/// How a wait ended.
#[derive(Debug)]
pub enum Followed {
    /// The execution is over.
    Ended(Box<Execution>),
    /// Ctrl-C: it goes on without us; as it was when we came.
    Detached(Box<Execution>),
}

/// Waits until the execution is over.
pub async fn wait(context: &Context, execution: Execution) -> Result<Followed, Error> {
    let line = LiveLine::start(&phase_line(&execution, Timestamp::now()));
    tokio::select! {
        ended = until_terminal(context, execution.clone(), &line) => Ok(Followed::Ended(Box::new(ended?))),
        _ = tokio::signal::ctrl_c() => Ok(detached(execution)),
    }
}

/// Shows the log as it grows until the execution is over.
pub async fn follow(context: &Context, execution: Execution, wanted: LogWanted) -> Result<Followed, Error> {
    tokio::select! {
        ended = log_until_terminal(context, execution.clone(), wanted) => Ok(Followed::Ended(Box::new(ended?))),
        _ = tokio::signal::ctrl_c() => Ok(detached(execution)),
    }
}

/// Says how to come back, and how to end what goes on.
fn detached(execution: Execution) -> Followed {
    let id = execution.id;
    say(&format!(
        "\n{} the execution goes on\n  follow it: data-runner logs -f {id}\n  end it:    data-runner cancel {id}",
        style::warn("detached:")
    ));
    Followed::Detached(Box::new(execution))
}

/// The exit code of Ctrl-C: 128 and the number of SIGINT.
pub const DETACHED: u8 = 130;

impl Followed {
    /// What the command exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Ended(execution) => Outcome::of(execution).exit_code(),
            Self::Detached(_) => DETACHED,
        }
    }
}

/// Copies the log to where it goes, then waits for the end.
struct Follower<'a> {
    context: &'a Context,
    id: String,
    path: String,
    form: &'static str,
    sink: LogSink,
    live: LiveLine,
    /// The attempt that the answer began with.
    attempt: Option<String>,
    /// Bytes of the log that were copied since then: a new connection leaves them out.
    copied: u64,
    last: u8,
}

async fn log_until_terminal(
    context: &Context,
    execution: Execution,
    wanted: LogWanted,
) -> Result<Execution, Error> {
    let mut follower = Follower {
        context,
        path: format!("/executions/{}/logs?follow=true{}", execution.id, wanted.query),
        live: LiveLine::start(&phase_line(&execution, Timestamp::now())),
        id: execution.id.to_string(),
        form: wanted.form,
        sink: wanted.sink,
        attempt: None,
        copied: 0,
        last: b'\n',
    };
    while let Err(error) = follower.copy().await {
        let Error::Unreachable { .. } = error else { return Err(error) };
        follower.live.clear();
        say(&format!("{} {error}; trying again", style::warn("interrupted:")));
        until_reachable(context, &follower.id).await?;
    }
    follower.live.clear();
    if follower.last != b'\n' {
        // What is said next must not hang on the job's last line.
        say("");
    }
    until_terminal(context, execution, &LiveLine::none()).await
}

impl Follower<'_> {
    /// Copies until the log is complete, or the connection breaks.
    async fn copy(&mut self) -> Result<(), Error> {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let client = &self.context.client;
        let mut answer = client.stream(&self.path, self.form).await?;
        self.started(&answer);
        let mut skip = self.copied;
        loop {
            tokio::select! {
                biased;
                chunk = answer.chunk() => match chunk.map_err(|source| client.unreachable(source))? {
                    None => return Ok(()),
                    Some(chunk) => {
                        let known = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
                        skip -= known as u64;
                        self.take(chunk.get(known..).unwrap_or_default())?;
                    }
                },
                _ = looks.tick(), if self.live.is_shown() => {
                    let now: Execution = client.get(&format!("/executions/{}", self.id)).await?;
                    self.live.show(phase_line(&now, Timestamp::now()));
                }
            }
        }
    }

    /// Where another attempt has begun meanwhile, nothing of its log was copied yet. An answer that began before there
    /// was any attempt went on with the first.
    fn started(&mut self, answer: &reqwest::Response) {
        const FIRST: &str = "1";
        let attempt = answer.headers().get("data-runner-attempt").and_then(|value| value.to_str().ok());
        if self.attempt.as_deref().unwrap_or(FIRST) != attempt.unwrap_or(FIRST) {
            self.copied = 0;
        }
        self.attempt = attempt.map(ToOwned::to_owned);
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(last) = bytes.last() else { return Ok(()) };
        match self.sink {
            LogSink::Stdout => {
                if io::stdout().is_terminal() {
                    self.live.clear();
                }
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()?;
            }
            LogSink::Stderr => {
                self.live.clear();
                io::stderr().lock().write_all(bytes)?;
            }
        }
        self.last = *last;
        self.copied += bytes.len() as u64;
        Ok(())
    }
}

/// Waits until the execution is over, without a word.
pub async fn until_ended(context: &Context, execution: Execution) -> Result<Execution, Error> {
    until_terminal(context, execution, &LiveLine::none()).await
}

/// Asks until the execution is over.
async fn until_terminal(
    context: &Context,
    mut execution: Execution,
    live: &LiveLine,
) -> Result<Execution, Error> {
    let path = format!("/executions/{}", execution.id);
    let mut pause = Duration::from_millis(20);
    loop {
        execution = match context.client.get(&path).await {
            Err(Error::Unreachable { .. }) => until_reachable(context, &execution.id.to_string()).await?,
            other => other?,
        };
        if execution.state.is_terminal() {
            return Ok(execution);
        }
        live.show(phase_line(&execution, Timestamp::now()));
        sleep(pause).await;
        pause = (pause * 2).min(LOOK);
    }
}

/// The execution as soon as the server answers again; it may be restarting.
async fn until_reachable(context: &Context, id: &str) -> Result<Execution, Error> {
    let path = format!("/executions/{}", id);
    let asking = async {
        loop {
            sleep(PAUSE).await;
            match context.client.get(&path).await {
                Err(Error::Unreachable { .. }) => {}
                Err(Error::Server(problem)) if problem.status() == 503 => {}
                other => return other,
            }
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => context.client.get(&path).await,
    }
}
