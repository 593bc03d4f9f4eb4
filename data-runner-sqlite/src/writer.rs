//! The one task that writes.
//!
//! Decisions go before logs: a flood of output must not delay a commit by more than one transaction of
//! [`LOG_BYTES`]. Commits that wait at one time share one transaction, and so one flush of the disk (group commit);
//! the same for appends.

mod append;
mod artifacts;
mod batch;
mod decide;
mod rows;
mod shared;
mod tokens;

use std::collections::VecDeque;

use data_runner_core::event::Change;
use data_runner_core::id::{CommitSequence, Epoch};
use data_runner_core::message::{LogAck, LogAppend};
use data_runner_core::port::StateError;
use data_runner_core::time::Timestamp;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::connect::Options;
use crate::error::{Closed, store_error};
use append::append;
use decide::{CommitFailure, commit, raise_epoch};
use shared::Shared;
pub(crate) use tokens::TokenWrite;

/// How many bytes of chunks one transaction takes, give or take one chunk.
const LOG_BYTES: usize = 8 << 20;

/// How many changes one transaction takes, give or take one commit.
const GROUP_CHANGES: usize = 4096;

/// How many calls may wait; further ones wait to wait.
const QUEUE: usize = 1024;

type Reply<T> = oneshot::Sender<Result<T, StateError>>;

/// What is asked of the task, apart from logs.
enum Decision {
    Acquire(Reply<Epoch>),
    Commit(Commit),
    Token(TokenWrite),
    Close(Reply<()>),
}

/// One call of `commit`.
pub(crate) struct Commit {
    epoch: Epoch,
    at: Timestamp,
    changes: Vec<Change>,
    reply: Reply<CommitSequence>,
}

/// One call of `append`, perhaps half done.
struct Append {
    rest: VecDeque<LogAppend>,
    acks: Vec<LogAck>,
    reply: Reply<Vec<LogAck>>,
}

/// The handle of the task. The task ends when its handle is gone and everything that was asked is done.
#[derive(Debug)]
pub(crate) struct Writer {
    decisions: mpsc::Sender<Decision>,
    appends: mpsc::Sender<Append>,
}

impl Writer {
    pub(crate) fn start(options: Options, connection: SqliteConnection) -> Self {
        let (decisions, decided) = mpsc::channel(QUEUE);
        let (appends, appended) = mpsc::channel(QUEUE);
        let task = Task {
            options,
            connection: Some(connection),
            decisions: decided,
            next: None,
            appends: appended,
            waiting: VecDeque::new(),
        };
        tokio::spawn(task.run());
        Self { decisions, appends }
    }

    pub(crate) async fn acquire(&self) -> Result<Epoch, StateError> {
        self.ask(Decision::Acquire).await
    }

    pub(crate) async fn commit(
        &self,
        epoch: Epoch,
        at: Timestamp,
        changes: Vec<Change>,
    ) -> Result<CommitSequence, StateError> {
        self.ask(|reply| Decision::Commit(Commit { epoch, at, changes, reply })).await
    }

    /// Changes a token. It needs no tenure.
    pub(crate) async fn token<T>(&self, write: impl FnOnce(Reply<T>) -> TokenWrite) -> Result<T, StateError> {
        self.ask(|reply| Decision::Token(write(reply))).await
    }

    pub(crate) async fn append(&self, appends: Vec<LogAppend>) -> Result<Vec<LogAck>, StateError> {
        let (reply, answer) = oneshot::channel();
        let append = Append { acks: Vec::with_capacity(appends.len()), rest: appends.into(), reply };
        self.appends.send(append).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)?
    }

    /// Ends the task; a task that has ended already is closed as well.
    pub(crate) async fn close(&self) -> Result<(), StateError> {
        let (reply, answer) = oneshot::channel();
        match self.decisions.send(Decision::Close(reply)).await {
            Ok(()) => answer.await.unwrap_or(Ok(())),
            Err(_) => Ok(()),
        }
    }

    async fn ask<T>(&self, decision: impl FnOnce(Reply<T>) -> Decision) -> Result<T, StateError> {
        let (reply, answer) = oneshot::channel();
        self.decisions.send(decision(reply)).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)?
    }
}

struct Task {
    options: Options,
    /// `None` after a failure: the next one who needs it connects anew, so that nothing of the failure remains.
    connection: Option<SqliteConnection>,
    decisions: mpsc::Receiver<Decision>,
    /// A decision that ended a group because it was no commit.
    next: Option<Decision>,
    appends: mpsc::Receiver<Append>,
    waiting: VecDeque<Append>,
}

/// What is done next.
enum Turn {
    Decide(Decision),
    Log,
    End,
}

impl Task {
    async fn run(mut self) {
        loop {
            match self.turn().await {
                Turn::Decide(Decision::Acquire(reply)) => self.acquire(reply).await,
                Turn::Decide(Decision::Commit(first)) => self.commit(first).await,
                Turn::Decide(Decision::Token(write)) => self.token(write).await,
                Turn::Decide(Decision::Close(reply)) => {
                    self.finish_logs().await;
                    answer(reply, self.checkpoint().await);
                    break;
                }
                Turn::Log => self.log().await,
                Turn::End => break,
            }
        }
        self.disconnect().await;
    }

