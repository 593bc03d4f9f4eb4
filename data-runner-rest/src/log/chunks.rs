//! The chunks of an execution's log, in order, as they come to be.

use std::collections::VecDeque;

use data_runner_core::execution::Execution;
use data_runner_core::id::{AttemptId, AttemptNumber, ExecutionId};
use data_runner_core::log::{Gap, LogChunk};
use data_runner_core::port::{LogRange, LogState, StateError};
use data_runner_core::time::Timestamp;
use data_runner_engine::{Handle, Watch};
use tokio_util::sync::CancellationToken;

/// How many chunks are read from the store at a time.
const BATCH: u32 = 8;

/// Reads, and follows if that is wanted: from one attempt to the next, until the execution has ended.
pub(crate) struct Chunks {
    handle: Handle,
    execution: ExecutionId,
    attempt: Option<AttemptNumber>,
    /// What is read next; `None`: nothing that is wanted comes later in this attempt.
    range: Option<LogRange>,
    read: VecDeque<LogChunk>,
    /// The last line that is wanted of this attempt.
    to: u64,
    follow: Option<Follow>,
    next: Next,
}

/// What following needs.
pub(crate) struct Follow {
    /// Ends when the server does.
    pub(crate) closing: CancellationToken,
    /// Whether it stays with its attempt.
    pub(crate) pinned: bool,
    execution: Watch,
    log: Option<Watch>,
    look: Look,
}

/// Whether the execution may have changed since it was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Needed,
    Done,
}

/// What follows when nothing more of the attempt's log is stored.
#[derive(Clone)]
enum Next {
    /// More of the same attempt, if it is followed.
    More,
    /// This attempt has ended, and then comes that.
    Attempt(AttemptNumber),
    /// It is over.
    End(Box<Execution>),
}

/// What comes next.
pub(crate) enum Step {
    /// A chunk.
    Chunk(Box<LogChunk>),
    /// The attempt's log ends here; with a gap if something is missing at its end.
    AttemptEnded {
        /// When it was found, and what is missing.
        missing: Option<(Timestamp, Gap)>,
        /// The attempt. The log of the one after it follows.
        attempt: AttemptNumber,
    },
    /// Nothing more comes.
    Ended {
        /// When it was found, and what is missing at the end of the last attempt's log.
        missing: Option<(Timestamp, Gap)>,
        /// The execution as it stands.
        execution: Box<Execution>,
    },
    /// The server ends; there may be more.
    Closing,
}

impl Follow {
    /// Made before anything is read, so that no news is missed.
    pub(crate) fn new(
        handle: &Handle,
        execution: ExecutionId,
        pinned: bool,
        closing: CancellationToken,
    ) -> Self {
        Self { closing, pinned, execution: handle.watch_execution(execution), log: None, look: Look::Needed }
    }
}

impl Chunks {
    /// Of `execution`, starting with `attempt`, or with the first one when there is none yet.
    pub(crate) fn new(
        handle: Handle,
        execution: Box<Execution>,
        attempt: Option<AttemptNumber>,
        lines: (u64, u64),
        follow: Option<Follow>,
    ) -> Self {
        let mut chunks = Self {
            execution: execution.id,
            attempt: None,
            range: Some(LogRange::Lines { from: lines.0, to: lines.1 }),
            read: VecDeque::new(),
            to: lines.1,
            next: if follow.is_some() { Next::More } else { Next::End(execution) },
            handle,
            follow,
        };
        if let Some(attempt) = attempt {
            chunks.enter(attempt);
        }
        chunks
    }

    /// The attempt whose log is read.
    pub(crate) fn attempt(&self) -> AttemptNumber {
        self.attempt.unwrap_or(AttemptNumber::FIRST)
    }

