//! The two ends, as the ports want them.

use async_trait::async_trait;
use data_runner_core::artifact::ArtifactOffer;
use data_runner_core::id::{SessionId, WorkerId};
use data_runner_core::message::{AgentMessage, LogAck, LogAppend, SupervisorMessage};
use data_runner_core::port::{
    AgentSession, AgentTransport, ArtifactRefused, Bundle, BundleRefused, ByteSource, Transport,
    TransportError, TransportEvent, WantedBundle,
};
use tokio::sync::Notify;

use super::MemoryNetwork;
use super::state::{Signals, State, Tried};

pub(super) struct SupervisorEnd {
    pub(super) network: MemoryNetwork,
    pub(super) generation: u64,
}

pub(super) struct AgentEnd {
    pub(super) network: MemoryNetwork,
}

struct Session {
    network: MemoryNetwork,
    id: SessionId,
    signals: Signals,
}

impl MemoryNetwork {
    /// Tries until it need not wait. Nothing is taken before the try that is done, so this may be cancelled.
    async fn when<T>(
        &self,
        bell: &Notify,
        mut attempt: impl FnMut(&mut State) -> Tried<T>,
    ) -> Result<T, TransportError> {
        loop {
            // Made before the look, so that a ring between look and wait is not missed.
            let rung = bell.notified();
            let tried = attempt(&mut self.locked());
            match tried {
                Tried::Done(result) => return result,
                Tried::Wait => rung.await,
            }
        }
    }
}

#[async_trait]
impl Transport for SupervisorEnd {
    async fn receive(&self) -> Result<TransportEvent, TransportError> {
        let (news, _) = self.network.locked().bells();
        self.network.when(&news, |state| state.next_event(self.generation)).await
    }

    async fn send(&self, session: SessionId, message: SupervisorMessage) -> Result<(), TransportError> {
        self.network.locked().send_down(self.generation, session, message)
    }

    async fn receive_log(&self, max: usize) -> Result<Vec<(SessionId, LogAppend)>, TransportError> {
        let (_, log_news) = self.network.locked().bells();
        self.network.when(&log_news, |state| state.next_logs(self.generation, max)).await
    }

    async fn send_log_ack(&self, session: SessionId, ack: LogAck) -> Result<(), TransportError> {
        self.network.locked().send_ack(self.generation, session, ack)
    }

    async fn close(&self, session: SessionId) {
        self.network.locked().close(self.generation, session);
    }

    async fn shut_down(&self) {
        self.network.locked().shut_down(self.generation);
    }
}

#[async_trait]
impl AgentTransport for AgentEnd {
    async fn connect(&self, worker: WorkerId) -> Result<Box<dyn AgentSession>, TransportError> {
        let (id, signals) = self.network.locked().open(worker)?;
        Ok(Box::new(Session { network: self.network.clone(), id, signals }))
    }
}

#[async_trait]
impl AgentSession for Session {
    async fn send(&self, message: AgentMessage) -> Result<(), TransportError> {
        self.network.when(&self.signals.message_room, |state| state.send_up(self.id, &message)).await
    }

    async fn receive(&self) -> Result<SupervisorMessage, TransportError> {
        self.network.when(&self.signals.message, |state| state.take_down(self.id)).await
    }

    async fn send_log(&self, append: LogAppend) -> Result<(), TransportError> {
        self.network.when(&self.signals.log_room, |state| state.send_log_up(self.id, &append)).await
    }

    async fn receive_log_ack(&self) -> Result<LogAck, TransportError> {
        self.network.when(&self.signals.ack, |state| state.take_ack(self.id)).await
    }

    async fn fetch_bundle(&self, wanted: WantedBundle) -> Result<Bundle, TransportError> {
        let (worker, gate) = self.network.when(&self.signals.path, |state| state.gate_for(self.id)).await?;
        gate.bundle(worker, wanted).await.map_err(|refused| match refused {
            BundleRefused::NotYours { .. } => TransportError::Refused { message: refused.to_string() },
            BundleRefused::Unavailable(_) => TransportError::Unreachable {
                peer: "the supervisor's blob store".to_owned(),
                source: Box::new(refused),
            },
        })
    }

    async fn keep_artifact(
        &self,
        offer: ArtifactOffer,
        content: Box<dyn ByteSource>,
    ) -> Result<(), TransportError> {
        let (worker, gate) = self.network.when(&self.signals.path, |state| state.gate_for(self.id)).await?;
        gate.keep_artifact(worker, offer, content).await.map_err(|refused| match refused {
            ArtifactRefused::Refused { message } => TransportError::Refused { message },
            ArtifactRefused::Unavailable(_) => TransportError::Unreachable {
                peer: "the supervisor's store of artifacts".to_owned(),
                source: Box::new(refused),
            },
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.network.locked().end_agent_side(self.id);
    }
}