    async fn turn(&mut self) -> Turn {
        if let Some(decision) = self.next.take().or_else(|| self.decisions.try_recv().ok()) {
            return Turn::Decide(decision);
        }
        if !self.waiting.is_empty() {
            return Turn::Log;
        }
        tokio::select! {
            biased;
            Some(decision) = self.decisions.recv() => Turn::Decide(decision),
            Some(append) = self.appends.recv() => {
                self.waiting.push_back(append);
                Turn::Log
            }
            else => Turn::End,
        }
    }

    async fn acquire(&mut self, reply: Reply<Epoch>) {
        let result = match self.connection().await {
            Ok(connection) => raise_epoch(connection).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            self.disconnect().await;
        }
        answer(reply, result);
    }

    async fn token(&mut self, write: TokenWrite) {
        let failed = match self.connection().await {
            Ok(connection) => write.perform(connection).await,
            Err(error) => {
                write.refuse(error);
                return;
            }
        };
        if failed.is_err() {
            self.disconnect().await;
        }
    }

    /// Commits `first` and whatever waits behind it in one transaction.
    async fn commit(&mut self, first: Commit) {
        let mut size = first.changes.len();
        let mut group = vec![first];
        while size < GROUP_CHANGES {
            match self.decisions.try_recv() {
                Ok(Decision::Commit(commit)) => {
                    size += commit.changes.len();
                    group.push(commit);
                }
                Ok(other) => {
                    self.next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        match self.commit_group(&group).await {
            Ok(outcomes) => {
                for (commit, outcome) in group.into_iter().zip(outcomes) {
                    answer(commit.reply, outcome);
                }
            }
            // One of them spoils it for the others: each for itself. Not after a failed COMMIT, which may have been
            // done all the same.
            Err(CommitFailure::Before(_)) if group.len() > 1 => {
                for commit in group {
                    let alone = std::slice::from_ref(&commit);
                    let outcome = match self.commit_group(alone).await {
                        Ok(mut outcomes) => outcomes.pop().unwrap_or_else(|| Err(Closed.into())),
                        Err(failure) => Err(failure.into_error()),
                    };
                    answer(commit.reply, outcome);
                }
            }
            Err(failure) => {
                let error = Shared::new(failure.into_error());
                for commit in group {
                    answer(commit.reply, Err(error.copy()));
                }
            }
        }
    }

    async fn commit_group(
        &mut self,
        group: &[Commit],
    ) -> Result<Vec<Result<CommitSequence, StateError>>, CommitFailure> {
        let connection = self.connection().await.map_err(CommitFailure::Before)?;
        let result = commit(connection, group).await;
        if result.is_err() {
            self.disconnect().await;
        }
        result
    }

    /// One transaction of logs: as many as wait, up to [`LOG_BYTES`].
    async fn log(&mut self) {
        let mut batch = Vec::new();
        let mut size = 0;
        let mut calls = 0;
        while size < LOG_BYTES {
            if calls == self.waiting.len() {
                let Ok(append) = self.appends.try_recv() else {
                    break;
                };
                self.waiting.push_back(append);
            }
            let Some(call) = self.waiting.get_mut(calls) else {
                break;
            };
            while size < LOG_BYTES
                && let Some(one) = call.rest.pop_front()
            {
                size += one.chunk.payload.len();
                batch.push((calls, one));
            }
            calls += 1;
        }
        match self.append(&batch).await {
            Ok(acks) => self.acknowledge(&batch, acks),
            Err(error) => {
                let error = Shared::new(error);
                for call in self.waiting.drain(..calls) {
                    answer(call.reply, Err(error.copy()));
                }
            }
        }
    }

    async fn append(&mut self, batch: &[(usize, LogAppend)]) -> Result<Vec<LogAck>, StateError> {
        let result = append(self.connection().await?, batch.iter().map(|(_, one)| one)).await;
        if result.is_err() {
            self.disconnect().await;
        }
        result
    }

    fn acknowledge(&mut self, batch: &[(usize, LogAppend)], acks: Vec<LogAck>) {
        for ((call, _), ack) in batch.iter().zip(acks) {
            if let Some(call) = self.waiting.get_mut(*call) {
                call.acks.push(ack);
            }
        }
        while self.waiting.front().is_some_and(|call| call.rest.is_empty()) {
            if let Some(call) = self.waiting.pop_front() {
                answer(call.reply, Ok(call.acks));
            }
        }
    }

    async fn finish_logs(&mut self) {
        self.appends.close();
        while let Some(append) = self.appends.recv().await {
            self.waiting.push_back(append);
        }
        while !self.waiting.is_empty() {
            self.log().await;
        }
    }

    async fn checkpoint(&mut self) -> Result<(), StateError> {
        let connection = self.connection().await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await.map_err(store_error)?;
        Ok(())
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, StateError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.writer().await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn disconnect(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the connection to the state could not be closed");
        }
    }
}

/// Whoever asked may have gone meanwhile; what was done stays done.
fn answer<T>(reply: Reply<T>, result: Result<T, StateError>) {
    drop(reply.send(result));
}
