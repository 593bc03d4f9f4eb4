//! Ten years of schedules: none doubled, and none missed but those that the policy leaves out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use data_runner_core::event::{Answer, Event, Outcome, Pausing, ReplyTo, Request};
use data_runner_core::time::{Entropy, Timestamp};
use data_runner_core::workflow::{CatchUp, Schedule, ScheduleId, ScheduleLine, ScheduleTick};

use crate::scene::{Scene, joined, seconds};
use crate::schedules::{moment, start, wanted};

const DAY: Duration = Duration::from_secs(24 * 3600);

const LINES: [(&str, &str, CatchUp); 9] = [
    ("0 6 * * 1-5", "Europe/Madrid", CatchUp::None),
    ("30 2 * * *", "Europe/Madrid", CatchUp::None),
    ("30 1 * * *", "America/New_York", CatchUp::None),
    ("0 */8 * * *", "UTC", CatchUp::None),
    ("15 2 * * 0", "Australia/Lord_Howe", CatchUp::None),
    ("0 0 1 * *", "Africa/Cairo", CatchUp::None),
    ("0 12 29 2 *", "Asia/Kolkata", CatchUp::None),
    ("20 */6 * * *", "Europe/London", CatchUp::All { window: DAY }),
    ("40 */6 * * *", "America/Sao_Paulo", CatchUp::Latest { window: DAY }),
];

fn lines(chosen: &BTreeSet<usize>) -> Vec<ScheduleLine> {
    let line = |index: &usize| {
        let (cron, zone, catch_up) = LINES[*index];
        ScheduleLine { catch_up, ..ScheduleLine::plain(Schedule::new(cron, zone).unwrap()) }
    };
    chosen.iter().map(line).collect()
}

const QUARTER: Duration = Duration::from_secs(6 * 3600);

const LATENESS: Duration = Duration::from_secs(60);

/// The supervisor with what happens to it, and beside it a model of what must come of that.
struct Decade {
    it: Scene,
    chance: Entropy,
    ids: Vec<ScheduleId>,
    lines: BTreeSet<usize>,
    paused: bool,
    /// The next tick of each line that is not dealt with, by the model.
    next: BTreeMap<usize, Option<Timestamp>>,
    expected: BTreeSet<ScheduleTick>,
    ran: BTreeMap<ScheduleTick, u32>,
    /// What the supervisor asked for and has not got yet.
    open: Vec<ScheduleTick>,
    struck: BTreeMap<&'static str, u32>,
}

impl Decade {
    fn new(seed: u64) -> Self {
        let mut it = Scene::new(joined());
        it.now.wall = moment("2026-01-01T00:00:00Z");
        let workflow = it.workflow();
        let all = lines(&(0..LINES.len()).collect());
        let ids = all.into_iter().map(|line| ScheduleId { workflow, schedule: line.schedule }).collect();
        let mut decade = Self {
            it,
            chance: Entropy::from_number(seed),
            ids,
            lines: BTreeSet::new(),
            paused: false,
            next: BTreeMap::new(),
            expected: BTreeSet::new(),
            ran: BTreeMap::new(),
            open: Vec::new(),
            struck: BTreeMap::new(),
        };
        decade.define((0..LINES.len()).collect());
        decade
    }

    /// What is due up to now and was not due before. It is expected if somebody was there the whole time, is not late,
    /// or is caught up with; what is expected of a line that does not run is nothing.
    fn model(&mut self, watched: bool) {
        let now = self.it.now.wall;
        for line in self.lines.iter().copied().filter(|_| !self.paused) {
            let (of, catch_up) = (self.ids[line].clone(), LINES[line].2);
            let within = catch_up.window().unwrap_or(LATENESS);
            let mut expected = Vec::new();
            while let Some(due) = self.next[&line].filter(|due| *due <= now) {
                self.next.insert(line, of.schedule.next_after(due));
                if watched || now.since(due) <= within {
                    expected.push(ScheduleTick { of: of.clone(), due });
                }
            }
            if !watched && matches!(catch_up, CatchUp::Latest { .. }) {
                expected.drain(..expected.len().saturating_sub(1));
            }
            self.expected.extend(expected);
        }
    }

    /// What was due while a line did not run is left out.
    fn begin(&mut self, line: usize) {
        let now = self.it.now.wall;
        if self.next.get(&line).is_none_or(|next| next.is_some_and(|next| next <= now)) {
            let next = self.ids[line].schedule.next_after(now);
            self.next.insert(line, next);
        }
    }

    fn deal(&mut self, events: Vec<Event>) -> Outcome {
        let outcome = self.it.it.handle_batch(events, self.it.now, &mut self.it.entropy);
        self.it.store.commit_now(self.it.epoch, self.it.now.wall, outcome.changes.clone()).unwrap();
        outcome
    }

    fn tick(&mut self) {
        let outcome = self.deal(vec![Event::Tick]);
        self.open.extend(wanted(&outcome));
    }

