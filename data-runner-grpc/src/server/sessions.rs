//! Which sessions there are. Here, and only here, a session begins and ends: each says `Opened` once, `Closed` once,
//! and nothing before or after.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_runner_core::id::{SessionId, WorkerId};
use data_runner_core::message::{AgentMessage, LogAppend};
use data_runner_core::port::{SessionEvent, TransportError, TransportEvent};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use crate::limits::{LOG_BYTES_WAITING, MESSAGES_IN_FLIGHT};
use crate::wire::proto;

/// An event on its way to `receive`.
pub(super) struct ArrivedEvent {
    pub(super) event: TransportEvent,
    /// The session's room that a message takes up until it is received.
    _room: Option<OwnedSemaphorePermit>,
}

/// A piece of log on its way to `receive_log`.
pub(super) struct ArrivedLog {
    pub(super) session: SessionId,
    pub(super) append: LogAppend,
    _room: OwnedSemaphorePermit,
}

pub(super) struct Sessions {
    door: Mutex<Door>,
    events: mpsc::UnboundedSender<ArrivedEvent>,
    logs: mpsc::UnboundedSender<ArrivedLog>,
    log_room: Arc<Semaphore>,
}

enum Door {
    Open(HashMap<SessionId, Arc<Session>>),
    Shut,
}

/// One session that was opened.
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) worker: WorkerId,
    /// Cancelled when it has ended.
    pub(super) ended: CancellationToken,
    message_room: Arc<Semaphore>,
    lines: Mutex<Lines>,
}

/// A line down to the agent.
type Line<T> = mpsc::Sender<Result<T, Status>>;
/// Its other end, which the agent's call reads.
pub(super) type LineEnd<T> = mpsc::Receiver<Result<T, Status>>;

enum Lines {
    /// It has its session, and not yet its log stream.
    Session { messages: Line<proto::SupervisorMessage> },
    /// It has both.
    Both { messages: Line<proto::SupervisorMessage>, acks: Line<proto::LogAck> },
    /// It has ended. What was said before still goes out.
    Ended,
}

impl Sessions {
    pub(super) fn new(
        events: mpsc::UnboundedSender<ArrivedEvent>,
        logs: mpsc::UnboundedSender<ArrivedLog>,
    ) -> Self {
        Self {
            door: Mutex::new(Door::Open(HashMap::new())),
            events,
            logs,
            log_room: Arc::new(Semaphore::new(LOG_BYTES_WAITING as usize)),
        }
    }

    /// Begins a session.
    pub(super) fn open(
        &self,
        worker: WorkerId,
    ) -> Result<(Arc<Session>, LineEnd<proto::SupervisorMessage>), Status> {
        let (messages, line_end) = mpsc::channel(MESSAGES_IN_FLIGHT);
        let session = Arc::new(Session {
            id: SessionId::from_uuid(Uuid::now_v7()),
            worker,
            ended: CancellationToken::new(),
            message_room: Arc::new(Semaphore::new(MESSAGES_IN_FLIGHT)),
            lines: Mutex::new(Lines::Session { messages }),
        });
        match &mut *self.door() {
            Door::Shut => return Err(Status::unavailable("the supervisor is shutting down")),
            Door::Open(sessions) => {
                sessions.insert(session.id, session.clone());
                // Under the door's lock, so that no Closed can come before it.
                self.emit(&session, SessionEvent::Opened, None);
            }
        }
        tracing::debug!(session = %session.id, %worker, "session opened");
        Ok((session, line_end))
    }

    /// The session of that id, if it has not ended.
    pub(super) fn find(&self, id: SessionId) -> Option<Arc<Session>> {
        match &*self.door() {
            Door::Open(sessions) => sessions.get(&id).cloned(),
            Door::Shut => None,
        }
    }

    /// Ends a session; `why` is told to the agent. Nothing happens if it has ended already.
    pub(super) fn end(&self, id: SessionId, why: Option<Status>) {
        let session = match &mut *self.door() {
            Door::Open(sessions) => sessions.remove(&id),
            Door::Shut => None,
        };
        if let Some(session) = session {
            self.say_closed(&session, why);
        }
    }

    /// Ends all sessions, and lets no new one begin.
    pub(super) fn shut(&self) {
        let Door::Open(sessions) = std::mem::replace(&mut *self.door(), Door::Shut) else {
            return;
        };
        for session in sessions.into_values() {
            self.say_closed(&session, None);
        }
    }

