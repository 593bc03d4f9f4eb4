//! What is on its way, and between whom. Everything here happens at once, under the network's lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use data_runner_core::id::{SessionId, WorkerId};
use data_runner_core::message::{AgentMessage, LogAck, LogAppend, SupervisorMessage};
use data_runner_core::port::{AgentGate, SessionEvent, TransportError, TransportEvent};
use tokio::sync::Notify;

use super::{Direction, LOGS_IN_FLIGHT, MESSAGES_IN_FLIGHT};
use crate::sample;

/// The network's state.
#[derive(Default)]
pub(super) struct State {
    pub(super) gate: Option<Arc<dyn AgentGate>>,
    pub(super) refusing: Option<String>,
    supervisor: Supervisor,
    sessions: BTreeMap<SessionId, Session>,
    partitions: BTreeMap<WorkerId, Direction>,
    sessions_made: u64,
}

/// The supervisor's end.
#[derive(Default)]
struct Supervisor {
    generation: u64,
    life: Life,
    events: VecDeque<TransportEvent>,
    logs: VecDeque<(SessionId, LogAppend)>,
    news: Arc<Notify>,
    log_news: Arc<Notify>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Life {
    #[default]
    Absent,
    Up,
}

/// One end's view of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Closed,
}

struct Session {
    worker: WorkerId,
    supervisor: End,
    agent: End,
    /// What a partition holds back on its way up, in order.
    held: VecDeque<Upward>,
    messages_up: usize,
    logs_up: usize,
    down: VecDeque<SupervisorMessage>,
    acks: VecDeque<LogAck>,
    signals: Signals,
}

enum Upward {
    Message(Box<AgentMessage>),
    Log(LogAppend),
    Closed,
}

/// What those who wait on a session are woken by.
#[derive(Default, Clone)]
pub(super) struct Signals {
    pub(super) message_room: Arc<Notify>,
    pub(super) log_room: Arc<Notify>,
    pub(super) message: Arc<Notify>,
    pub(super) ack: Arc<Notify>,
    pub(super) path: Arc<Notify>,
}

impl Signals {
    fn ring_all(&self) {
        for bell in [&self.message_room, &self.log_room, &self.message, &self.ack, &self.path] {
            ring(bell);
        }
    }
}

/// Wakes all that wait, and the next one that comes.
fn ring(bell: &Notify) {
    bell.notify_waiters();
    bell.notify_one();
}

/// What a try found: a result, or that it must wait.
pub(super) enum Tried<T> {
    Done(Result<T, TransportError>),
    Wait,
}

impl State {
    pub(super) fn start_supervisor(&mut self) -> u64 {
        self.crash_supervisor();
        let generation = self.supervisor.generation + 1;
        self.supervisor = Supervisor { generation, life: Life::Up, ..Supervisor::default() };
        generation
    }

    pub(super) fn crash_supervisor(&mut self) {
        for session in self.sessions_of(|_| true) {
            self.end_supervisor_side(session);
        }
        self.supervisor.life = Life::Absent;
        self.supervisor.events.clear();
        self.supervisor.logs.clear();
        self.ring_supervisor();
    }

    /// Ends all sessions in good order; what is still to be received stays.
    pub(super) fn shut_down(&mut self, generation: u64) {
        if generation != self.supervisor.generation {
            return;
        }
        for session in self.sessions_of(|_| true) {
            self.end_supervisor_side(session);
        }
        self.supervisor.life = Life::Absent;
        self.ring_supervisor();
    }

    fn ring_supervisor(&self) {
        ring(&self.supervisor.news);
        ring(&self.supervisor.log_news);
    }

    pub(super) fn bells(&self) -> (Arc<Notify>, Arc<Notify>) {
        (self.supervisor.news.clone(), self.supervisor.log_news.clone())
    }

    pub(super) fn open(&mut self, worker: WorkerId) -> Result<(SessionId, Signals), TransportError> {
        let unreachable = |why: &str| TransportError::Unreachable {
            peer: "the supervisor in memory".to_owned(),
            source: why.into(),
        };
        if self.partitions.contains_key(&worker) {
            return Err(unreachable("the network is partitioned"));
        }
        if self.supervisor.life == Life::Absent {
            return Err(unreachable("no supervisor is up"));
        }
        if let Some(message) = self.refusing.clone() {
            return Err(TransportError::Refused { message });
        }
        self.sessions_made += 1;
        let id = sample::session_id(self.sessions_made);
        let signals = Signals::default();
        self.sessions.insert(
            id,
            Session {
                worker,
                supervisor: End::Open,
                agent: End::Open,
                held: VecDeque::new(),
                messages_up: 0,
                logs_up: 0,
                down: VecDeque::new(),
                acks: VecDeque::new(),
                signals: signals.clone(),
            },
        );
        self.emit(id, worker, SessionEvent::Opened);
        Ok((id, signals))
    }

