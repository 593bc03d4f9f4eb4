//! Workflows that run by themselves.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use data_runner_core::event::{
    Answer, Effect, Event, EventKind, Idempotency, Outcome, Pausing, Rejection, Request, ShutDown, Submit,
    Synced,
};
use data_runner_core::execution::{Concurrency, OnConflict, Queueing, StateName, Trigger};
use data_runner_core::id::{ExecutionId, Sha256, WorkerType};
use data_runner_core::port::{EventQuery, Made};
use data_runner_core::time::Timestamp;
use data_runner_core::workflow::config::{self, ParseContext, WorkflowConfig};
use data_runner_core::workflow::{
    CatchUp, Definition, DefinitionState, FolderFound, Schedule, ScheduleLine, ScheduleTick, Start,
    StartOutcome, WorkerTypes,
};
use data_runner_testkit::sample;

use crate::scene::{Scene, joined, seconds};

pub fn moment(text: &str) -> Timestamp {
    Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

pub fn plain(schedules: &[(&str, &str)]) -> Vec<ScheduleLine> {
    let plain = |(cron, zone): &(&str, &str)| ScheduleLine::plain(Schedule::new(cron, zone).unwrap());
    schedules.iter().map(plain).collect()
}

pub fn configuration(schedule: Vec<ScheduleLine>) -> WorkflowConfig {
    let context = ParseContext { worker_types: &WorkerTypes::default(), files: None };
    let text = b"worker_type: polars\ninstance_size: t3.medium\n";
    let config = config::parse("config.yaml", text, &context).value().unwrap().clone();
    assert_eq!(config.worker_type, WorkerType::try_from("polars".to_owned()).unwrap());
    WorkflowConfig { schedule, ..config }
}

/// The ticks that are to be run.
pub fn wanted(outcome: &Outcome) -> Vec<ScheduleTick> {
    let wanted = outcome.effects.iter().filter_map(|effect| match effect {
        Effect::Prepare(start) => match &**start {
            Start::Tick(tick) => Some(tick.clone()),
            Start::Needs(_) => None,
        },
        _ => None,
    });
    wanted.collect()
}

impl Scene {
    /// A push that gives the workflow these schedules.
    pub fn schedules(&mut self, schedules: &[(&str, &str)]) -> Outcome {
        self.lines(plain(schedules))
    }

    pub fn lines(&mut self, lines: Vec<ScheduleLine>) -> Outcome {
        let config = configuration(lines);
        self.push(|revision| DefinitionState::Valid(Definition { revision, config, warnings: Vec::new() }))
    }

    pub fn push(
        &mut self,
        definition: impl FnOnce(data_runner_core::id::Revision) -> DefinitionState,
    ) -> Outcome {
        let text = format!("{:040x}", self.entropy.bits());
        let revision: data_runner_core::id::Revision = text.parse().unwrap();
        let folder = FolderFound {
            name: "orders".parse().unwrap(),
            path: "workflows/orders".to_owned(),
            definition: definition(revision.clone()),
        };
        let result = Ok(Synced { revision, folders: vec![folder] });
        self.send(Event::Synced { repo: "samples".parse().unwrap(), result })
    }

    /// A stage at that time of the wall clock, whose workflow has these schedules.
    fn scheduled(start: &str, schedules: &[(&str, &str)]) -> Self {
        Self::scheduled_by(start, plain(schedules))
    }

    fn scheduled_by(start: &str, lines: Vec<ScheduleLine>) -> Self {
        let mut it = Self::new(joined());
        it.now.wall = moment(start);
        it.lines(lines);
        it
    }

    /// Time passes up to this moment without a jump: the loop wakes whenever it wants to.
    fn live_until(&mut self, end: &str) -> Vec<ScheduleTick> {
        let end = moment(end);
        let mut ticks = BTreeSet::new();
        while let Some(due) = self.it.next_deadline(self.now).filter(|due| due.at <= self.now.mono_at(end)) {
            let wait = due.at.since(self.now.mono);
            ticks.extend(wanted(&self.tick_after(wait)));
        }
        self.pass(end.since(self.now.wall));
        // What is not answered is asked for again and again.
        let mut ticks: Vec<ScheduleTick> = ticks.into_iter().collect();
        ticks.sort_by_key(|tick| tick.due);
        ticks
    }

    /// The same time, but nobody is there: killed before, started after it.
    fn away_until(&mut self, end: &str) -> Vec<ScheduleTick> {
        self.pass(moment(end).since(self.now.wall));
        self.restart();
        wanted(&self.send(Event::Tick))
    }

    pub fn order_of(&self, tick: &ScheduleTick) -> Submit {
        let known = self.store.idempotent_now(&tick.key());
        let body = Sha256::of(tick.key().as_bytes());
        Submit {
            trigger: Trigger::Schedule { schedule: tick.of.schedule.clone(), due: tick.due },
            idempotency: Some(Idempotency { key: tick.key(), body, known }),
            ..self.order()
        }
    }

    fn submit_tick(&mut self, tick: &ScheduleTick) -> Answer {
        let order = self.order_of(tick);
        self.request(Request::Submit(order)).0.unwrap()
    }

    fn run_tick(&mut self, tick: &ScheduleTick) -> ExecutionId {
        match self.submit_tick(tick) {
            Answer::Execution(execution) => execution.id,
            other => panic!("not submitted: {other:?}"),
        }
    }

    pub fn told(&self, kind: EventKind) -> Vec<String> {
        let all = self.store.events_now(EventQuery { limit: 10_000, ..EventQuery::default() });
        all.into_iter().filter(|event| event.record.kind == kind).map(|event| event.record.message).collect()
    }

    fn last(&self) -> StartOutcome {
        self.it.schedules().values().find_map(|progress| progress.last.clone()).unwrap().outcome
    }
}

const DAILY: (&str, &str) = ("0 6 * * *", "Europe/Madrid");

pub fn start(tick: &ScheduleTick) -> Box<Start> {
    Box::new(Start::Tick(tick.clone()))
}

fn settled(tick: &ScheduleTick) -> Answer {
    Answer::Rejected(Rejection::StartSettled(start(tick)))
}

/// When ticks were due, to the minute.
fn dues(ticks: &[ScheduleTick]) -> Vec<String> {
    ticks.iter().map(|tick| tick.due.to_string()[..16].to_owned()).collect()
}

#[test]
fn a_tick_makes_one_execution_at_its_time_and_that_says_which_tick_it_was() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    let ticks = it.live_until("2026-08-02T00:00:00Z");
    assert_eq!(dues(&ticks), ["2026-08-01T04:00"]);
    let id = it.run_tick(&ticks[0]);
    let execution = it.execution(id);
    let schedule = Schedule::new(DAILY.0, DAILY.1).unwrap();
    assert_eq!(execution.trigger, Trigger::Schedule { schedule, due: ticks[0].due });
    assert_eq!(it.last(), StartOutcome::Submitted { execution: id });
    assert_eq!(dues(&it.live_until("2026-08-03T00:00:00Z")), ["2026-08-02T04:00"]);
    assert!(it.told(EventKind::ScheduleMissed).is_empty());
}

