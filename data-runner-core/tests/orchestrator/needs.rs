//! Workflows that start when those that they need have succeeded.

use std::collections::BTreeMap;

use data_runner_core::event::{
    Answer, Effect, Event, EventKind, Idempotency, Outcome, Pausing, Rejection, Request, Submit, Synced,
};
use data_runner_core::execution::{Ending, Trigger};
use data_runner_core::id::{Epoch, ExecutionId, SessionId, Sha256, WorkerId, WorkflowId};
use data_runner_core::message::{AgentMessage, Hello};
use data_runner_core::port::Made;
use data_runner_core::time::Entropy;
use data_runner_core::worker::{AgentFacts, WorkerState};
use data_runner_core::workflow::config::WorkflowConfig;
use data_runner_core::workflow::{
    Definition, DefinitionState, FolderFound, Need, NeedsStart, ScheduleDates, Start, StartOutcome,
};
use data_runner_testkit::sample;
use jiff::civil::{Date, date};

use crate::scene::{Scene, finished, joined, seconds};
use crate::schedules::configuration;

const HOUR: u64 = 3600;

/// Three workflows of one repository: `report` needs `orders` and `prices`, and `mail` needs `report`.
pub struct Chain {
    pub it: Scene,
    sessions: BTreeMap<WorkerId, SessionId>,
}

fn dates(date: Date) -> ScheduleDates {
    ScheduleDates { date, previous: date.yesterday().unwrap() }
}

const FIRST: Date = date(2026, 8, 1);
const SECOND: Date = date(2026, 8, 2);

/// The starts by needs that are to be prepared.
pub fn starts(outcome: &Outcome) -> Vec<NeedsStart> {
    let starts = outcome.effects.iter().filter_map(|effect| match effect {
        Effect::Prepare(start) => match &**start {
            Start::Needs(start) => Some(start.clone()),
            Start::Tick(_) => None,
        },
        _ => None,
    });
    starts.collect()
}

impl Chain {
    pub fn new() -> Self {
        let mut chain = Self { it: Scene::new(joined()), sessions: BTreeMap::new() };
        chain.push(&[
            ("orders", &[]),
            ("prices", &[]),
            ("report", &[("orders", 24), ("prices", 24)]),
            ("mail", &[("report", 1)]),
        ]);
        chain
    }

    /// A push that gives the repository these workflows, with what they need and for how many hours it counts.
    pub fn push(&mut self, workflows: &[(&str, &[(&str, u64)])]) -> Outcome {
        let revision = format!("{:040x}", self.it.entropy.bits()).parse().unwrap();
        let folder = |(name, needs): &(&str, &[(&str, u64)])| {
            let need = |(name, hours): &(&str, u64)| Need {
                workflow: name.parse().unwrap(),
                within: seconds(hours * HOUR),
            };
            let config =
                WorkflowConfig { needs: needs.iter().map(need).collect(), ..configuration(Vec::new()) };
            let definition = Definition { revision: sample::revision(1), config, warnings: Vec::new() };
            let definition = DefinitionState::Valid(definition);
            FolderFound { name: name.parse().unwrap(), path: format!("workflows/{name}"), definition }
        };
        let folders = workflows.iter().map(folder).collect();
        self.it.send(Event::Synced {
            repo: "samples".parse().unwrap(),
            result: Ok(Synced { revision, folders }),
        })
    }

    pub fn id(&self, name: &str) -> WorkflowId {
        self.it.it.workflows().values().find(|workflow| workflow.name.as_str() == name).unwrap().id
    }

    pub fn order(&self, name: &str, dates: Option<ScheduleDates>) -> Submit {
        let mut job = sample::job();
        job.workflow.name = name.parse().unwrap();
        Submit { workflow: self.id(name), job: job.into(), dates, ..self.it.order() }
    }

    /// A run of `name` that ends like this; what it makes others prepare.
    fn run(&mut self, name: &str, dates: Option<ScheduleDates>, code: u8) -> (ExecutionId, Vec<NeedsStart>) {
        let order = self.order(name, dates);
        let id = self.it.submit_as(order);
        (id, self.end(id, code))
    }

