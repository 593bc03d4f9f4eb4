//! Executions that should have started long ago: each is told of once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Orchestrator, Turn};
use crate::event::{Change, EventKind, EventRecord};
use crate::execution::{Execution, Lateness};
use crate::id::ExecutionId;
use crate::time::{Deadline, Now, Timestamp};
use crate::workflow::NotifyOn;

/// When executions count as late, unless they start before. Derived from them.
pub(super) type Late = BTreeSet<(Timestamp, ExecutionId)>;

/// When an execution that has not started counts as late.
pub(super) fn late_at(execution: &Execution) -> Option<Timestamp> {
    match execution.late {
        Lateness::At { at } if execution.started_at().is_none() => Some(at),
        Lateness::At { .. } | Lateness::Never | Lateness::Since { .. } => None,
    }
}

impl Orchestrator {
    pub(super) fn tell_late(&mut self, turn: &mut Turn<'_>) {
        let due = self.late.iter().take_while(|(at, _)| *at <= turn.now.wall);
        let due: Vec<ExecutionId> = due.map(|(_, id)| *id).collect();
        for id in due {
            let Some(mut execution) = self.executions.get(&id).cloned() else {
                continue;
            };
            Arc::make_mut(&mut execution).late = Lateness::Since { at: turn.now.wall };
            turn.change(Change::Record(EventRecord {
                at: turn.now.wall,
                kind: EventKind::ExecutionLate,
                execution: Some(id),
                workflow: Some(execution.workflow_id),
                worker: None,
                message: format!("it has not started yet, and counts as late: {}", execution.state.name()),
            }));
            self.notify(&execution, NotifyOn::Late, turn);
            self.put_execution(execution, turn);
        }
    }

    /// When the next execution counts as late.
    pub(super) fn late_deadline(&self, now: Now) -> Option<Deadline> {
        let &(at, _) = self.late.first()?;
        Some(Deadline { at: now.mono_at(at), why: "an execution that has not started" })
    }
}