#[test]
fn a_claimed_tick_is_prepared_again_after_a_crash_and_makes_one_execution_however_often_it_is_submitted() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    let first = it.live_until("2026-08-01T04:00:00Z");
    let again = it.away_until("2026-08-01T09:00:00Z");
    assert_eq!(first, again, "it was promised, so it is late rather than left out");
    let id = it.run_tick(&again[0]);
    assert_eq!(it.submit_tick(&first[0]), Answer::Existing(Made::Execution(id)));
    it.cancel(id);
    assert_eq!(it.submit_tick(&first[0]), Answer::Existing(Made::Execution(id)), "also when it has ended");
    assert!(it.away_until("2026-08-01T10:00:00Z").is_empty());
}

#[test]
fn two_submissions_of_a_tick_in_one_batch_make_one_execution() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    let tick = it.live_until("2026-08-01T04:00:00Z").remove(0);
    let order = it.order_of(&tick);
    let request = |n| Event::Request {
        reply: data_runner_core::event::ReplyTo(n),
        request: Box::new(Request::Submit(order.clone())),
    };
    it.batch(vec![request(1001), request(1002)]);
    assert_eq!(it.it.executions().len(), 1);
}

#[test]
fn a_tick_that_was_missed_by_more_than_a_minute_is_left_out_and_said() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    assert!(it.away_until("2026-08-01T04:01:01Z").is_empty());
    let told = it.told(EventKind::ScheduleMissed);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("samples/orders") && told[0].contains("2026-08-01T04:00"), "{told:?}");
    assert!(matches!(it.last(), StartOutcome::Missed { .. }));
    assert!(it.away_until("2026-08-01T05:00:00Z").is_empty());
    assert_eq!(it.told(EventKind::ScheduleMissed).len(), 1, "it is said once");
    assert_eq!(dues(&it.live_until("2026-08-02T05:00:00Z")), ["2026-08-02T04:00"]);
}