    fn emit(&mut self, session: SessionId, worker: WorkerId, what: SessionEvent) {
        self.supervisor.events.push_back(TransportEvent { session, worker, what });
        self.supervisor.news.notify_one();
    }

    pub(super) fn sessions_of(&self, which: impl Fn(WorkerId) -> bool) -> Vec<SessionId> {
        self.sessions.iter().filter(|(_, session)| which(session.worker)).map(|(id, _)| *id).collect()
    }

    pub(super) fn open_sessions(&self) -> Vec<(SessionId, WorkerId)> {
        let open = self.sessions.iter().filter(|(_, session)| session.supervisor == End::Open);
        open.map(|(id, session)| (*id, session.worker)).collect()
    }

    // What the supervisor does.

    pub(super) fn next_event(&mut self, generation: u64) -> Tried<TransportEvent> {
        if generation != self.supervisor.generation {
            return Tried::Done(Err(TransportError::Closed));
        }
        match self.supervisor.events.pop_front() {
            Some(event) => {
                if let (SessionEvent::Message(_), Some(session)) =
                    (&event.what, self.sessions.get_mut(&event.session))
                {
                    session.messages_up -= 1;
                    session.signals.message_room.notify_one();
                }
                Tried::Done(Ok(event))
            }
            None if self.supervisor.life == Life::Absent => Tried::Done(Err(TransportError::Closed)),
            None => Tried::Wait,
        }
    }

    pub(super) fn next_logs(&mut self, generation: u64, max: usize) -> Tried<Vec<(SessionId, LogAppend)>> {
        if generation != self.supervisor.generation {
            return Tried::Done(Err(TransportError::Closed));
        }
        let count = self.supervisor.logs.len().min(max.max(1));
        let pieces: Vec<_> = self.supervisor.logs.drain(..count).collect();
        for (session, _) in &pieces {
            if let Some(session) = self.sessions.get_mut(session) {
                session.logs_up -= 1;
                session.signals.log_room.notify_one();
            }
        }
        if !pieces.is_empty() {
            return Tried::Done(Ok(pieces));
        }
        match self.supervisor.life {
            Life::Absent => Tried::Done(Err(TransportError::Closed)),
            Life::Up => Tried::Wait,
        }
    }

    /// The session, if the supervisor of that generation holds it open.
    fn held_open(&mut self, generation: u64, id: SessionId) -> Result<&mut Session, TransportError> {
        if generation != self.supervisor.generation {
            return Err(TransportError::Closed);
        }
        match self.sessions.get_mut(&id) {
            Some(session) if session.supervisor == End::Open => Ok(session),
            Some(_) | None => Err(TransportError::Closed),
        }
    }

    pub(super) fn send_down(
        &mut self,
        generation: u64,
        id: SessionId,
        message: SupervisorMessage,
    ) -> Result<(), TransportError> {
        let session = self.held_open(generation, id)?;
        if session.down.len() >= MESSAGES_IN_FLIGHT {
            self.end_supervisor_side(id);
            return Err(TransportError::Closed);
        }
        session.down.push_back(message);
        session.signals.message.notify_one();
        Ok(())
    }

    pub(super) fn send_ack(
        &mut self,
        generation: u64,
        id: SessionId,
        ack: LogAck,
    ) -> Result<(), TransportError> {
        let session = self.held_open(generation, id)?;
        if session.acks.len() >= MESSAGES_IN_FLIGHT {
            self.end_supervisor_side(id);
            return Err(TransportError::Closed);
        }
        session.acks.push_back(ack);
        session.signals.ack.notify_one();
        Ok(())
    }

    pub(super) fn close(&mut self, generation: u64, id: SessionId) {
        if self.held_open(generation, id).is_ok() {
            self.end_supervisor_side(id);
        }
    }

    /// The supervisor's end says `Closed`, once; the agent gets what was sent to it before, then `Closed`.
    fn end_supervisor_side(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.supervisor == End::Open {
            session.supervisor = End::Closed;
            session.held.clear();
            session.signals.ring_all();
            let worker = session.worker;
            self.emit(id, worker, SessionEvent::Closed);
        }
        self.forget_if_over(id);
    }

    fn forget_if_over(&mut self, id: SessionId) {
        let over = |session: &Session| session.supervisor == End::Closed && session.agent == End::Closed;
        if self.sessions.get(&id).is_some_and(over) {
            self.sessions.remove(&id);
        }
    }

    // What an agent does. A session that is no longer in the map is closed.