    /// What the engine does with what is asked of it, its mishaps included.
    fn prepare(&mut self) {
        for tick in std::mem::take(&mut self.open) {
            match self.chance.below(40) {
                0 => {
                    self.count("a preparation fails");
                    self.deal(vec![Event::NotSubmitted { start: start(&tick), message: "away".to_owned() }]);
                }
                1 => {
                    self.count("a submission is repeated");
                    self.submit(&tick);
                    self.submit(&tick);
                }
                _ => self.submit(&tick),
            }
        }
    }

    fn submit(&mut self, tick: &ScheduleTick) {
        let order = self.it.order_of(tick);
        let request = Box::new(Request::Submit(order));
        let outcome = self.deal(vec![Event::Request { reply: ReplyTo(1), request }]);
        let made = outcome.effects.iter().find_map(|effect| match effect {
            data_runner_core::event::Effect::Reply { answer: Answer::Execution(execution), .. } => {
                Some(execution.id)
            }
            _ => None,
        });
        if let Some(execution) = made {
            *self.ran.entry(tick.clone()).or_default() += 1;
            // It ends at once, so that ten years fit into memory.
            let request = Box::new(Request::Cancel { execution, by: "a test".to_owned() });
            self.deal(vec![Event::Request { reply: ReplyTo(2), request }]);
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.struck.entry(what).or_default() += 1;
    }

    fn define(&mut self, chosen: BTreeSet<usize>) {
        self.model(true);
        self.it.lines(lines(&chosen));
        for line in chosen.difference(&self.lines.clone()) {
            self.begin(*line);
        }
        self.lines = chosen;
    }

    fn pause(&mut self) {
        self.model(true);
        self.paused = !self.paused;
        self.it.pause(if self.paused { Pausing::Pause } else { Pausing::Resume });
        for line in self.lines.clone() {
            self.begin(line);
        }
    }

    /// Something goes wrong, or a person does something.
    fn strike(&mut self) {
        let wait = seconds(self.chance.below(3 * 3600));
        // What a person takes away while it is prepared does not run; the stories show that.
        let prepared = self.it.it.schedules().values().all(|progress| progress.claimed.is_empty());
        match self.chance.below(7) {
            4 | 5 if !prepared => {}
            0 => {
                self.count("a short restart");
                self.it.pass(seconds(self.chance.below(50)));
                self.restart();
            }
            1 => {
                self.count("a long absence");
                self.it.pass(wait * 20);
                self.restart();
            }
            2 => {
                self.count("the clock steps back");
                self.it.now.wall = self.it.now.wall.before(wait);
            }
            3 => {
                self.count("the clock steps on");
                self.it.now.wall = self.it.now.wall.after(wait);
                self.model(false);
                self.tick();
            }
            4 => {
                self.count("a push");
                let bits = self.chance.bits();
                self.define((0..LINES.len()).filter(|line| bits >> line & 3 != 0).collect());
            }
            5 => {
                self.count("a pause, or its end");
                self.pause();
            }
            _ => {
                self.count("a crash before what was asked for is done");
                self.open.clear();
                self.restart();
            }
        }
    }

    fn restart(&mut self) {
        self.open.clear();
        self.it.restart();
        self.model(false);
        self.tick();
    }

    fn live(mut self, end: Timestamp) -> Self {
        while self.it.now.wall < end {
            let now = self.it.now;
            let due = self.it.it.next_deadline(now).map(|due| due.at.since(now.mono));
            // What happens between ticks happens now and then, and what happens amid one as well.
            let wait = due.unwrap_or(QUARTER).min(QUARTER);
            let amid = self.chance.below(2) == 0;
            if self.paused && self.chance.below(10) == 0 {
                self.pause();
            } else if self.chance.below(100) == 0 {
                if !amid {
                    self.it.pass(wait.mul_f64(0.5));
                    self.model(true);
                }
                self.strike();
            } else {
                self.it.pass(wait);
                self.model(true);
                self.tick();
                if self.chance.below(200) == 0 {
                    self.count("a crash between claim and submission");
                    self.restart();
                }
            }
            self.prepare();
        }
        self
    }

    fn check(mut self) {
        // What is under way comes to its end.
        for _ in 0..100 {
            self.it.pass(seconds(30));
            self.model(true);
            self.tick();
            for tick in std::mem::take(&mut self.open) {
                self.submit(&tick);
            }
        }
        let doubled: Vec<_> = self.ran.iter().filter(|(_, count)| **count != 1).collect();
        assert!(doubled.is_empty(), "{doubled:?}");
        let ran: BTreeSet<ScheduleTick> = self.ran.keys().cloned().collect();
        let missed: Vec<_> = self.expected.difference(&ran).take(5).collect();
        assert!(missed.is_empty(), "missed: {missed:?}");
        let wrong: Vec<_> = ran.difference(&self.expected).take(5).collect();
        assert!(wrong.is_empty(), "ran although it was too late, or was not due: {wrong:?}");
        assert!(ran.len() > 10_000, "{} ticks", ran.len());
        assert!(self.struck.len() == 10 && self.struck.values().all(|count| *count > 5), "{:?}", self.struck);
    }
}

#[test]
fn in_ten_years_no_tick_is_doubled_and_none_is_missed_beyond_the_policy() {
    Decade::new(1).live(moment("2036-01-01T00:00:00Z")).check();
}