/// Six o'clock in Madrid, caught up with.
fn daily(catch_up: CatchUp) -> Vec<ScheduleLine> {
    vec![ScheduleLine { catch_up, ..plain(&[DAILY]).remove(0) }]
}

const TWO_DAYS: Duration = Duration::from_secs(2 * 24 * 3600);

#[test]
fn all_that_was_missed_within_the_window_is_made_up_for_each_with_its_own_date() {
    let mut it = Scene::scheduled_by("2026-08-01T00:00:00Z", daily(CatchUp::All { window: TWO_DAYS }));
    let ticks = it.away_until("2026-08-05T12:00:00Z");
    assert_eq!(dues(&ticks), ["2026-08-04T04:00", "2026-08-05T04:00"]);
    let told = it.told(EventKind::ScheduleMissed);
    assert!(told.len() == 1 && told[0].contains("3 ticks from 2026-08-01T04:00"), "{told:?}");
    for tick in &ticks {
        it.run_tick(tick);
    }
    assert!(it.away_until("2026-08-05T13:00:00Z").is_empty(), "they are made up for once");
    assert_eq!(dues(&it.live_until("2026-08-06T05:00:00Z")), ["2026-08-06T04:00"]);
}

#[test]
fn of_all_that_was_missed_only_the_newest_is_made_up_for_if_that_is_wanted() {
    let mut it = Scene::scheduled_by("2026-08-01T00:00:00Z", daily(CatchUp::Latest { window: TWO_DAYS }));
    assert_eq!(dues(&it.away_until("2026-08-05T12:00:00Z")), ["2026-08-05T04:00"]);
    let told = it.told(EventKind::ScheduleMissed);
    assert!(told.iter().any(|it| it.contains("a newer one was due by then")), "{told:?}");
    let mut it = Scene::scheduled_by("2026-08-01T00:00:00Z", daily(CatchUp::Latest { window: TWO_DAYS }));
    assert_eq!(dues(&it.away_until("2026-08-03T04:00:30Z")), ["2026-08-03T04:00"], "the one that is due now");
}

#[test]
fn what_is_older_than_the_window_is_left_out() {
    for catch_up in [CatchUp::Latest { window: seconds(3600) }, CatchUp::All { window: seconds(3600) }] {
        let mut it = Scene::scheduled_by("2026-08-01T00:00:00Z", daily(catch_up));
        assert!(it.away_until("2026-08-01T05:30:00Z").is_empty());
        assert_eq!(it.told(EventKind::ScheduleMissed).len(), 1);
    }
}

