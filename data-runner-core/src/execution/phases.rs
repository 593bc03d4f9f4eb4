//! The timeline of an attempt.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A step that an attempt reaches; in this order, though not every attempt reaches each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for a worker.
    Queued,
    /// Its worker was launched.
    Launched,
    /// Its worker was connected and got it.
    Connected,
    /// Its code was on the worker, the hash checked.
    CodeReady,
    /// Its environment was complete.
    EnvironmentReady,
    /// The user's code started.
    Started,
    /// The user's code, and all processes it left, ended.
    Finished,
    /// Its log was whole in the store (or was given up).
    Drained,
    /// Its worker was proved gone.
    Terminated,
}

impl Phase {
    /// Every phase in order.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Launched,
        Self::Connected,
        Self::CodeReady,
        Self::EnvironmentReady,
        Self::Started,
        Self::Finished,
        Self::Drained,
        Self::Terminated,
    ];

    /// The name as REST and CLI show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Launched => "launched",
            Self::Connected => "connected",
            Self::CodeReady => "code_ready",
            Self::EnvironmentReady => "environment_ready",
            Self::Started => "started",
            Self::Finished => "finished",
            Self::Drained => "drained",
            Self::Terminated => "terminated",
        }
    }
}

/// When each phase was reached. A phase is recorded once; a repeated report does not move it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phases([Option<Timestamp>; 9]);

impl Phases {
    /// When `phase` was reached.
    pub fn get(&self, phase: Phase) -> Option<Timestamp> {
        self.0[phase as usize]
    }

    /// Records that `phase` was reached, unless that is recorded already.
    pub fn record(&mut self, phase: Phase, at: Timestamp) {
        self.0[phase as usize].get_or_insert(at);
    }

    /// Moves a phase that was recorded before it was exactly known.
    pub(super) fn replace(&mut self, phase: Phase, at: Timestamp) {
        self.0[phase as usize] = Some(at);
    }

    /// The phases that were reached, in order.
    pub fn reached(&self) -> impl Iterator<Item = (Phase, Timestamp)> + '_ {
        Phase::ALL.into_iter().filter_map(|phase| self.get(phase).map(|at| (phase, at)))
    }
}
