//! How far a schedule has come. A moment at which a schedule is due is called a tick of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Schedule;
use crate::id::{ExecutionId, WorkflowId};
use crate::time::Timestamp;

/// A schedule of a workflow. A line that goes away and comes back is the same schedule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ScheduleId {
    /// The workflow.
    pub workflow: WorkflowId,
    /// Its cron line and time zone.
    pub schedule: Schedule,
}

/// One tick of a schedule. It makes at most one execution (invariant I10).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ScheduleTick {
    /// Whose.
    pub of: ScheduleId,
    /// When it was due.
    pub due: Timestamp,
}

impl ScheduleTick {
    /// The key under which its execution is remembered: what makes a repeated submission the same submission.
    pub fn key(&self) -> String {
        let Self { of: ScheduleId { workflow, schedule }, due } = self;
        format!("schedule {workflow} {} {} {}", schedule.cron(), schedule.timezone(), due.micros())
    }
}

/// How far a schedule has come. It is kept for as long as the workflow is known, whether or not its configuration still
/// has the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleProgress {
    /// Whose.
    pub id: ScheduleId,
    /// Every tick up to this moment is dealt with: it has its execution, it was left out, or it is in `claimed`.
    pub reached: Timestamp,
    /// Ticks whose execution is being prepared. They are prepared again until they have it or are given up.
    pub claimed: BTreeSet<Timestamp>,
    /// The tick that was settled last.
    pub last: Option<SettledTick>,
}

/// A tick that nothing more comes of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledTick {
    /// When it was due; of several that were left out together, the newest one that is known.
    pub due: Timestamp,
    /// What came of it.
    pub outcome: TickOutcome,
}

/// What came of a tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TickOutcome {
    /// Its execution was submitted.
    Submitted {
        /// That execution.
        execution: ExecutionId,
    },
    /// It was left out.
    Missed {
        /// Why.
        reason: String,
    },
    /// It had no execution, however often it was tried.
    GivenUp {
        /// Why the last try failed.
        message: String,
    },
}
