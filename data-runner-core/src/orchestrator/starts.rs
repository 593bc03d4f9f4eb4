//! What starts without anybody asking: claimed by a commit, prepared outside the loop, submitted, and settled by the
//! commit that makes the execution. What is claimed is prepared again after a restart; a second submission of it finds
//! no claim, or the execution of the first. Here is what schedules and needs have in common: trying again, giving up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Orchestrator, Turn};
use crate::event::{Effect, EventKind, Submit};
use crate::execution::Trigger;
use crate::id::WorkflowId;
use crate::time::{Deadline, Mono};
use crate::workflow::{
    DefinitionState, NeedsStart, Presence, ScheduleId, ScheduleTick, Start, StartOutcome, Workflow,
};

/// For how long the execution of a start is tried to be submitted.
const TRY_FOR: Duration = Duration::from_secs(15 * 60);

/// The wait after the first try; each further one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// A preparation that has not been heard of for so long is begun again. It may be under way still; that does no harm.
const PATIENCE: Duration = Duration::from_secs(600);

/// The tries of what is claimed: they begin anew with each start of the supervisor.
pub(super) type Starts = BTreeMap<Start, Tries>;

/// How a claimed start fares.
#[derive(Debug, Clone, Default)]
pub(super) struct Tries {
    /// When it is tried next.
    at: Mono,
    failures: u32,
    /// When it failed first, and how it failed last.
    failed: Option<(Mono, String)>,
}

impl Tries {
    pub(super) fn from(at: Mono) -> Self {
        Self { at, ..Self::default() }
    }
}

impl Orchestrator {
    /// Asks for the preparation of what is claimed and due.
    pub(super) fn run_starts(&mut self, turn: &mut Turn<'_>) {
        if self.is_ending() {
            return;
        }
        let now = turn.now.mono;
        for (start, tries) in self.starts.iter_mut().filter(|(_, tries)| tries.at <= now) {
            tries.at = now.after(PATIENCE);
            turn.effect(Effect::Prepare(Box::new(start.clone())));
        }
    }

    /// When a claimed start is tried again.
    pub(super) fn start_deadline(&self) -> Option<Deadline> {
        if self.is_ending() {
            return None;
        }
        let at = self.starts.values().map(|tries| tries.at).min()?;
        Some(Deadline { at, why: "an execution that starts by itself" })
    }

    /// The engine could not submit the execution of a start.
    pub(super) fn on_not_submitted(&mut self, start: &Start, message: String, turn: &mut Turn<'_>) {
        let (now, called) = (turn.now.mono, self.start_called(start));
        let (kind, workflow) = (failed_kind(start), start.workflow());
        let Some(tries) = self.starts.get_mut(start) else {
            return;
        };
        let first = tries.failed.as_ref().map_or(now, |(first, _)| *first);
        if now.since(first) >= TRY_FOR {
            turn.record_start(kind, workflow, format!("{called}: {start} is given up: {message}"));
            return self.settle_start(start, StartOutcome::GivenUp { message }, turn);
        }
        let wait = FIRST_WAIT.saturating_mul(1 << tries.failures.min(8)).min(LONGEST_WAIT);
        tries.failures = tries.failures.saturating_add(1);
        tries.at = now.after(wait);
        // The same error again is no news.
        if tries.failed.as_ref().is_none_or(|(_, known)| *known != message) {
            let said = format!("{called}: {start} cannot be run yet: {message}; it is tried again");
            turn.record_start(kind, workflow, said);
        }
        tries.failed = Some((first, message));
    }

    /// Whether an execution may be made of it.
    pub(super) fn is_claimed(&self, start: &Start) -> bool {
        match start {
            Start::Tick(tick) => self.is_tick_claimed(tick),
            Start::Needs(start) => self.is_needs_claimed(start),
        }
    }

    /// Takes a claim away; nothing more comes of it.
    pub(super) fn settle_start(&mut self, start: &Start, outcome: StartOutcome, turn: &mut Turn<'_>) {
        self.starts.remove(start);
        match start {
            Start::Tick(tick) => self.settle_tick(tick, outcome, turn),
            Start::Needs(start) => self.settle_needs(start, outcome, turn),
        }
    }

    /// Leaves a claimed start out, since it would have to wait for others.
    pub(super) fn skip_start(&mut self, start: &Start, reason: String, turn: &mut Turn<'_>) {
        let said = format!("{}: {start} is skipped: {reason}", self.start_called(start));
        turn.record_start(EventKind::StartSkipped, start.workflow(), said);
        self.settle_start(start, StartOutcome::Skipped { reason }, turn);
    }

    /// Whose start it is, as people know it.
    fn start_called(&self, start: &Start) -> String {
        match start {
            Start::Tick(tick) => self.schedule_called(&tick.of),
            Start::Needs(start) => self.workflow_called(start.workflow),
        }
    }

    pub(super) fn workflow_called(&self, id: WorkflowId) -> String {
        let name = self.workflows.get(&id).map(|workflow| workflow.qualified_name().to_string());
        name.unwrap_or_else(|| id.to_string())
    }
}

/// The start that a submission is for.
pub(super) fn start_of(submit: &Submit) -> Option<Start> {
    match &submit.trigger {
        Trigger::Schedule { schedule, due } => {
            let of = ScheduleId { workflow: submit.workflow, schedule: schedule.clone() };
            Some(Start::Tick(ScheduleTick { of, due: *due }))
        }
        Trigger::Needs { by } => {
            let start = NeedsStart { workflow: submit.workflow, dates: submit.dates, by: by.clone() };
            Some(Start::Needs(start))
        }
        Trigger::Manual | Trigger::Retry | Trigger::Rerun | Trigger::Backfill => None,
    }
}

const fn failed_kind(start: &Start) -> EventKind {
    match start {
        Start::Tick(_) => EventKind::ScheduleFailed,
        Start::Needs(_) => EventKind::NeedsFailed,
    }
}

/// Why a workflow starts by nothing but a person's wish; `None` if it starts by itself as its configuration says.
pub(super) fn why_not_running(workflow: &Workflow) -> Option<&'static str> {
    match (workflow.presence, &workflow.definition) {
        (Presence::Removed { .. }, _) => Some("the workflow is not in its repository"),
        (Presence::Deleted { .. }, _) => Some("the workflow is deleted"),
        (Presence::Present, _) if workflow.paused_at.is_some() => Some("the workflow is paused"),
        (Presence::Present, DefinitionState::Broken { .. }) => Some("the workflow's configuration is broken"),
        (Presence::Present, DefinitionState::Valid(_)) => None,
    }
}