#[test]
fn a_flood_of_missed_ticks_is_bounded_to_the_newest_thousand() {
    let window = 30 * TWO_DAYS / 2;
    let line = ScheduleLine { catch_up: CatchUp::All { window }, ..plain(&[("* * * * *", "UTC")]).remove(0) };
    let mut it = Scene::scheduled_by("2026-08-01T00:00:00Z", vec![line]);
    let ticks = it.away_until("2026-08-04T00:00:00Z");
    assert_eq!((ticks.len(), dues(&ticks[999..]).remove(0).as_str()), (1000, "2026-08-04T00:00"));
    assert!(it.told(EventKind::ScheduleMissed)[0].contains("too many were missed at once"));
}

#[test]
fn what_was_due_while_it_was_paused_is_left_out_whatever_is_caught_up_with() {
    let mut it = Scene::scheduled_by("2026-08-01T00:00:00Z", daily(CatchUp::All { window: TWO_DAYS }));
    it.pause(Pausing::Pause);
    assert!(it.live_until("2026-08-02T12:00:00Z").is_empty());
    it.pause(Pausing::Resume);
    assert_eq!(dues(&it.live_until("2026-08-03T05:00:00Z")), ["2026-08-03T04:00"]);
    assert!(it.told(EventKind::ScheduleMissed)[0].contains("2 ticks"));
}

#[test]
fn a_tick_with_jitter_begins_later_keeps_its_own_time_and_is_not_late_for_that() {
    let jitter = seconds(600);
    let line = ScheduleLine { jitter, ..plain(&[DAILY]).remove(0) };
    let mut it = Scene::scheduled_by("2026-08-01T00:00:00Z", vec![line.clone()]);
    let due = moment("2026-08-01T04:00:00Z");
    let begins = line.begins_at(it.workflow(), due);
    assert!(begins > due && begins <= due.after(jitter), "{begins}");
    assert!(it.live_until(&begins.before(seconds(1)).to_string()).is_empty());
    let ticks = it.live_until(&begins.to_string());
    assert_eq!(dues(&ticks), ["2026-08-01T04:00"]);
    it.run_tick(&ticks[0]);
    // A supervisor that comes back within a minute of the beginning still runs it.
    let tomorrow = line.begins_at(it.workflow(), moment("2026-08-02T04:00:00Z"));
    let back = tomorrow.after(seconds(30)).to_string();
    assert_eq!(dues(&it.away_until(&back)), ["2026-08-02T04:00"]);
}

#[test]
fn a_push_that_changes_only_how_it_catches_up_is_the_same_schedule() {
    let mut it = Scene::scheduled_by("2026-08-01T00:00:00Z", daily(CatchUp::None));
    let tick = it.live_until("2026-08-01T04:00:00Z").remove(0);
    let id = it.run_tick(&tick);
    let window = TWO_DAYS;
    it.lines(vec![ScheduleLine { jitter: seconds(60), ..daily(CatchUp::All { window }).remove(0) }]);
    assert_eq!(it.submit_tick(&tick), Answer::Existing(Made::Execution(id)), "it is not run again");
    assert_eq!(dues(&it.away_until("2026-08-02T12:00:00Z")), ["2026-08-02T04:00"], "the new policy holds");
}

#[test]
fn a_tick_that_is_up_to_a_minute_late_runs() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    assert_eq!(dues(&it.away_until("2026-08-01T04:01:00Z")), ["2026-08-01T04:00"]);
    assert!(it.told(EventKind::ScheduleMissed).is_empty());
}

#[test]
fn an_absence_of_years_is_one_event_and_costs_no_years() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[("* * * * *", "UTC")]);
    let ticks = it.away_until("2029-08-01T00:00:30Z");
    assert_eq!(dues(&ticks), ["2029-08-01T00:00"]);
    let told = it.told(EventKind::ScheduleMissed);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("1000 ticks and more"), "{told:?}");
}