    fn say_closed(&self, session: &Session, why: Option<Status>) {
        tracing::debug!(session = %session.id, worker = %session.worker, ?why, "session closed");
        {
            let mut lines = session.lines();
            if let (Some(why), Lines::Session { messages } | Lines::Both { messages, .. }) = (why, &*lines) {
                // With a full queue the agent learns only that the session ended; this log has the reason.
                if messages.try_send(Err(why)).is_err() {
                    tracing::debug!(session = %session.id, "the agent could not be told why");
                }
            }
            *lines = Lines::Ended;
            self.emit(session, SessionEvent::Closed, None);
        }
        session.ended.cancel();
    }

    fn emit(&self, session: &Session, what: SessionEvent, room: Option<OwnedSemaphorePermit>) {
        let event = TransportEvent { session: session.id, worker: session.worker, what };
        if self.events.send(ArrivedEvent { event, _room: room }).is_err() {
            // Only a transport that was dropped receives nothing, and then all its sessions end.
            tracing::trace!(session = %session.id, "nobody receives");
        }
    }

    /// Hands over what an agent said, unless its session has ended.
    pub(super) fn arrived(&self, session: &Session, message: AgentMessage, room: OwnedSemaphorePermit) {
        // The lock keeps the message before Closed.
        match &*session.lines() {
            Lines::Session { .. } | Lines::Both { .. } => {
                self.emit(session, SessionEvent::Message(Box::new(message)), Some(room));
            }
            Lines::Ended => {}
        }
    }

    /// Hands over a piece of log, when there is room for it.
    pub(super) async fn log_arrived(&self, session: &Session, append: LogAppend) {
        // Beside the payload each piece holds some fields and a place in a queue.
        let bytes =
            u32::try_from(append.chunk.payload.len()).unwrap_or(LOG_BYTES_WAITING).saturating_add(256);
        let room = self.log_room.clone().acquire_many_owned(bytes.min(LOG_BYTES_WAITING)).await;
        let Ok(room) = room else { return };
        if self.logs.send(ArrivedLog { session: session.id, append, _room: room }).is_err() {
            tracing::trace!(session = %session.id, "nobody receives logs");
        }
    }

    /// Says something to an agent. One that has taken nothing for too long loses its session.
    pub(super) fn send(
        &self,
        id: SessionId,
        message: proto::SupervisorMessage,
    ) -> Result<(), TransportError> {
        let session = self.find(id).ok_or(TransportError::Closed)?;
        let sent = match &*session.lines() {
            Lines::Session { messages } | Lines::Both { messages, .. } => messages.try_send(Ok(message)),
            Lines::Ended => return Err(TransportError::Closed),
        };
        self.judge(&session, sent)
    }

    /// Acknowledges logs to an agent.
    pub(super) fn send_ack(&self, id: SessionId, ack: proto::LogAck) -> Result<(), TransportError> {
        let session = self.find(id).ok_or(TransportError::Closed)?;
        let sent = match &*session.lines() {
            Lines::Both { acks, .. } => acks.try_send(Ok(ack)),
            Lines::Session { .. } | Lines::Ended => return Err(TransportError::Closed),
        };
        self.judge(&session, sent)
    }

    fn judge<T>(
        &self,
        session: &Session,
        sent: Result<(), mpsc::error::TrySendError<T>>,
    ) -> Result<(), TransportError> {
        match sent {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(TransportError::Closed),
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!(session = %session.id, worker = %session.worker, "the agent takes nothing: session ended");
                self.end(session.id, None);
                Err(TransportError::Closed)
            }
        }
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Gives the session its log stream; it can have one.
    pub(super) fn attach_log(&self) -> Result<LineEnd<proto::LogAck>, Status> {
        let (acks, line_end) = mpsc::channel(MESSAGES_IN_FLIGHT);
        let mut lines = self.lines();
        match std::mem::replace(&mut *lines, Lines::Ended) {
            Lines::Session { messages } => {
                *lines = Lines::Both { messages, acks };
                Ok(line_end)
            }
            both @ Lines::Both { .. } => {
                *lines = both;
                Err(Status::failed_precondition("the session has its log stream already"))
            }
            Lines::Ended => Err(no_such_session()),
        }
    }

    /// Room for one more message that waits to be received; `None` when the session has ended.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.ended.cancelled() => None,
            room = self.message_room.clone().acquire_owned() => room.ok(),
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a call hears that names a session which is not there.
pub(super) fn no_such_session() -> Status {
    Status::not_found("there is no such session")
}
