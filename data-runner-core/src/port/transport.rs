//! The line between agents and the supervisor, both ends.

use async_trait::async_trait;
use bytes::Bytes;

use super::{BlobLink, ByteSource, Retry, Source};
use crate::artifact::ArtifactOffer;
use crate::id::{Claim, SessionId, Sha256, WorkerId};
use crate::message::{AgentMessage, LogAck, LogAppend, SupervisorMessage};

/// The supervisor's end.
///
/// Contract:
/// - within a session messages arrive in order, none is lost while the session lives, and none is made up; across
///   sessions anything may repeat;
/// - `receive` and `receive_log` are cancel-safe, and independent of each other: a flood of logs delays no message;
/// - every session begins with `Opened` and ends with `Closed`, once;
/// - Ok of a send means handed over, not processed; a send to a session that is gone is `Closed`;
/// - a session that takes nothing does not block the sends to others.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// The next event of any session; `Closed` when the transport was shut down.
    async fn receive(&self) -> Result<TransportEvent, TransportError>;

    /// Says something to an agent.
    async fn send(&self, session: SessionId, message: SupervisorMessage) -> Result<(), TransportError>;

    /// The next pieces of log from any agent, at least one and at most about `max`.
    async fn receive_log(&self, max: usize) -> Result<Vec<(SessionId, LogAppend)>, TransportError>;

    /// Tells agents how much of a log is stored.
    async fn send_log_ack(&self, session: SessionId, ack: LogAck) -> Result<(), TransportError>;

    /// Ends one session.
    async fn close(&self, session: SessionId);

    /// Ends all sessions and takes no new ones.
    async fn shut_down(&self);
}

/// Something that happened on a session.
#[derive(Debug, Clone, PartialEq)]
pub struct TransportEvent {
    /// The session.
    pub session: SessionId,
    /// The worker whose agent it is.
    pub worker: WorkerId,
    /// What happened.
    pub what: SessionEvent,
}

/// What happened on a session.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// It was opened.
    Opened,
    /// The agent said something.
    Message(Box<AgentMessage>),
    /// It ended.
    Closed,
}

/// What a transport asks when an agent wants code, or brings files: the engine answers, so that an agent gets the code
/// of its own live attempts only, and leaves files of those only.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait AgentGate: Send + Sync + 'static {
    /// The bundle of that attempt.
    async fn bundle(&self, worker: WorkerId, wanted: WantedBundle) -> Result<Bundle, BundleRefused>;

    /// Keeps a file of that attempt, whose bytes come of `content`. Ok: it is kept, durably. The same file may be brought
    /// again.
    async fn keep_artifact(
        &self,
        worker: WorkerId,
        offer: ArtifactOffer,
        content: Box<dyn ByteSource>,
    ) -> Result<(), ArtifactRefused>;
}

/// Why a file is not kept.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactRefused {
    /// It never will be: it is not of a live attempt of that worker, nobody wants it, or what came is something else.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
    },
    /// The store failed, or the content broke off.
    #[error("the file cannot be kept now")]
    Unavailable(#[source] Source),
}

/// The code that an agent wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedBundle {
    /// For this attempt of its.
    pub claim: Claim,
    /// The hash that the assignment named.
    pub hash: Sha256,
    /// In what form.
    pub form: BundleForm,
}

/// In what form an agent takes code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleForm {
    /// As bytes, or as a link.
    Any,
    /// As bytes: it follows no links, or the one that it was given led nowhere.
    Bytes,
}

/// Code, or where it is. Whoever gets it checks the hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bundle {
    /// The bytes.
    Bytes(Bytes),
    /// Where they are. Given only to those who take any form.
    Link(BlobLink),
}

/// Why an agent does not get code.
#[derive(Debug, thiserror::Error)]
pub enum BundleRefused {
    /// It is not that worker's live attempt, or not that attempt's code.
    #[error("{claim} is not a live attempt of worker {worker} with that bundle")]
    NotYours {
        /// Who asked.
        worker: WorkerId,
        /// For what.
        claim: Claim,
    },
    /// The blob store failed.
    #[error("the bundle cannot be read")]
    Unavailable(#[source] Source),
}

/// The agent's end: how it reaches the supervisor.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait AgentTransport: Send + Sync + 'static {
    /// Opens a session. Returns when the supervisor can be reached, or with why not; it does not try again by itself.
    async fn connect(&self, worker: WorkerId) -> Result<Box<dyn AgentSession>, TransportError>;
}

/// The agent's end of one session. Dropping it ends the session.
///
/// The same promises as [`Transport`]; the log has a line of its own here too.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait AgentSession: Send + Sync + 'static {
    /// Says something to the supervisor.
    async fn send(&self, message: AgentMessage) -> Result<(), TransportError>;

    /// What the supervisor says next; cancel-safe; `Closed` at the end.
    async fn receive(&self) -> Result<SupervisorMessage, TransportError>;

    /// Hands over a piece of log; waits while the line is full.
    async fn send_log(&self, append: LogAppend) -> Result<(), TransportError>;

    /// The next acknowledgement; cancel-safe.
    async fn receive_log_ack(&self) -> Result<LogAck, TransportError>;

    /// An attempt's bundle. The caller checks the hash.
    async fn fetch_bundle(&self, wanted: WantedBundle) -> Result<Bundle, TransportError>;

    /// Brings a file of an attempt. Ok: the supervisor has kept it, durably. A content that breaks off is `Closed`.
    async fn keep_artifact(
        &self,
        offer: ArtifactOffer,
        content: Box<dyn ByteSource>,
    ) -> Result<(), TransportError>;
}

/// Why something could not be said or heard.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The session, or the transport, has ended.
    #[error("the connection is closed")]
    Closed,
    /// The other end cannot be reached.
    #[error("cannot reach {peer}")]
    Unreachable {
        /// Who.
        peer: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// The other end refuses.
    #[error("refused: {message}")]
    Refused {
        /// Why.
        message: String,
    },
    /// The other end speaks nonsense, or a newer dialect.
    #[error("not understood: {message}")]
    Protocol {
        /// What was wrong.
        message: String,
    },
}

impl TransportError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Closed | Self::Unreachable { .. } => Retry::Later,
            Self::Refused { .. } | Self::Protocol { .. } => Retry::Never,
        }
    }
}
