//! Workflows that run by themselves: which tick of a schedule makes an execution, and which is left out.
//!
//! All ticks up to a schedule's `reached` are dealt with, and that moment is durable: neither a restart nor a clock that
//! steps back repeats one. A tick that is due is claimed by one commit; `starts` tells how it gets its execution.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::starts::{Tries, why_not_running};
use super::{Orchestrator, Turn};
use crate::event::{Change, EventKind};
use crate::time::{Deadline, Now, Timestamp};
use crate::workflow::{
    DefinitionState, Schedule, ScheduleId, ScheduleProgress, ScheduleTick, SettledTick, Start, StartOutcome,
    Workflow,
};

/// A tick that is later than this is left out: nobody was there when it was due.
const LATENESS: Duration = Duration::from_secs(60);

/// A schedule that is further ahead of the clock than this was carried there by a clock that was wrong.
const TOO_FAR: Duration = Duration::from_secs(24 * 3600);

/// Of a longer absence, only so many ticks are counted.
const COUNTED: u32 = 1000;

/// All schedules, and when each has to be looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedules {
    known: BTreeMap<ScheduleId, Arc<ScheduleProgress>>,
    /// When each schedule that runs is due next. Derived.
    next: BTreeMap<ScheduleId, Timestamp>,
    /// The same by time.
    timers: BTreeSet<(Timestamp, ScheduleId)>,
    /// No schedule has reached more than this. Derived.
    furthest: Timestamp,
}

impl Orchestrator {
    /// How far each schedule has come, also of workflows that do not run at present.
    pub fn schedules(&self) -> &BTreeMap<ScheduleId, Arc<ScheduleProgress>> {
        &self.schedules.known
    }

    pub(super) fn recover_schedules(&mut self, stored: Vec<ScheduleProgress>) {
        for progress in stored {
            self.schedules.furthest = self.schedules.furthest.max(progress.reached);
            for &due in &progress.claimed {
                let tick = ScheduleTick { of: progress.id.clone(), due };
                self.starts.insert(Start::Tick(tick), Tries::default());
            }
            self.schedules.known.insert(progress.id.clone(), Arc::new(progress));
        }
        for workflow in self.workflows.values() {
            for schedule in running(workflow) {
                let id = ScheduleId { workflow: workflow.id, schedule: schedule.clone() };
                self.schedules.plan(&id);
            }
        }
    }

    /// A workflow has changed: schedules that run from now on begin now, those that do not any more end.
    pub(super) fn reschedule(&mut self, before: Option<&Workflow>, workflow: &Workflow, turn: &mut Turn<'_>) {
        let id = |schedule: &Schedule| ScheduleId { workflow: workflow.id, schedule: schedule.clone() };
        let was: BTreeSet<ScheduleId> = before.map(running).unwrap_or_default().iter().map(id).collect();
        let is: BTreeSet<ScheduleId> = running(workflow).iter().map(id).collect();
        for ended in was.difference(&is) {
            self.end_schedule(ended, why_not_running(workflow).unwrap_or("its line was taken away"), turn);
        }
        for begun in is.difference(&was) {
            self.begin_schedule(begun, before.and_then(why_not_running), turn);
        }
    }

    /// What was due while it did not run is left out.
    fn begin_schedule(&mut self, id: &ScheduleId, why_not: Option<&str>, turn: &mut Turn<'_>) {
        let now = turn.now.wall;
        let mut progress = match self.schedules.known.get(id) {
            Some(known) => ScheduleProgress::clone(known),
            None => ScheduleProgress { id: id.clone(), reached: now, claimed: BTreeSet::new(), last: None },
        };
        if let Some(why_not) = why_not {
            let missed = Missed::between(&progress, now);
            self.record_missed(&mut progress, missed, why_not, turn);
        }
        progress.reached = progress.reached.max(now);
        self.put_progress(progress, turn);
    }