    /// A worker that has room is there.
    fn staff(&mut self) {
        let there = |worker: &WorkerState| match worker {
            WorkerState::Idle { .. } | WorkerState::Busy { .. } => true,
            WorkerState::Planning { .. }
            | WorkerState::Launching { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Terminating { .. }
            | WorkerState::Terminated { .. } => false,
        };
        if !self.it.it.workers().any(|worker| there(&worker.state)) {
            self.connect(sample::worker_id(900 + self.sessions.len() as u64));
        }
    }

    fn connect(&mut self, worker: WorkerId) {
        let session = SessionId::generate(self.it.now.wall, &mut self.it.entropy);
        self.sessions.insert(worker, session);
        self.it.send(Event::SessionOpened { worker, session });
        let facts = AgentFacts { slots: 64, ..sample::agent_facts() };
        let hello = Hello { incarnation: 1, epoch: Epoch(0), facts, attempts: Vec::new() };
        self.it.says(worker, session, AgentMessage::Hello(hello));
    }

    pub fn end(&mut self, id: ExecutionId, code: u8) -> Vec<NeedsStart> {
        self.staff();
        let claim = self.it.claim(id);
        let worker = self.it.execution(id).state.live().unwrap().worker;
        let session = self.sessions[&worker];
        self.it.starts(worker, session, claim);
        self.it.reports(worker, session, claim, finished(Ending::Exited { code }, 0));
        self.tick(0)
    }

    pub fn succeed(&mut self, name: &str, date: Option<Date>) -> Vec<NeedsStart> {
        self.run(name, date.map(dates), 0).1
    }

    fn tick(&mut self, wait: u64) -> Vec<NeedsStart> {
        starts(&self.it.tick_after(seconds(wait)))
    }

    fn order_of(&self, start: &NeedsStart) -> Submit {
        let key = start.key();
        let known = self.it.store.idempotent_now(&key);
        let name = self.it.it.workflows()[&start.workflow].name.clone();
        Submit {
            trigger: Trigger::Needs { by: start.by.clone() },
            idempotency: Some(Idempotency { body: Sha256::of(key.as_bytes()), key, known }),
            ..self.order(name.as_str(), start.dates)
        }
    }

    pub fn submit(&mut self, start: &NeedsStart) -> Answer {
        let order = self.order_of(start);
        self.it.request(Request::Submit(order)).0.unwrap()
    }

    fn made(&mut self, start: &NeedsStart) -> ExecutionId {
        match self.submit(start) {
            Answer::Execution(execution) => execution.id,
            other => panic!("not submitted: {other:?}"),
        }
    }
}

fn settled(start: &NeedsStart) -> Answer {
    Answer::Rejected(Rejection::StartSettled(Box::new(Start::Needs(start.clone()))))
}

#[test]
fn a_workflow_starts_once_when_all_that_it_needs_has_succeeded_and_says_by_what() {
    let mut chain = Chain::new();
    let (orders, none) = chain.run("orders", None, 0);
    assert!(none.is_empty(), "prices are missing");
    let (prices, started) = chain.run("prices", None, 0);
    assert_eq!(started.len(), 1);
    let by: Vec<ExecutionId> = started[0].by.iter().map(|by| by.execution).collect();
    assert_eq!((started[0].workflow, by), (chain.id("report"), vec![orders, prices]));
    let report = chain.made(&started[0]);
    assert_eq!(chain.it.execution(report).trigger, Trigger::Needs { by: started[0].by.clone() });
    assert_eq!(
        chain.submit(&started[0]),
        Answer::Existing(Made::Execution(report)),
        "however often it is submitted"
    );
    assert!(chain.tick(5000).is_empty());
    let outcome = chain.it.it.needs()[&chain.id("report")].last.clone().unwrap().outcome;
    assert_eq!(outcome, StartOutcome::Submitted { execution: report });
    let mail = chain.end(report, 0);
    assert_eq!(mail.len(), 1, "and so on along the chain");
    assert_eq!(mail[0].workflow, chain.id("mail"));
}

#[test]
fn a_failure_starts_nothing() {
    let mut chain = Chain::new();
    chain.succeed("orders", None);
    assert!(chain.run("prices", None, 1).1.is_empty());
    assert_eq!(chain.succeed("prices", None).len(), 1, "until it succeeds");
}

#[test]
fn each_success_is_used_once() {
    let mut chain = Chain::new();
    chain.succeed("orders", None);
    let first = chain.succeed("prices", None);
    chain.made(&first[0]);
    assert!(chain.succeed("orders", None).is_empty(), "the prices were used");
    let (newest, none) = chain.run("orders", None, 0);
    assert!(none.is_empty());
    let second = chain.succeed("prices", None);
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].by[0].execution, newest, "of two the newest counts");
}