    pub(super) fn send_up(&mut self, id: SessionId, message: &AgentMessage) -> Tried<()> {
        let passes = self.passes(id, Direction::Up);
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.alive_for_agent(passes))
        else {
            return Tried::Done(Err(TransportError::Closed));
        };
        if session.messages_up >= MESSAGES_IN_FLIGHT {
            return Tried::Wait;
        }
        session.messages_up += 1;
        let message = Box::new(message.clone());
        if passes {
            let worker = session.worker;
            self.emit(id, worker, SessionEvent::Message(message));
        } else {
            session.held.push_back(Upward::Message(message));
        }
        Tried::Done(Ok(()))
    }

    pub(super) fn send_log_up(&mut self, id: SessionId, append: &LogAppend) -> Tried<()> {
        let passes = self.passes(id, Direction::Up);
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.alive_for_agent(passes))
        else {
            return Tried::Done(Err(TransportError::Closed));
        };
        if session.logs_up >= LOGS_IN_FLIGHT {
            return Tried::Wait;
        }
        session.logs_up += 1;
        if passes {
            self.supervisor.logs.push_back((id, append.clone()));
            self.supervisor.log_news.notify_one();
        } else {
            session.held.push_back(Upward::Log(append.clone()));
        }
        Tried::Done(Ok(()))
    }

    pub(super) fn take_down(&mut self, id: SessionId) -> Tried<SupervisorMessage> {
        self.take(id, |session| session.down.pop_front())
    }

    pub(super) fn take_ack(&mut self, id: SessionId) -> Tried<LogAck> {
        self.take(id, |session| session.acks.pop_front())
    }

    fn take<T>(&mut self, id: SessionId, next: impl FnOnce(&mut Session) -> Option<T>) -> Tried<T> {
        let passes = self.passes(id, Direction::Down);
        match self.sessions.get_mut(&id) {
            None => Tried::Done(Err(TransportError::Closed)),
            Some(_) if !passes => Tried::Wait,
            Some(session) => match (next(session), session.supervisor) {
                (Some(item), _) => Tried::Done(Ok(item)),
                (None, End::Closed) => Tried::Done(Err(TransportError::Closed)),
                (None, End::Open) => Tried::Wait,
            },
        }
    }

    /// The gate and the worker, once a request can get to the supervisor and its answer back.
    pub(super) fn gate_for(&mut self, id: SessionId) -> Tried<(WorkerId, Arc<dyn AgentGate>)> {
        let passes = self.passes(id, Direction::Up) && self.passes(id, Direction::Down);
        let Some(session) = self.sessions.get(&id).filter(|session| session.alive_for_agent(passes)) else {
            return Tried::Done(Err(TransportError::Closed));
        };
        if !passes {
            return Tried::Wait;
        }
        Tried::Done(match &self.gate {
            Some(gate) => Ok((session.worker, gate.clone())),
            None => Err(TransportError::Unreachable {
                peer: "the supervisor in memory".to_owned(),
                source: "it has no bundle gate yet".into(),
            }),
        })
    }

    /// The agent dropped its session.
    pub(super) fn end_agent_side(&mut self, id: SessionId) {
        let passes = self.passes(id, Direction::Up);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.agent = End::Closed;
        session.down.clear();
        session.acks.clear();
        if passes {
            self.end_supervisor_side(id);
        } else {
            session.held.push_back(Upward::Closed);
            self.forget_if_over(id);
        }
    }

    // What the network does.

    fn passes(&self, id: SessionId, direction: Direction) -> bool {
        let partition = self.sessions.get(&id).and_then(|session| self.partitions.get(&session.worker));
        partition.is_none_or(|blocked| *blocked != Direction::Both && *blocked != direction)
    }

    pub(super) fn cut(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.agent = End::Closed;
        session.signals.ring_all();
        self.end_supervisor_side(id);
    }

    pub(super) fn partition(&mut self, worker: WorkerId, direction: Direction) {
        self.partitions.insert(worker, direction);
    }

    pub(super) fn heal(&mut self, which: impl Fn(WorkerId) -> bool) {
        self.partitions.retain(|worker, _| !which(*worker));
        for id in self.sessions_of(which) {
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            session.signals.ring_all();
            let (worker, held) = (session.worker, std::mem::take(&mut session.held));
            if session.supervisor == End::Closed {
                // The agent went on talking to a supervisor that had closed: nobody listens.
                continue;
            }
            for upward in held {
                match upward {
                    Upward::Message(message) => self.emit(id, worker, SessionEvent::Message(message)),
                    Upward::Log(append) => {
                        self.supervisor.logs.push_back((id, append));
                        self.supervisor.log_news.notify_one();
                    }
                    Upward::Closed => self.end_supervisor_side(id),
                }
            }
        }
    }
}

impl Session {
    /// Whether the agent, as far as it can know, still has its session.
    fn alive_for_agent(&self, passes: bool) -> bool {
        self.agent == End::Open && (self.supervisor == End::Open || !passes)
    }
}
