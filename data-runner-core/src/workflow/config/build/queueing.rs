//! How its executions stand in line.

use crate::execution::Priority;
use crate::workflow::QueueingRules;
use crate::yaml::Object;

pub(super) fn queueing(config: &mut Object) -> QueueingRules {
    // The table of keys lets only numbers from 0 to 100 through.
    let priority = config.int("priority").and_then(|points| u8::try_from(points).ok());
    QueueingRules { priority: priority.map(Priority::new).unwrap_or_default() }
}
