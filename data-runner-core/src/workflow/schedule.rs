//! When a workflow runs by itself.

use serde::{Deserialize, Serialize};

/// One schedule of a workflow. Its identity is its cron line and its time zone, not its place in the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Schedule {
    /// Five fields: minute, hour, day of month, month, day of week. Checked: it has an occurrence.
    pub cron: String,
    /// The IANA name of the time zone, such as `Europe/Madrid`. Checked: it is known.
    pub timezone: String,
}
