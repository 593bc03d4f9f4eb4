//! The states of a worker.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Candidate, MachineEnd};
use crate::id::{AttemptId, Lease, MachineId};
use crate::time::Timestamp;

/// Where a worker stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WorkerState {
    /// It is wanted; the provisioner is asked for candidates.
    Planning {
        /// Since when.
        since: Timestamp,
    },
    /// This candidate is being launched; repeated until there is a definite answer.
    Launching {
        /// The candidate.
        candidate: Candidate,
        /// Those that follow if this one cannot be had.
        fallbacks: Vec<Candidate>,
        /// Since when.
        since: Timestamp,
    },
    /// The machine exists; its agent has not connected yet.
    Booting {
        /// The machine.
        machine: MachineId,
        /// What was launched.
        candidate: Candidate,
        /// Those that follow if there is no capacity for the machine after all; each with a worker of its own.
        #[serde(default)]
        fallbacks: Vec<Candidate>,
        /// Since when.
        since: Timestamp,
    },
    /// Its agent is known and has nothing to do.
    Idle {
        /// The machine, if the provisioner gave one.
        machine: Option<MachineId>,
        /// What was launched, if it was.
        candidate: Option<Candidate>,
        /// Since when.
        since: Timestamp,
    },
    /// Its agent has attempts.
    Busy {
        /// The machine, if the provisioner gave one.
        machine: Option<MachineId>,
        /// What was launched, if it was.
        candidate: Option<Candidate>,
        /// The attempts, by their id.
        attempts: BTreeMap<AttemptId, Lease>,
    },
    /// It takes no more work, and goes when its attempts have ended.
    Draining {
        /// The machine, if the provisioner gave one.
        machine: Option<MachineId>,
        /// What was launched, if it was.
        #[serde(default)]
        candidate: Option<Candidate>,
        /// The attempts that it still has.
        attempts: BTreeMap<AttemptId, Lease>,
        /// Why it goes.
        cause: TerminationCause,
        /// Since when: since the end of its last attempt, if it still had some.
        #[serde(default)]
        since: Timestamp,
    },
    /// It is being terminated; its attempts are not replaced before there is proof.
    Terminating {
        /// The machine, if the provisioner gave one.
        machine: Option<MachineId>,
        /// What was launched, or being launched, if that is known.
        #[serde(default)]
        candidate: Option<Candidate>,
        /// The attempts that end with it.
        attempts: BTreeMap<AttemptId, Lease>,
        /// Why it goes.
        cause: TerminationCause,
        /// Since when.
        since: Timestamp,
    },
    /// It is proved gone.
    Terminated {
        /// Why it went.
        cause: TerminationCause,
        /// When the proof came.
        at: Timestamp,
    },
}

/// Why a worker goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum TerminationCause {
    /// It was idle longer than anyone wanted to keep it warm.
    Idle,
    /// An operator asked for it to drain or to go.
    Operator,
    /// Its agent was not heard of for too long.
    Lost,
    /// Its agent never connected.
    NeverJoined {
        /// The end of what its machine wrote to its console, where it could be read.
        #[serde(default)]
        console: Option<String>,
    },
    /// The provisioner says that its machine is gone.
    MachineGone {
        /// What the provisioner says of why.
        reason: String,
        /// What that means.
        #[serde(default = "ended")]
        end: MachineEnd,
    },
    /// Its machine must be gone by now, whatever it does.
    Deadline,
    /// Whoever it was being launched for no longer wants it.
    Unwanted,
    /// It could not be launched.
    LaunchFailed {
        /// Why.
        message: String,
    },
    /// Its agent ended by itself, with nothing left to do.
    Left,
    /// The supervisor is shutting down.
    Shutdown,
}

/// What the end of a machine meant before that was told apart.
const fn ended() -> MachineEnd {
    MachineEnd::Ended
}

impl WorkerState {
    /// The state's public name.
    pub const fn name(&self) -> WorkerStateName {
        match self {
            Self::Planning { .. } | Self::Launching { .. } => WorkerStateName::Launching,
            Self::Booting { .. } => WorkerStateName::Booting,
            Self::Idle { .. } => WorkerStateName::Idle,
            Self::Busy { .. } => WorkerStateName::Busy,
            Self::Draining { .. } => WorkerStateName::Draining,
            Self::Terminating { .. } => WorkerStateName::Terminating,
            Self::Terminated { .. } => WorkerStateName::Terminated,
        }
    }

    /// The machine, once there is one.
    pub const fn machine(&self) -> Option<&MachineId> {
        match self {
            Self::Booting { machine, .. } => Some(machine),
            Self::Idle { machine, .. }
            | Self::Busy { machine, .. }
            | Self::Draining { machine, .. }
            | Self::Terminating { machine, .. } => machine.as_ref(),
            Self::Planning { .. } | Self::Launching { .. } | Self::Terminated { .. } => None,
        }
    }

    /// What was launched, or is being launched.
    pub const fn candidate(&self) -> Option<&Candidate> {
        match self {
            Self::Launching { candidate, .. } | Self::Booting { candidate, .. } => Some(candidate),
            Self::Idle { candidate, .. }
            | Self::Busy { candidate, .. }
            | Self::Draining { candidate, .. }
            | Self::Terminating { candidate, .. } => candidate.as_ref(),
            Self::Planning { .. } | Self::Terminated { .. } => None,
        }
    }

    /// The attempts that it has.
    pub fn attempts(&self) -> impl Iterator<Item = (AttemptId, Lease)> + '_ {
        let attempts = match self {
            Self::Busy { attempts, .. }
            | Self::Draining { attempts, .. }
            | Self::Terminating { attempts, .. } => Some(attempts),
            Self::Planning { .. }
            | Self::Launching { .. }
            | Self::Booting { .. }
            | Self::Idle { .. }
            | Self::Terminated { .. } => None,
        };
        attempts.into_iter().flatten().map(|(attempt, lease)| (*attempt, *lease))
    }
}

/// The public name of a worker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerStateName {
    /// Planned or being launched.
    Launching,
    /// See [`WorkerState::Booting`].
    Booting,
    /// See [`WorkerState::Idle`].
    Idle,
    /// See [`WorkerState::Busy`].
    Busy,
    /// See [`WorkerState::Draining`].
    Draining,
    /// See [`WorkerState::Terminating`].
    Terminating,
    /// See [`WorkerState::Terminated`].
    Terminated,
}

impl WorkerStateName {
    /// The name as REST, CLI and the store have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Booting => "booting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Terminating => "terminating",
            Self::Terminated => "terminated",
        }
    }
}

impl fmt::Display for WorkerStateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