    /// What is claimed and has no execution yet will have none.
    fn end_schedule(&mut self, id: &ScheduleId, why: &str, turn: &mut Turn<'_>) {
        self.schedules.unplan(id);
        let Some(progress) = self.schedules.known.get(id).filter(|progress| !progress.claimed.is_empty())
        else {
            return;
        };
        let mut progress = ScheduleProgress::clone(progress);
        let claimed = std::mem::take(&mut progress.claimed);
        for &due in &claimed {
            self.starts.remove(&Start::Tick(ScheduleTick { of: id.clone(), due }));
        }
        let missed = Missed::of(&claimed);
        self.record_missed(&mut progress, missed, why, turn);
        self.put_progress(progress, turn);
    }

    pub(super) fn run_schedules(&mut self, turn: &mut Turn<'_>) {
        if self.is_ending() {
            return;
        }
        self.come_back_from_the_future(turn);
        let due = self.schedules.timers.iter().take_while(|(at, _)| *at <= turn.now.wall);
        let due: Vec<ScheduleId> = due.map(|(_, id)| id.clone()).collect();
        for id in due {
            self.claim_due(&id, turn);
        }
    }

    /// When a schedule is due.
    pub(super) fn schedule_deadline(&self, now: Now) -> Option<Deadline> {
        if self.is_ending() {
            return None;
        }
        let schedules = &self.schedules;
        let due = schedules.timers.first().map(|(at, _)| now.mono_at(*at));
        let astray = (schedules.furthest > now.wall.after(TOO_FAR)).then_some(now.mono);
        let at = [due, astray].into_iter().flatten().min()?;
        Some(Deadline { at, why: "a schedule" })
    }

    /// Claims what is due now, and leaves out what was due too long ago.
    fn claim_due(&mut self, id: &ScheduleId, turn: &mut Turn<'_>) {
        let Some(known) = self.schedules.known.get(id) else {
            return self.begin_schedule(id, None, turn);
        };
        let mut progress = ScheduleProgress::clone(known);
        let now = turn.now.wall;
        // The last moment that is too long ago.
        let late = now.before(LATENESS).before(Duration::from_micros(1));
        let missed = Missed::between(&progress, late);
        self.record_missed(&mut progress, missed, "nobody was there to run it in time", turn);
        progress.reached = progress.reached.max(late);
        while let Some(due) = id.schedule.next_after(progress.reached).filter(|due| *due <= now) {
            progress.reached = due;
            progress.claimed.insert(due);
            let tick = ScheduleTick { of: id.clone(), due };
            self.starts.insert(Start::Tick(tick), Tries::from(turn.now.mono));
        }
        self.put_progress(progress, turn);
    }

    /// A clock that was years ahead for a moment must not silence schedules for years. Ticks that have had their
    /// execution do not get a second one: it is remembered by their key.
    fn come_back_from_the_future(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.wall;
        let limit = now.after(TOO_FAR);
        if self.schedules.furthest <= limit {
            return;
        }
        let astray = self.schedules.known.values().filter(|progress| progress.reached > limit);
        let astray: Vec<Arc<ScheduleProgress>> = astray.cloned().collect();
        for progress in astray {
            let message = format!(
                "{} was ahead of the clock, at {}; it goes on from now",
                self.schedule_called(&progress.id),
                progress.reached
            );
            turn.record_start(EventKind::ScheduleMissed, progress.id.workflow, message);
            let progress = ScheduleProgress { reached: now, ..ScheduleProgress::clone(&progress) };
            self.put_progress(progress, turn);
        }
        let reached = self.schedules.known.values().map(|progress| progress.reached);
        self.schedules.furthest = reached.max().unwrap_or_default();
    }

    pub(super) fn is_tick_claimed(&self, tick: &ScheduleTick) -> bool {
        self.schedules.known.get(&tick.of).is_some_and(|progress| progress.claimed.contains(&tick.due))
    }

