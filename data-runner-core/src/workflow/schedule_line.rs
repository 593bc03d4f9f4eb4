//! A line of `schedule`: when a workflow runs by itself, and how.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Schedule;
use crate::id::{Sha256, WorkflowId};
use crate::time::Timestamp;

/// One line of a workflow's `schedule`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleLine {
    /// When it is due. This alone says which schedule it is; the rest may change.
    #[serde(flatten)]
    pub schedule: Schedule,
    /// What happens to ticks that passed while nothing could run.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// By how much, at the most, a tick begins later than it is due.
    #[serde(default)]
    pub jitter: Duration,
}

/// What happens to ticks that passed while nothing could run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "catch_up", rename_all = "snake_case")]
pub enum CatchUp {
    /// They are left out.
    #[default]
    None,
    /// The newest of them runs, unless a newer one is due by now.
    Latest {
        /// How long ago it may have been due.
        window: Duration,
    },
    /// All of them run.
    All {
        /// How long ago they may have been due.
        window: Duration,
    },
}

impl CatchUp {
    /// The window where none is given: a week.
    pub const DEFAULT_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

    /// The names of all, as they stand in configuration.
    pub const NAMES: [&str; 3] = ["none", "latest", "all"];

    /// Its name as it stands in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Latest { .. } => "latest",
            Self::All { .. } => "all",
        }
    }

    /// How long ago a tick may have been due that is made up for; `None`: it is not.
    pub const fn window(self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Latest { window } | Self::All { window } => Some(window),
        }
    }
}

impl ScheduleLine {
    /// A line without catching up and jitter.
    pub const fn plain(schedule: Schedule) -> Self {
        Self { schedule, catch_up: CatchUp::None, jitter: Duration::ZERO }
    }

    /// When the tick that is due at `due` begins: the same moment whenever it is asked for, also after a restart, and
    /// another one for each workflow, so that what is due together does not begin together.
    pub fn begins_at(&self, workflow: WorkflowId, due: Timestamp) -> Timestamp {
        if self.jitter.is_zero() {
            return due;
        }
        let (cron, zone) = (self.schedule.cron(), self.schedule.timezone());
        let digest = Sha256::of(format!("{workflow} {cron} {zone} {}", due.micros()).as_bytes());
        let digits = digest.as_str().get(..8).unwrap_or_default();
        let share = f64::from(u32::from_str_radix(digits, 16).unwrap_or_default()) / f64::from(u32::MAX);
        due.after(self.jitter.mul_f64(share))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn line(jitter: u64) -> ScheduleLine {
        let schedule = Schedule::new("0 6 * * *", "UTC").unwrap();
        ScheduleLine { jitter: Duration::from_secs(jitter), ..ScheduleLine::plain(schedule) }
    }

    #[test]
    fn a_tick_begins_within_the_jitter_at_the_same_moment_each_time_it_is_asked_for() {
        let workflow = |n| WorkflowId::from_uuid(uuid::Uuid::from_u128(n));
        let due = Timestamp::from_micros(1_700_000_000_000_000);
        let begins: Vec<_> = (0..100).map(|n| line(120).begins_at(workflow(n), due)).collect();
        assert!(begins.iter().all(|at| *at >= due && *at <= due.after(Duration::from_secs(120))));
        let early = begins.iter().filter(|at| **at < due.after(Duration::from_secs(60))).count();
        assert!((25..75).contains(&early), "{early} of 100 in the first half");
        assert_eq!(line(120).begins_at(workflow(7), due), begins[7]);
        assert_eq!(line(0).begins_at(workflow(7), due), due);
    }

    #[test]
    fn a_line_that_was_stored_before_there_was_more_to_say_is_read() {
        let stored = r#"{"cron": "0 6 * * *", "timezone": "UTC"}"#;
        assert_eq!(serde_json::from_str::<ScheduleLine>(stored).unwrap(), line(0));
        let all = ScheduleLine { catch_up: CatchUp::All { window: CatchUp::DEFAULT_WINDOW }, ..line(5) };
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<ScheduleLine>(&text).unwrap(), all);
    }
}