#[test]
fn a_success_counts_for_as_long_as_is_said() {
    let mut chain = Chain::new();
    chain.succeed("orders", None);
    chain.tick(24 * HOUR + 10);
    assert!(chain.succeed("prices", None).is_empty());
    chain.tick(23 * HOUR);
    assert_eq!(chain.succeed("orders", None).len(), 1);
}

#[test]
fn successes_go_together_by_the_date_of_their_schedule_and_hand_it_on() {
    let mut chain = Chain::new();
    assert!(chain.succeed("orders", Some(FIRST)).is_empty());
    assert!(chain.succeed("prices", Some(SECOND)).is_empty(), "another day");
    assert!(chain.succeed("prices", None).is_empty(), "no day at all");
    let second = chain.succeed("orders", Some(SECOND));
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].dates, Some(dates(SECOND)));
    let report = chain.made(&second[0]);
    assert_eq!(chain.it.execution(report).dates, Some(dates(SECOND)));
    let first = chain.succeed("prices", Some(FIRST));
    assert_eq!(first.iter().map(|start| start.dates).collect::<Vec<_>>(), [Some(dates(FIRST))]);
    assert_eq!(chain.succeed("orders", None).len(), 1, "runs without a date go together as well");
}

#[test]
fn a_start_that_is_claimed_is_prepared_again_after_a_crash_i14() {
    let mut chain = Chain::new();
    chain.succeed("orders", Some(FIRST));
    let before = chain.succeed("prices", Some(FIRST));
    chain.it.restart();
    let after = chain.tick(0);
    assert_eq!(before, after);
    let report = chain.made(&after[0]);
    chain.it.restart();
    assert!(chain.tick(0).is_empty());
    assert_eq!(chain.submit(&before[0]), Answer::Existing(Made::Execution(report)));
}

#[test]
fn a_pause_takes_back_what_is_claimed_and_what_succeeds_meanwhile_starts_nothing_later() {
    let mut chain = Chain::new();
    chain.succeed("orders", None);
    let started = chain.succeed("prices", None);
    let workflow = chain.id("report");
    let pause = |chain: &mut Chain, wanted| chain.it.request(Request::Pause { workflow, wanted });
    pause(&mut chain, Pausing::Pause);
    assert_eq!(chain.submit(&started[0]), settled(&started[0]));
    let told = chain.it.told(EventKind::NeedsMissed);
    assert!(told.len() == 1 && told[0].contains("samples/report") && told[0].contains("paused"), "{told:?}");
    assert!(chain.succeed("orders", None).is_empty());
    pause(&mut chain, Pausing::Resume);
    assert!(chain.succeed("prices", None).is_empty(), "the orders came in the pause");
    assert_eq!(chain.succeed("orders", None).len(), 1);
}