    pub(super) fn settle_tick(&mut self, tick: &ScheduleTick, outcome: StartOutcome, turn: &mut Turn<'_>) {
        let Some(known) = self.schedules.known.get(&tick.of).filter(|it| it.claimed.contains(&tick.due))
        else {
            return;
        };
        let mut progress = ScheduleProgress::clone(known);
        progress.claimed.remove(&tick.due);
        if progress.last.as_ref().is_none_or(|last| last.due <= tick.due) {
            progress.last = Some(SettledTick { due: tick.due, outcome });
        }
        self.put_progress(progress, turn);
    }

    fn record_missed(
        &self,
        progress: &mut ScheduleProgress,
        missed: Option<Missed>,
        why: &str,
        turn: &mut Turn<'_>,
    ) {
        let Some(Missed { count, first, last }) = missed else {
            return;
        };
        let called = self.schedule_called(&progress.id);
        let message = match count {
            1 => format!("{called}: the tick of {first} was left out: {why}"),
            COUNTED.. => format!("{called}: {count} ticks and more from {first} on were left out: {why}"),
            _ => format!("{called}: {count} ticks from {first} to {last} were left out: {why}"),
        };
        turn.record_start(EventKind::ScheduleMissed, progress.id.workflow, message);
        progress.last =
            Some(SettledTick { due: last, outcome: StartOutcome::Missed { reason: why.to_owned() } });
    }

    /// The schedule as people know it.
    pub(super) fn schedule_called(&self, id: &ScheduleId) -> String {
        let name = self.workflow_called(id.workflow);
        format!("schedule \"{}\" ({}) of {name}", id.schedule.cron(), id.schedule.timezone())
    }

    fn put_progress(&mut self, progress: ScheduleProgress, turn: &mut Turn<'_>) {
        let id = progress.id.clone();
        let progress = Arc::new(progress);
        self.schedules.furthest = self.schedules.furthest.max(progress.reached);
        let before = self.schedules.known.insert(id.clone(), Arc::clone(&progress));
        let runs = self.workflows.get(&id.workflow).is_some_and(|it| running(it).contains(&id.schedule));
        let moved = before.is_none_or(|before| before.reached != progress.reached);
        if runs && (moved || !self.schedules.next.contains_key(&id)) {
            self.schedules.plan(&id);
        }
        turn.change(Change::PutSchedule(progress));
    }
}

impl Schedules {
    /// Notes when the schedule is due next.
    fn plan(&mut self, id: &ScheduleId) {
        self.unplan(id);
        let next = match self.known.get(id) {
            Some(progress) => id.schedule.next_after(progress.reached),
            // Nothing is stored of it yet: it begins at the first tick of the loop.
            None => Some(Timestamp::default()),
        };
        if let Some(next) = next {
            self.next.insert(id.clone(), next);
            self.timers.insert((next, id.clone()));
        }
    }

    fn unplan(&mut self, id: &ScheduleId) {
        if let Some(next) = self.next.remove(id) {
            self.timers.remove(&(next, id.clone()));
        }
    }
}

/// Ticks that are left out together.
struct Missed {
    count: u32,
    first: Timestamp,
    /// The last one that was counted.
    last: Timestamp,
}

impl Missed {
    /// What is due after `progress` has come, up to `end`.
    fn between(progress: &ScheduleProgress, end: Timestamp) -> Option<Self> {
        let next = |after| progress.id.schedule.next_after(after).filter(|due| *due <= end);
        let first = next(progress.reached)?;
        let (mut count, mut last) = (1, first);
        while let Some(due) = next(last).filter(|_| count < COUNTED) {
            count += 1;
            last = due;
        }
        Some(Self { count, first, last })
    }

    fn of(ticks: &BTreeSet<Timestamp>) -> Option<Self> {
        let count = u32::try_from(ticks.len()).unwrap_or(u32::MAX);
        Some(Self { count, first: *ticks.first()?, last: *ticks.last()? })
    }
}

/// The schedules that make executions of a workflow as it is.
fn running(workflow: &Workflow) -> &[Schedule] {
    match &workflow.definition {
        DefinitionState::Valid(definition) if why_not_running(workflow).is_none() => {
            &definition.config.schedule
        }
        DefinitionState::Valid(_) | DefinitionState::Broken { .. } => &[],
    }
}