#[test]
fn a_clock_that_steps_back_repeats_no_tick() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[("0 * * * *", "UTC")]);
    let ticks = it.live_until("2026-08-01T02:30:00Z");
    assert_eq!(ticks.len(), 2);
    for tick in &ticks {
        it.run_tick(tick);
    }
    it.now.wall = moment("2026-08-01T00:30:00Z");
    assert_eq!(dues(&it.live_until("2026-08-01T03:30:00Z")), ["2026-08-01T03:00"]);
    it.now.wall = moment("2026-08-01T01:30:00Z");
    assert!(
        it.away_until("2026-08-01T02:00:00Z").iter().all(|tick| !ticks.contains(tick)),
        "also after a restart"
    );
}

#[test]
fn a_clock_that_was_years_ahead_does_not_silence_a_schedule_and_repeats_no_tick() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    let tick = it.live_until("2026-08-01T04:00:00Z").remove(0);
    let id = it.run_tick(&tick);
    it.now.wall = moment("2036-08-01T00:00:00Z");
    it.send(Event::Tick);
    it.now.wall = moment("2026-08-01T03:59:00Z");
    let ticks = it.live_until("2026-08-03T00:00:00Z");
    assert_eq!(dues(&ticks), ["2026-08-01T04:00", "2026-08-02T04:00"]);
    assert_eq!(it.submit_tick(&ticks[0]), Answer::Existing(Made::Execution(id)));
    it.run_tick(&ticks[1]);
    assert_eq!(it.it.executions().len(), 2);
    assert!(it.it.schedules().values().all(|progress| progress.claimed.is_empty()));
}

#[test]
fn a_paused_workflow_has_no_ticks_and_says_what_was_left_out_when_it_goes_on() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    it.pause(Pausing::Pause);
    assert!(it.live_until("2026-08-03T05:00:00Z").is_empty());
    it.pause(Pausing::Resume);
    let told = it.told(EventKind::ScheduleMissed);
    assert!(told.len() == 1 && told[0].contains("3 ticks") && told[0].contains("paused"), "{told:?}");
    assert_eq!(dues(&it.live_until("2026-08-04T05:00:00Z")), ["2026-08-04T04:00"]);
}

#[test]
fn a_pause_takes_back_what_is_claimed_and_has_no_execution_yet() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    let tick = it.live_until("2026-08-01T04:00:00Z").remove(0);
    it.pause(Pausing::Pause);
    assert_eq!(it.submit_tick(&tick), settled(&tick));
    it.pause(Pausing::Resume);
    assert_eq!(it.submit_tick(&tick), settled(&tick));
    assert!(it.it.executions().len() == 0);
    assert_eq!(it.told(EventKind::ScheduleMissed).len(), 1);
}

#[test]
fn a_line_that_goes_and_comes_back_within_its_minute_does_not_run_twice() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    let tick = it.live_until("2026-08-01T04:00:00Z").remove(0);
    it.run_tick(&tick);
    it.pass(seconds(10));
    it.schedules(&[("0 7 * * *", "Europe/Madrid")]);
    it.pass(seconds(10));
    it.schedules(&[DAILY, ("0 7 * * *", "Europe/Madrid")]);
    let ticks = it.live_until("2026-08-02T04:30:00Z");
    assert_eq!(dues(&ticks), ["2026-08-01T05:00", "2026-08-02T04:00"]);
    assert!(it.told(EventKind::ScheduleMissed).is_empty(), "an author's change is no miss");
}

#[test]
fn a_broken_push_stops_the_schedule_until_it_is_mended() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    it.push(|revision| DefinitionState::Broken { revision, problems: Vec::new() });
    assert!(it.live_until("2026-08-01T12:00:00Z").is_empty());
    it.schedules(&[DAILY]);
    let told = it.told(EventKind::ScheduleMissed);
    assert!(told.len() == 1 && told[0].contains("broken"), "{told:?}");
    assert_eq!(dues(&it.live_until("2026-08-02T12:00:00Z")), ["2026-08-02T04:00"]);
}

