//! What is started without anybody asking: by a schedule, or because what is needed has succeeded.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{NeedsStart, ScheduleTick};
use crate::id::{ExecutionId, GroupId, WorkflowId};
use crate::port::Made;

/// One reason to start. It makes at most one execution (invariant I10): it is claimed by a commit, its execution is
/// prepared outside the loop, and the commit that makes the execution takes the claim away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Start {
    /// A schedule was due.
    Tick(ScheduleTick),
    /// All that is needed has succeeded.
    Needs(NeedsStart),
}

impl Start {
    /// What is started.
    pub const fn workflow(&self) -> WorkflowId {
        match self {
            Self::Tick(tick) => tick.of.workflow,
            Self::Needs(start) => start.workflow,
        }
    }

    /// The key under which its execution is remembered: what makes a repeated submission the same submission.
    pub fn key(&self) -> String {
        match self {
            Self::Tick(tick) => tick.key(),
            Self::Needs(start) => start.key(),
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick(tick) => write!(f, "the tick of {}", tick.due),
            Self::Needs(start) => {
                let names: Vec<String> = start.by.iter().map(|by| by.workflow.to_string()).collect();
                write!(f, "the start after {}", names.join(", "))?;
                start.dates.map_or(Ok(()), |dates| write!(f, " for {}", dates.date))
            }
        }
    }
}

impl From<Made> for StartOutcome {
    fn from(made: Made) -> Self {
        match made {
            Made::Execution(execution) => Self::Submitted { execution },
            Made::Group(group) => Self::Grouped { group },
        }
    }
}

/// What came of a reason to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StartOutcome {
    /// Its execution was submitted.
    Submitted {
        /// That execution.
        execution: ExecutionId,
    },
    /// Its group was made.
    Grouped {
        /// That group.
        group: GroupId,
    },
    /// It was left out.
    Missed {
        /// Why.
        reason: String,
    },
    /// It was left out, since as many executions of its workflow had not ended as may run at one time.
    Skipped {
        /// The same for people.
        reason: String,
    },
    /// It had no execution, however often it was tried.
    GivenUp {
        /// Why the last try failed.
        message: String,
    },
}
