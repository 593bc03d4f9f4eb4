//! One session with the supervisor: tasks that say what is to be said and bring what is heard.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::agent::{AgentEvent, ConnectionId};
use data_runner_core::id::WorkerId;
use data_runner_core::message::AgentMessage;
use data_runner_core::port::{AgentSession, AgentTransport};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::performer::News;

/// How long the last messages may take, and how long the supervisor may take to end the session after them.
const FAREWELL: Duration = Duration::from_secs(1);

/// A try to connect; dropping it gives the try up.
pub(super) struct Dialing {
    pub(super) connection: ConnectionId,
    _stop: DropGuard,
}

impl Dialing {
    pub(super) fn begin(
        connection: ConnectionId,
        worker: WorkerId,
        transport: Arc<dyn AgentTransport>,
        news: mpsc::UnboundedSender<News>,
    ) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            let answer = tokio::select! {
                biased;
                () = stopped.cancelled() => return,
                answer = transport.connect(worker) => answer,
            };
            let _ended = news.send(match answer {
                Ok(session) => News::Session { connection, session: Arc::from(session) },
                Err(error) => {
                    tracing::warn!(error = &error as &dyn Error, "the supervisor was not reached");
                    News::Event(AgentEvent::ConnectFailed { connection, retry: error.retry() })
                }
            });
        });
        Self { connection, _stop: stop.drop_guard() }
    }
}

/// An open session; dropping it ends it.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) session: Arc<dyn AgentSession>,
    /// Cancelled when the session is given up.
    pub(super) over: CancellationToken,
    outbox: mpsc::UnboundedSender<AgentMessage>,
    speaker: JoinHandle<()>,
    _end: DropGuard,
}

impl Connection {
    /// Begins to listen and to speak. What is heard waits its turn in `heard`; when that is full the supervisor waits.
    pub(super) fn open(
        id: ConnectionId,
        session: Arc<dyn AgentSession>,
        heard: &mpsc::Sender<AgentEvent>,
    ) -> Self {
        let over = CancellationToken::new();
        let (outbox, messages) = mpsc::unbounded_channel();
        let line = Line { id, session: Arc::clone(&session), heard: heard.clone() };
        let speaker = tokio::spawn(line.clone().until(over.clone(), speak(line.clone(), messages)));
        tokio::spawn(line.clone().until(over.clone(), listen(line.clone())));
        tokio::spawn(line.clone().until(over.clone(), listen_for_acks(line)));
        Self { id, session, over: over.clone(), outbox, speaker, _end: over.drop_guard() }
    }

    /// Queues a message; they go out in order.
    pub(super) fn say(&self, message: AgentMessage) {
        // A speaker that has ended has said so as `Disconnected`; what it did not say is derived anew.
        let _ended = self.outbox.send(message);
    }

    /// Hands over what is queued and waits a moment for the supervisor to end the session: until then the last
    /// message may still be on its way.
    pub(super) async fn farewell(self, heard: &mut mpsc::Receiver<AgentEvent>) {
        let Self { id, outbox, speaker, session, .. } = self;
        drop(outbox);
        let said = async {
            // The speaker ends when all is said; what it could not say stays on disk.
            let _said = speaker.await;
            while let Some(event) = heard.recv().await {
                if event == (AgentEvent::Disconnected { connection: id }) {
                    return;
                }
            }
        };
        if tokio::time::timeout(FAREWELL, said).await.is_err() {
            tracing::debug!("the supervisor did not end the session; it is ended here");
        }
        drop(session);
    }
}

/// What the tasks of a session share.
#[derive(Clone)]
struct Line {
    id: ConnectionId,
    session: Arc<dyn AgentSession>,
    heard: mpsc::Sender<AgentEvent>,
}

impl Line {
    /// Runs `task` until the session is given up; if the task ends with an error, the session has ended.
    async fn until(self, over: CancellationToken, task: impl Future<Output = TaskEnd>) {
        let end = tokio::select! {
            biased;
            () = over.cancelled() => return,
            end = task => end,
        };
        match end {
            TaskEnd::Quiet => {}
            TaskEnd::Broken => {
                let broken = AgentEvent::Disconnected { connection: self.id };
                // The loop is gone if this cannot be told.
                let _gone = self.heard.send(broken).await;
            }
        }
    }
}

enum TaskEnd {
    /// Nobody wants it any more.
    Quiet,
    /// The session has ended.
    Broken,
}

async fn speak(line: Line, mut messages: mpsc::UnboundedReceiver<AgentMessage>) -> TaskEnd {
    while let Some(message) = messages.recv().await {
        if let Err(error) = line.session.send(message).await {
            tracing::warn!(connection = %line.id, error = &error as &dyn Error, "the session takes no message");
            return TaskEnd::Broken;
        }
    }
    TaskEnd::Quiet
}

async fn listen(line: Line) -> TaskEnd {
    loop {
        let event = match line.session.receive().await {
            Ok(message) => AgentEvent::Heard { connection: line.id, message: Box::new(message) },
            Err(error) => {
                tracing::info!(connection = %line.id, error = &error as &dyn Error, "the session has ended");
                return TaskEnd::Broken;
            }
        };
        if line.heard.send(event).await.is_err() {
            return TaskEnd::Quiet;
        }
    }
}

async fn listen_for_acks(line: Line) -> TaskEnd {
    loop {
        let event = match line.session.receive_log_ack().await {
            Ok(ack) => AgentEvent::LogAcked { connection: line.id, ack },
            Err(error) => {
                tracing::debug!(connection = %line.id, error = &error as &dyn Error, "the log's line has ended");
                return TaskEnd::Broken;
            }
        };
        if line.heard.send(event).await.is_err() {
            return TaskEnd::Quiet;
        }
    }
}
