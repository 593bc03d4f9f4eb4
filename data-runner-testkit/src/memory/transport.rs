//! A Transport in memory: one supervisor, any number of agents, and a network between them that a test can cut,
//! partition and close. It spawns nothing and sleeps nowhere, so it is at home in tokio's paused time, and with one
//! thread it is deterministic.
//!
//! ```ignore
//! let network = MemoryNetwork::new();
//! let supervisor = network.supervisor();
//! network.set_gate(gate);
//! let session = network.agent().connect(worker).await?;
//! network.partition(worker, Direction::Both);     // what is said now arrives after `heal`, if the session still lives
//! network.cut(worker);                            // both ends see `Closed`
//! ```

mod ends;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_runner_core::id::{SessionId, WorkerId};
use data_runner_core::port::{AgentGate, AgentTransport, Transport};

use ends::{AgentEnd, SupervisorEnd};
use state::State;

/// How many messages of one session may wait for the supervisor before the agent's `send` waits, and how many may wait
/// for the agent before the session is ended as stuck.
pub const MESSAGES_IN_FLIGHT: usize = 1024;

/// How many pieces of log of one session may wait for the supervisor before `send_log` waits.
pub const LOGS_IN_FLIGHT: usize = 64;

/// Which way nothing passes in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the agent to the supervisor.
    Up,
    /// From the supervisor to the agent.
    Down,
    /// Neither way.
    Both,
}

/// The network. Clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    state: Arc<Mutex<State>>,
}

impl MemoryNetwork {
    /// A network without a supervisor: until [`supervisor`](Self::supervisor) is called, connects are `Unreachable`.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new supervisor's end. One that was made earlier is gone with all its sessions, as when its process dies:
    /// it hears `Closed` and nothing more, the agents see their sessions end.
    pub fn supervisor(&self) -> Arc<dyn Transport> {
        let generation = self.locked().start_supervisor();
        Arc::new(SupervisorEnd { network: self.clone(), generation })
    }

    /// Kills the supervisor's end: its sessions end, connects are `Unreachable` until there is a new one.
    pub fn crash_supervisor(&self) {
        self.locked().crash_supervisor();
    }

    /// An agent's end. Every agent may have its own, or all the same.
    pub fn agent(&self) -> Arc<dyn AgentTransport> {
        Arc::new(AgentEnd { network: self.clone() })
    }

    /// Who answers when an agent asks for code; until this is called such a request is `Unreachable`.
    pub fn set_gate(&self, gate: Arc<dyn AgentGate>) {
        self.locked().gate = Some(gate);
    }

    /// Ends every session of that worker as a broken connection does: both ends see `Closed`, what a partition held
    /// back is lost. A new connect works, unless there is a partition.
    pub fn cut(&self, worker: WorkerId) {
        let mut state = self.locked();
        for session in state.sessions_of(|of| of == worker) {
            state.cut(session);
        }
    }

    /// Ends every session of every worker so.
    pub fn cut_all(&self) {
        let mut state = self.locked();
        for session in state.sessions_of(|_| true) {
            state.cut(session);
        }
    }

    /// From now on every connect is refused with this reason.
    pub fn refuse_connects(&self, reason: impl Into<String>) {
        self.locked().refusing = Some(reason.into());
    }

    /// Ends what [`refuse_connects`](Self::refuse_connects) began.
    pub fn accept_connects(&self) {
        self.locked().refusing = None;
    }

    /// Lets nothing pass between that worker and the supervisor that way: what is said waits, in order; an end that is
    /// closed does not hear of it at the other side; connects are `Unreachable` whichever way it is.
    pub fn partition(&self, worker: WorkerId, direction: Direction) {
        self.locked().partition(worker, direction);
    }

    /// Ends a partition: what waited arrives.
    pub fn heal(&self, worker: WorkerId) {
        self.locked().heal(|of| of == worker);
    }

    /// Ends all partitions.
    pub fn heal_all(&self) {
        self.locked().heal(|_| true);
    }

    /// The sessions that the supervisor's end holds open, the oldest first.
    pub fn open_sessions(&self) -> Vec<(SessionId, WorkerId)> {
        self.locked().open_sessions()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
