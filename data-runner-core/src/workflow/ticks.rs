//! How far a schedule has come. A moment at which a schedule is due is called a tick of it.

use std::collections::BTreeSet;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Schedule, StartOutcome};
use crate::id::WorkflowId;
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
    pub outcome: StartOutcome,
}

/// The dates that an execution runs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ScheduleDates {
    /// The local date of the tick: `${schedule.date}`.
    pub date: Date,
    /// The last date before it on which the schedule was due: `${schedule.previous_date}`.
    pub previous: Date,
}
