//! What is said on a session.

use std::sync::Arc;

use data_runner_core::execution::StopReason;
use data_runner_core::id::{Claim, Epoch, SessionId};
use data_runner_core::log::LogOffset;
use data_runner_core::message::{
    AgentMessage, Assign, HeldAttempt, Hello, SupervisorMessage, Verdict, Welcome, WorkerStatus,
};
use data_runner_core::worker::AgentFacts;
use data_runner_core::workflow::JobSpec;

use super::proto;
use super::report::{read_status, status};
use super::value::{FromWire, NotUnderstood, Numbered as _, duration, each, id_bytes, required, text};

impl From<&AgentMessage> for proto::AgentMessage {
    fn from(message: &AgentMessage) -> Self {
        use proto::agent_message::Kind;
        let kind = match message {
            AgentMessage::Hello(hello) => Kind::Hello(hello.into()),
            AgentMessage::HeartBeat => Kind::HeartBeat(proto::HeartBeat {}),
            AgentMessage::WorkerStatus(news) => {
                Kind::WorkerStatus(status(news.claim, &news.status, news.packages.as_ref()))
            }
            AgentMessage::Draining => Kind::Draining(proto::Draining {}),
            AgentMessage::Drained => Kind::Drained(proto::Drained {}),
        };
        Self { kind: Some(kind) }
    }
}

impl FromWire<proto::AgentMessage> for AgentMessage {
    fn from_wire(wire: proto::AgentMessage) -> Result<Self, NotUnderstood> {
        use proto::agent_message::Kind;
        Ok(match wire.kind.ok_or_else(|| NotUnderstood::missing("AgentMessage.kind"))? {
            Kind::Hello(hello) => Self::Hello(Hello::from_wire(hello)?),
            Kind::HeartBeat(proto::HeartBeat {}) => Self::HeartBeat,
            Kind::WorkerStatus(news) => Self::WorkerStatus(read_status(news)?),
            Kind::Draining(proto::Draining {}) => Self::Draining,
            Kind::Drained(proto::Drained {}) => Self::Drained,
        })
    }
}

impl From<&Hello> for proto::Hello {
    fn from(hello: &Hello) -> Self {
        let facts = &hello.facts;
        Self {
            incarnation: hello.incarnation,
            epoch: hello.epoch.0,
            facts: Some(proto::AgentFacts {
                version: facts.version.clone(),
                worker_types: facts.worker_types.iter().map(ToString::to_string).collect(),
                cpus: facts.cpus,
                memory_bytes: facts.memory_bytes,
                slots: facts.slots,
                host: facts.host.clone(),
            }),
            attempts: hello
                .attempts
                .iter()
                .map(|held| status(held.claim, &held.status, held.packages.as_ref()))
                .collect(),
        }
    }
}

impl FromWire<proto::Hello> for Hello {
    fn from_wire(wire: proto::Hello) -> Result<Self, NotUnderstood> {
        Ok(Self {
            incarnation: wire.incarnation,
            epoch: Epoch(wire.epoch),
            facts: required(wire.facts, "Hello.facts")?,
            attempts: each(wire.attempts)?,
        })
    }
}

impl FromWire<proto::WorkerStatus> for HeldAttempt {
    fn from_wire(wire: proto::WorkerStatus) -> Result<Self, NotUnderstood> {
        read_status(wire).map(|WorkerStatus { claim, status, packages }| Self { claim, status, packages })
    }
}

impl FromWire<proto::AgentFacts> for AgentFacts {
    fn from_wire(wire: proto::AgentFacts) -> Result<Self, NotUnderstood> {
        let types = wire.worker_types.iter().map(|name| text(name, "AgentFacts.worker_types"));
        Ok(Self {
            version: wire.version,
            worker_types: types.collect::<Result<_, _>>()?,
            cpus: wire.cpus,
            memory_bytes: wire.memory_bytes,
            slots: wire.slots,
            host: wire.host,
        })
    }
}