#[test]
fn a_deleted_workflow_has_no_ticks() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    let workflow = it.workflow();
    it.request(Request::DeleteWorkflow { workflow });
    assert!(it.live_until("2026-08-05T00:00:00Z").is_empty());
}

#[test]
fn a_preparation_that_fails_is_said_once_tried_again_and_given_up_loudly() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    let tick = it.live_until("2026-08-01T04:00:00Z").remove(0);
    let mut tries = 1;
    loop {
        it.send(Event::NotSubmitted { start: start(&tick), message: "the repository is away".to_owned() });
        let due = it.it.next_deadline(it.now).unwrap();
        let again = wanted(&it.tick_after(due.at.since(it.now.mono)));
        if again.is_empty() || again[0] != tick {
            break;
        }
        tries += 1;
    }
    let told = it.told(EventKind::ScheduleFailed);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("given up") && told[1].contains("the repository is away"), "{told:?}");
    assert!((8..20).contains(&tries), "{tries}");
    assert!(matches!(it.last(), StartOutcome::GivenUp { .. }));
    assert_eq!(it.submit_tick(&tick), settled(&tick));
}

#[test]
fn a_preparation_that_succeeds_later_makes_the_execution() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    let tick = it.live_until("2026-08-01T04:00:00Z").remove(0);
    it.send(Event::NotSubmitted { start: start(&tick), message: "away".to_owned() });
    assert_eq!(wanted(&it.tick_after(seconds(5))), std::slice::from_ref(&tick));
    let id = it.run_tick(&tick);
    assert_eq!(it.state(id), StateName::Queued);
    // What comes too late changes nothing.
    it.send(Event::NotSubmitted { start: start(&tick), message: "away".to_owned() });
    assert!(wanted(&it.tick_after(seconds(1000))).is_empty());
}

#[test]
fn nothing_is_claimed_while_the_supervisor_ends_and_it_need_not_wake_for_it() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[DAILY]);
    let worker = sample::worker_id(1);
    it.join(worker);
    it.shut_down(ShutDown::Drain);
    it.now.wall = moment("2026-08-01T04:00:00Z");
    assert!(wanted(&it.send(Event::Tick)).is_empty());
    assert!(it.it.next_deadline(it.now).is_none_or(|due| due.at > it.now.mono));
    assert_eq!(dues(&it.away_until("2026-08-01T04:00:20Z")), ["2026-08-01T04:00"], "the next one is in time");
}

#[test]
fn a_tick_is_skipped_while_the_one_before_runs_and_an_event_says_so() {
    let mut it = Scene::scheduled("2026-08-01T00:00:00Z", &[("0 * * * *", "UTC")]);
    let ticks = it.live_until("2026-08-01T02:30:00Z");
    let only_one = |order: Submit| {
        let on_conflict = OnConflict::Skip;
        let concurrency = Some(Concurrency { limit: NonZeroU32::MIN, key: String::new(), on_conflict });
        Submit { queueing: Queueing { concurrency, ..Queueing::default() }, ..order }
    };
    let order = only_one(it.order_of(&ticks[0]));
    let first = it.submit_as(order);
    let order = only_one(it.order_of(&ticks[1]));
    let (answer, _) = it.request(Request::Submit(order.clone()));
    assert!(matches!(answer, Some(Answer::Rejected(Rejection::Skipped { .. }))), "{answer:?}");
    let why = format!("at most 1 may run at one time, and there is {first}");
    assert_eq!(it.last(), StartOutcome::Skipped { reason: why.clone() });
    let told = it.told(EventKind::StartSkipped);
    assert_eq!(told.len(), 1);
    assert!(told[0].ends_with(&why), "{told:?}");
    it.cancel(first);
    let again = it.request(Request::Submit(order)).0;
    assert!(matches!(again, Some(Answer::Rejected(Rejection::StartSettled(_)))), "it has had its turn");
    assert_eq!(it.it.executions().len(), 0);
}
