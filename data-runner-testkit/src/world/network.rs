//! The network: sessions whose messages arrive in order and late, and that break at any time.

use std::collections::BTreeMap;
use std::time::Duration;

use data_runner_core::agent::{AgentEvent, ConnectionId};
use data_runner_core::event::Event;
use data_runner_core::id::{Epoch, SessionId, WorkerId};
use data_runner_core::message::{AgentMessage, LogAck, LogAppend, SupervisorMessage};
use data_runner_core::port::Retry;

use super::{Happening, World};
use crate::sample;

#[derive(Default)]
pub(super) struct Network {
    sessions: BTreeMap<SessionId, Session>,
    opened: u64,
    /// Workers that cannot reach the supervisor, until then.
    cut: BTreeMap<WorkerId, Duration>,
}

struct Session {
    worker: WorkerId,
    connection: ConnectionId,
    /// The life of the agent's process that opened it.
    agent: u64,
    epoch: Epoch,
    /// When the last message of each way arrives: the next one arrives later.
    last: [Duration; 4],
}

/// A message and the way that it goes.
#[derive(Debug, Clone)]
pub(super) enum Way {
    Up(Box<AgentMessage>),
    Down(Box<SupervisorMessage>),
    LogUp(Box<LogAppend>),
    LogDown(LogAck),
}

#[derive(Debug, Clone)]
pub(super) enum Due {
    Connect {
        worker: WorkerId,
        connection: ConnectionId,
        agent: u64,
    },
    Arrive {
        session: SessionId,
        way: Way,
    },
    /// An end of the session hears that it is gone.
    AgentHears {
        worker: WorkerId,
        connection: ConnectionId,
        agent: u64,
    },
    SupervisorHears {
        worker: WorkerId,
        session: SessionId,
        epoch: Epoch,
    },
}

impl World {
    pub(super) fn on_network(&mut self, due: Due) {
        match due {
            Due::Connect { worker, connection, agent } => self.on_connect(worker, connection, agent),
            Due::Arrive { session, way } => self.on_arrival(session, way),
            Due::AgentHears { worker, connection, agent } => {
                self.tell_agent(worker, agent, AgentEvent::Disconnected { connection });
            }
            Due::SupervisorHears { worker, session, epoch } => {
                if self.supervisor.epoch() == Some(epoch) {
                    self.tell(Event::SessionClosed { worker, session });
                }
            }
        }
    }

    fn on_connect(&mut self, worker: WorkerId, connection: ConnectionId, agent: u64) {
        if !self.agent_lives(worker, agent) {
            return;
        }
        let cut = self.network.cut.get(&worker).is_some_and(|until| *until > self.now);
        let Some(epoch) = self.supervisor.epoch().filter(|_| !cut && self.may_join(worker)) else {
            let retry = Retry::Later;
            return self.tell_agent(worker, agent, AgentEvent::ConnectFailed { connection, retry });
        };
        self.network.opened += 1;
        let session = sample::session_id(self.network.opened);
        let last = [self.now; 4];
        self.network.sessions.insert(session, Session { worker, connection, agent, epoch, last });
        self.tell(Event::SessionOpened { worker, session });
        self.tell_agent(worker, agent, AgentEvent::Connected { connection });
    }

    /// Hands a message over; it arrives some time after the one before it on the same way.
    pub(super) fn send_way(&mut self, id: SessionId, way: Way) {
        let wait = match self.entropy.below(50) {
            0 if self.is_troubled() => self.millis(1, 20_000),
            _ => self.millis(0, 20),
        };
        let now = self.now;
        let Some(session) = self.network.sessions.get_mut(&id) else {
            return;
        };
        let line = match way {
            Way::Up(_) => 0,
            Way::Down(_) => 1,
            Way::LogUp(_) => 2,
            Way::LogDown(_) => 3,
        };
        let at = (now + wait).max(session.last[line]);
        session.last[line] = at;
        self.after(at - now, Happening::Network(Due::Arrive { session: id, way }));
    }

    fn on_arrival(&mut self, id: SessionId, way: Way) {
        let Some(session) = self.network.sessions.get(&id) else {
            return;
        };
        let (worker, connection, agent, epoch) =
            (session.worker, session.connection, session.agent, session.epoch);
        if self.network.cut.get(&worker).is_some_and(|until| *until > self.now) {
            return self.break_session(id);
        }
        match way {
            Way::Up(message) => {
                if self.supervisor.epoch() == Some(epoch) {
                    self.tell(Event::AgentSaid { worker, session: id, message });
                }
            }
            Way::Down(message) => self.tell_agent(worker, agent, AgentEvent::Heard { connection, message }),
            Way::LogUp(append) => {
                if self.supervisor.epoch() == Some(epoch) {
                    self.take_log(id, *append);
                }
            }
            Way::LogDown(ack) => self.tell_agent(worker, agent, AgentEvent::LogAcked { connection, ack }),
        }
    }

    pub(super) fn session_named(&self, worker: WorkerId, connection: ConnectionId) -> Option<SessionId> {
        let of = |session: &Session| session.worker == worker && session.connection == connection;
        let found = self.network.sessions.iter().rev().find(|(_, session)| of(session));
        found.filter(|(_, session)| self.agent_lives(worker, session.agent)).map(|(id, _)| *id)
    }

    /// The supervisor closes a session.
    pub(super) fn close_session(&mut self, id: SessionId) {
        self.break_session(id);
    }

    /// Both ends hear of it, each in its own time; what was under way is lost.
    pub(super) fn break_session(&mut self, id: SessionId) {
        let Some(session) = self.network.sessions.remove(&id) else {
            return;
        };
        let Session { worker, connection, agent, epoch, .. } = session;
        let (a, b) = (self.millis(0, 5_000), self.millis(0, 5_000));
        self.after(a, Happening::Network(Due::AgentHears { worker, connection, agent }));
        self.after(b, Happening::Network(Due::SupervisorHears { worker, session: id, epoch }));
    }

    pub(super) fn network_lost_supervisor(&mut self) {
        let all: Vec<SessionId> = self.network.sessions.keys().copied().collect();
        for session in all {
            self.break_session(session);
        }
    }

    pub(super) fn network_lost_agent(&mut self, worker: WorkerId) {
        let of = self.network.sessions.iter().filter(|(_, session)| session.worker == worker);
        let lost: Vec<SessionId> = of.map(|(id, _)| *id).collect();
        for session in lost {
            self.break_session(session);
        }
    }

    pub(super) fn cut_worker(&mut self, worker: WorkerId, how_long: Duration) {
        self.network.cut.insert(worker, self.now + how_long);
        self.network_lost_agent(worker);
    }
}