impl From<&SupervisorMessage> for proto::SupervisorMessage {
    fn from(message: &SupervisorMessage) -> Self {
        use proto::supervisor_message::Kind;
        let kind = match message {
            SupervisorMessage::Welcome(welcome) => Kind::Welcome(welcome.into()),
            SupervisorMessage::Assign(assign) => Kind::Assign(proto::Assign {
                claim: Some(assign.claim.into()),
                epoch: assign.epoch.0,
                job: Some(assign.job.as_ref().into()),
            }),
            SupervisorMessage::Cancel { claim, epoch, reason } => Kind::Cancel(proto::Cancel {
                claim: Some((*claim).into()),
                epoch: epoch.0,
                reason: reason.number(),
            }),
            SupervisorMessage::StatusAck { claim } => {
                Kind::StatusAck(proto::StatusAck { claim: Some((*claim).into()) })
            }
            SupervisorMessage::Drain { epoch } => Kind::Drain(proto::Drain { epoch: epoch.0 }),
        };
        Self { kind: Some(kind) }
    }
}

impl FromWire<proto::SupervisorMessage> for SupervisorMessage {
    fn from_wire(wire: proto::SupervisorMessage) -> Result<Self, NotUnderstood> {
        use proto::supervisor_message::Kind;
        Ok(match wire.kind.ok_or_else(|| NotUnderstood::missing("SupervisorMessage.kind"))? {
            Kind::Welcome(welcome) => Self::Welcome(Welcome::from_wire(welcome)?),
            Kind::Assign(assign) => Self::Assign(Assign {
                claim: required(assign.claim, "Assign.claim")?,
                epoch: Epoch(assign.epoch),
                job: Arc::new(required::<_, JobSpec>(assign.job, "Assign.job")?),
            }),
            Kind::Cancel(cancel) => Self::Cancel {
                claim: required(cancel.claim, "Cancel.claim")?,
                epoch: Epoch(cancel.epoch),
                reason: StopReason::numbered(cancel.reason)?,
            },
            Kind::StatusAck(ack) => Self::StatusAck { claim: required(ack.claim, "StatusAck.claim")? },
            Kind::Drain(drain) => Self::Drain { epoch: Epoch(drain.epoch) },
        })
    }
}

impl From<&Welcome> for proto::Welcome {
    fn from(welcome: &Welcome) -> Self {
        use proto::attempt_verdict::Verdict as Wire;
        let verdicts = welcome.verdicts.iter().map(|(claim, verdict)| {
            let verdict = match verdict {
                Verdict::Keep { log_from } => Wire::KeepLogFrom(log_from.0),
                Verdict::Stop => Wire::Stop(proto::StopAndForget {}),
            };
            proto::AttemptVerdict { claim: Some((*claim).into()), verdict: Some(verdict) }
        });
        Self {
            session: id_bytes(welcome.session.uuid()),
            epoch: welcome.epoch.0,
            verdicts: verdicts.collect(),
            heartbeat: duration(welcome.heartbeat),
            dead_man: duration(welcome.dead_man),
        }
    }
}

impl FromWire<proto::Welcome> for Welcome {
    fn from_wire(wire: proto::Welcome) -> Result<Self, NotUnderstood> {
        Ok(Self {
            session: SessionId::from_wire(wire.session)?,
            epoch: Epoch(wire.epoch),
            verdicts: each(wire.verdicts)?,
            heartbeat: required(wire.heartbeat, "Welcome.heartbeat")?,
            dead_man: required(wire.dead_man, "Welcome.dead_man")?,
        })
    }
}

impl FromWire<proto::AttemptVerdict> for (Claim, Verdict) {
    fn from_wire(wire: proto::AttemptVerdict) -> Result<Self, NotUnderstood> {
        use proto::attempt_verdict::Verdict as Wire;
        let verdict = match wire.verdict.ok_or_else(|| NotUnderstood::missing("AttemptVerdict.verdict"))? {
            Wire::KeepLogFrom(offset) => Verdict::Keep { log_from: LogOffset(offset) },
            Wire::Stop(proto::StopAndForget {}) => Verdict::Stop,
        };
        Ok((required(wire.claim, "AttemptVerdict.claim")?, verdict))
    }
}