#[test]
fn a_push_that_takes_a_need_away_takes_back_what_was_claimed_by_it() {
    let mut chain = Chain::new();
    chain.succeed("orders", None);
    let started = chain.succeed("prices", None);
    chain.push(&[("orders", &[]), ("prices", &[]), ("report", &[("orders", 24)])]);
    assert_eq!(chain.submit(&started[0]), settled(&started[0]));
    assert_eq!(chain.succeed("orders", None).len(), 1, "it goes by what it says now");
    chain.push(&[("orders", &[]), ("prices", &[]), ("report", &[])]);
    assert!(chain.succeed("orders", None).is_empty());
}

#[test]
fn a_workflow_that_goes_away_starts_nothing_and_comes_back_with_its_folder() {
    let mut chain = Chain::new();
    chain.push(&[("orders", &[]), ("prices", &[])]);
    chain.succeed("orders", None);
    assert!(chain.succeed("prices", None).is_empty());
    chain.push(&[("orders", &[]), ("prices", &[]), ("report", &[("orders", 24), ("prices", 24)])]);
    chain.succeed("orders", None);
    assert_eq!(chain.succeed("prices", None).len(), 1);
}

#[test]
fn a_preparation_that_fails_is_tried_again_and_given_up_loudly() {
    let mut chain = Chain::new();
    chain.succeed("orders", None);
    let start = chain.succeed("prices", None).remove(0);
    for _ in 0..30 {
        let failed = Box::new(Start::Needs(start.clone()));
        chain.it.send(Event::NotSubmitted { start: failed, message: "no `path`".to_owned() });
        chain.tick(120);
    }
    let told = chain.it.told(EventKind::NeedsFailed);
    assert!(told.len() == 2 && told[1].contains("given up") && told[1].contains("no `path`"), "{told:?}");
    assert_eq!(chain.submit(&start), settled(&start));
}

#[test]
fn workflows_that_need_each_other_do_not_run_for_ever() {
    // Within a repository a circle is refused; over two it can come about.
    let mut chain = Chain::new();
    chain.push(&[("orders", &[("report", 24)]), ("report", &[("orders", 24)])]);
    assert!(chain.succeed("orders", None).is_empty());
    assert!(chain.it.told(EventKind::NeedsFailed)[0].contains("lead back to itself"));
}

/// Many days under restarts, failures and repetitions by hand, beside a model that knows what must come of it.
#[test]
fn in_a_thousand_days_each_complete_day_makes_one_report_i10() {
    let mut chain = Chain::new();
    let mut chance = Entropy::from_number(7);
    let mut reports: BTreeMap<Date, u32> = BTreeMap::new();
    let mut expected: BTreeMap<Date, u32> = BTreeMap::new();
    let mut open: Vec<NeedsStart> = Vec::new();
    let mut day = FIRST;
    for _ in 0..1000 {
        let mut good = 0;
        let names = if chance.below(2) == 0 { ["orders", "prices"] } else { ["prices", "orders"] };
        for name in names {
            // A failed run is sometimes repeated by a person, for the same date.
            let code = u8::from(chance.below(4) == 0);
            let mut starts = chain.run(name, Some(dates(day)), code).1;
            let mended = code == 1 && chance.below(2) == 0;
            if mended {
                starts.extend(chain.run(name, Some(dates(day)), 0).1);
            }
            good += u32::from(code == 0 || mended);
            open.extend(starts);
            if chance.below(10) == 0 {
                chain.it.restart();
                let workers: Vec<WorkerId> = chain.it.it.workers().map(|worker| worker.id).collect();
                workers.into_iter().for_each(|worker| chain.connect(worker));
                open.extend(chain.tick(0));
            }
        }
        if good == 2 {
            expected.insert(day, 1);
        }
        for start in std::mem::take(&mut open) {
            match chain.submit(&start) {
                Answer::Execution(made) => {
                    *reports.entry(start.dates.unwrap().date).or_default() += 1;
                    chain.end(made.id, 1);
                }
                Answer::Existing(_) => {}
                other => panic!("{other:?}"),
            }
        }
        chain.tick(12 * HOUR);
        day = day.tomorrow().unwrap();
    }
    assert!(expected.len() > 400, "{}", expected.len());
    assert_eq!(reports, expected);
}