    /// What comes next. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Step, StateError> {
        loop {
            if self.read.front().is_some_and(|chunk| chunk.lowest_line() > self.to) {
                self.pass_the_rest().await?;
            }
            if let Some(chunk) = self.read.pop_front() {
                return Ok(Step::Chunk(Box::new(chunk)));
            }
            if self.read_more().await? {
                continue;
            }
            // Cloned: should this be cancelled while it waits for the store, what comes next is not forgotten.
            match self.next.clone() {
                Next::End(execution) => {
                    return Ok(Step::Ended { missing: self.missing().await?, execution });
                }
                Next::Attempt(next) => {
                    let (missing, attempt) = (self.missing().await?, self.attempt());
                    self.next = Next::More;
                    self.enter(next);
                    return Ok(Step::AttemptEnded { missing, attempt });
                }
                Next::More => {
                    if let Some(step) = self.wait().await? {
                        return Ok(step);
                    }
                }
            }
        }
    }

    /// Reads what is stored next; whether there was anything.
    async fn read_more(&mut self) -> Result<bool, StateError> {
        let (Some(number), Some(range)) = (self.attempt, self.range) else {
            return Ok(false);
        };
        let attempt = AttemptId { execution: self.execution, number };
        let chunks = self.handle.logs().read(attempt, range, BATCH).await?;
        let Some(last) = chunks.last() else {
            return Ok(false);
        };
        self.range = Some(LogRange::FromOffset(last.end.offset));
        self.read.extend(chunks);
        Ok(true)
    }

    /// Nothing more is stored: waits for news, or finds that there will be none. What was written between the last
    /// read and the end of the attempt is read once more.
    async fn wait(&mut self) -> Result<Option<Step>, StateError> {
        let Some(follow) = &mut self.follow else {
            return Ok(None);
        };
        if follow.look == Look::Needed {
            let execution = self.handle.catalog().execution(self.execution).await?;
            follow.look = Look::Done;
            if let Some(execution) = execution {
                self.next = next_of(self.attempt, follow.pinned, execution);
            }
            if let (Next::Attempt(number), None) = (&self.next, self.attempt) {
                let number = *number;
                self.next = Next::More;
                self.enter(number);
            }
            return Ok(None);
        }
        let log = async {
            match &mut follow.log {
                Some(log) => log.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = follow.closing.cancelled() => return Ok(Some(Step::Closing)),
            () = follow.execution.changed() => follow.look = Look::Needed,
            () = log => {}
        }
        Ok(None)
    }

    fn enter(&mut self, number: AttemptNumber) {
        if self.attempt.is_some() {
            (self.range, self.to) = (Some(LogRange::Lines { from: 1, to: u64::MAX }), u64::MAX);
        }
        self.attempt = Some(number);
        if let Some(follow) = &mut self.follow {
            let attempt = AttemptId { execution: self.execution, number };
            follow.log = Some(self.handle.watch_log(attempt));
            // The next one may have begun, and ended, meanwhile.
            follow.look = Look::Needed;
        }
    }

    /// No later chunk holds a line that is wanted. Who asked for lines up to some number does not wait for others.
    async fn pass_the_rest(&mut self) -> Result<(), StateError> {
        if let Some(execution) = self.handle.catalog().execution(self.execution).await? {
            self.next = Next::End(Box::new(execution));
        }
        self.range = None;
        self.read.clear();
        Ok(())
    }

    async fn missing(&self) -> Result<Option<(Timestamp, Gap)>, StateError> {
        let Some(number) = self.attempt else {
            return Ok(None);
        };
        let summary = self.handle.logs().summary(AttemptId { execution: self.execution, number }).await?;
        match summary.state {
            LogState::Truncated { at, gap } if self.to >= summary.end.next_line => Ok(Some((at, gap))),
            LogState::Truncated { .. } | LogState::Open | LogState::Complete { .. } => Ok(None),
        }
    }
}

/// What follows an attempt, as the execution stands.
fn next_of(attempt: Option<AttemptNumber>, pinned: bool, execution: Execution) -> Next {
    let Some(number) = attempt else {
        return match execution.attempts.first() {
            Some(first) => Next::Attempt(first.number),
            None if execution.state.finished_at().is_some() => Next::End(Box::new(execution)),
            None => Next::More,
        };
    };
    let ended = execution.attempts.iter().any(|attempt| attempt.number == number && attempt.end.is_some());
    let later = execution.attempts.iter().map(|attempt| attempt.number).find(|later| *later > number);
    match later {
        Some(later) if !pinned => Next::Attempt(later),
        Some(_) | None if execution.state.finished_at().is_some() || (pinned && ended) => {
            Next::End(Box::new(execution))
        }
        Some(_) | None => Next::More,
    }
}
