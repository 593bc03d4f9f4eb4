//! Workflows that run by themselves: which tick of a schedule makes an execution, and which is left out.
//!
//! All ticks up to a schedule's `reached` are dealt with, and that moment is durable: neither a restart nor a clock that
//! steps back repeats one. A tick that is due is claimed by one commit; `starts` tells how it gets its execution.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::starts::{Tries, why_not_running};
use super::{Orchestrator, Turn};
use crate::event::{Change, EventKind};
use crate::time::{Deadline, Now, Timestamp};
use crate::workflow::{
    CatchUp, DefinitionState, ScheduleId, ScheduleLine, ScheduleProgress, ScheduleTick, SettledTick, Start,
    StartOutcome, Workflow,
};

/// A tick that is later than this was missed: nobody was there when it was due. Its line says what becomes of it.
const LATENESS: Duration = Duration::from_secs(60);

/// A schedule that is further ahead of the clock than this was carried there by a clock that was wrong.
const TOO_FAR: Duration = Duration::from_secs(24 * 3600);

/// Of a longer absence, only so many ticks are counted.
const COUNTED: u32 = 1000;

/// Of one absence, at the most so many ticks of a schedule are made up for, the newest ones.
const CAUGHT_UP: usize = 1000;

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
            for line in running(workflow) {
                self.schedules.plan(&id_of(workflow, line), line);
            }
        }
    }

    /// A workflow has changed: schedules that run from now on begin now, those that do not any more end.
    pub(super) fn reschedule(&mut self, before: Option<&Workflow>, workflow: &Workflow, turn: &mut Turn<'_>) {
        let id = |line: &ScheduleLine| id_of(workflow, line);
        let before_lines = before.map(running).unwrap_or_default();
        let was: BTreeSet<ScheduleId> = before_lines.iter().map(id).collect();
        let is: BTreeSet<ScheduleId> = running(workflow).iter().map(id).collect();
        for line in running(workflow).iter().filter(|line| was.contains(&id(line))) {
            // Its jitter may be another one.
            self.schedules.plan(&id(line), line);
        }
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
        let Some(line) = self.line(id).cloned() else {
            return self.schedules.unplan(id);
        };
        let Some(known) = self.schedules.known.get(id) else {
            return self.begin_schedule(id, None, turn);
        };
        let mut progress = ScheduleProgress::clone(known);
        let now = turn.now.wall;
        let too_long_ago = too_long_ago(&line, now);
        let missed = Missed::between(&progress, too_long_ago);
        self.record_missed(&mut progress, missed, "nobody was there to run it in time", turn);
        progress.reached = progress.reached.max(too_long_ago);
        let Due { run, left_out } = Due::by(&progress, &line, now);
        let why = match line.catch_up {
            CatchUp::None | CatchUp::All { .. } => "too many were missed at once",
            CatchUp::Latest { .. } => "a newer one was due by then",
        };
        self.record_missed(&mut progress, left_out, why, turn);
        for due in run {
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
        let moved = before.is_none_or(|before| before.reached != progress.reached);
        if let Some(line) = self.line(&id).cloned()
            && (moved || !self.schedules.next.contains_key(&id))
        {
            self.schedules.plan(&id, &line);
        }
        turn.change(Change::PutSchedule(progress));
    }

    /// The line of a schedule that runs.
    fn line(&self, id: &ScheduleId) -> Option<&ScheduleLine> {
        running(self.workflows.get(&id.workflow)?).iter().find(|line| line.schedule == id.schedule)
    }
}

impl Schedules {
    /// Notes when the schedule's next tick begins.
    fn plan(&mut self, id: &ScheduleId, line: &ScheduleLine) {
        self.unplan(id);
        let next = match self.known.get(id) {
            Some(progress) => {
                let due = id.schedule.next_after(progress.reached);
                due.map(|due| line.begins_at(id.workflow, due))
            }
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

/// Ticks that begin now.
struct Due {
    run: VecDeque<Timestamp>,
    /// Those before them, which are left out.
    left_out: Option<Missed>,
}

impl Due {
    /// What has begun by `now` after `progress` has come.
    fn by(progress: &ScheduleProgress, line: &ScheduleLine, now: Timestamp) -> Self {
        let keep = match line.catch_up {
            CatchUp::None | CatchUp::All { .. } => CAUGHT_UP,
            CatchUp::Latest { .. } => 1,
        };
        let mut due = Self { run: VecDeque::new(), left_out: None };
        let next = |after| {
            let next = line.schedule.next_after(after);
            next.filter(|due| line.begins_at(progress.id.workflow, *due) <= now)
        };
        let mut reached = progress.reached;
        while let Some(tick) = next(reached) {
            reached = tick;
            due.run.push_back(tick);
            if due.run.len() > keep
                && let Some(last) = due.run.pop_front()
            {
                due.left_out = Some(match due.left_out.take() {
                    None => Missed { count: 1, first: last, last },
                    Some(Missed { count, first, .. }) => {
                        Missed { count: count.saturating_add(1), first, last }
                    }
                });
            }
        }
        due
    }
}

/// The last moment that is too long ago for a tick of it to be run.
fn too_long_ago(line: &ScheduleLine, now: Timestamp) -> Timestamp {
    let late = LATENESS.saturating_add(line.jitter);
    let within = line.catch_up.window().map_or(late, |window| window.max(late));
    now.before(within).before(Duration::from_micros(1))
}

fn id_of(workflow: &Workflow, line: &ScheduleLine) -> ScheduleId {
    ScheduleId { workflow: workflow.id, schedule: line.schedule.clone() }
}

/// The schedules that make executions of a workflow as it is.
fn running(workflow: &Workflow) -> &[ScheduleLine] {
    match &workflow.definition {
        DefinitionState::Valid(definition) if why_not_running(workflow).is_none() => {
            &definition.config.schedule
        }
        DefinitionState::Valid(_) | DefinitionState::Broken { .. } => &[],
    }
}
