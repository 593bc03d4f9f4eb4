//! What executions and workflows may cost.

use std::time::Duration;

use data_runner_core::cost::{Budget, MachinePrice, Money, OnExceed, RunBudget};
use data_runner_core::event::{Event, EventKind, Submit};
use data_runner_core::execution::{
    Ending, ExecutionState, FailureCause, StateName, StopReason, WaitingReason,
};
use data_runner_core::id::{Claim, ExecutionId, SessionId, WorkerId};
use data_runner_core::port::{EventQuery, LaunchAnswer};
use data_runner_core::worker::Candidate;
use data_runner_core::workflow::{Notification, NotifyOn};

use crate::scene::{Scene, candidate, ec2, finished, machine_id, seconds, terminated};

/// A dollar an hour, so 60 minutes a dollar.
const DOLLAR: MachinePrice = MachinePrice { instance: 1_000_000, volume: 0, address: 0 };
const HOUR: u64 = 3600;

const fn dollars(cents: u64) -> Money {
    Money(cents * 10_000)
}

fn per_run(cents: u64, on_exceed: OnExceed) -> RunBudget {
    let budget = Budget { per_run: Some(dollars(cents)), per_month: None, on_exceed };
    RunBudget { budget, usual: None }
}

/// So much a month, for runs that usually take an hour.
fn per_month(cents: u64, on_exceed: OnExceed) -> RunBudget {
    let budget = Budget { per_run: None, per_month: Some(dollars(cents)), on_exceed };
    RunBudget { budget, usual: Some(seconds(HOUR)) }
}

fn priced(label: &str, times: u64) -> Candidate {
    let price = MachinePrice { instance: DOLLAR.instance * times, ..DOLLAR };
    Candidate { price: Some(price), ..candidate(label) }
}

impl Scene {
    fn with_budget(&self, budget: RunBudget) -> Submit {
        let webhook = "https://hooks.example.com/x".parse().unwrap();
        let notifications =
            vec![Notification { on: vec![NotifyOn::OverBudget], webhook, format: Default::default() }];
        Submit { budget: Some(budget), notifications, ..self.order() }
    }

    fn submit_with_budget(&mut self, budget: RunBudget) -> ExecutionId {
        let order = self.with_budget(budget);
        self.submit_as(order)
    }

    fn wanted_for(&self, id: ExecutionId) -> WorkerId {
        match self.execution(id).state {
            ExecutionState::Provisioning { worker, .. } => worker,
            other => panic!("no machine is wanted for it: {other:?}"),
        }
    }

    fn is_offered(&mut self, worker: WorkerId, candidates: Vec<Candidate>) {
        self.send(Event::Planned { worker, result: Ok(candidates) });
    }

    /// The machine that is wanted for it costs a dollar an hour, and is launched.
    fn is_launched(&mut self, id: ExecutionId) -> WorkerId {
        let worker = self.wanted_for(id);
        self.is_offered(worker, vec![priced("a", 1)]);
        let answer = LaunchAnswer::Launched(machine_id(worker));
        self.send(Event::LaunchAnswered { worker, candidate: Box::new(priced("a", 1)), answer });
        worker
    }

    fn runs(&mut self, id: ExecutionId) -> (WorkerId, SessionId, Claim) {
        let worker = self.is_launched(id);
        let session = self.join(worker);
        let claim = self.claim(id);
        self.starts(worker, session, claim);
        (worker, session, claim)
    }

    /// It ends, and its machine with it.
    fn ends_at_once(&mut self, id: ExecutionId) {
        let (worker, session, claim) = self.runs(id);
        self.exits(worker, session, claim, 0);
        self.goes(worker);
    }

    fn goes(&mut self, worker: WorkerId) {
        self.request(data_runner_core::event::Request::TerminateWorker { worker });
        self.listed(&[(worker, terminated())]);
    }

    fn exceeded(&self) -> Vec<String> {
        let all = self.store.events_now(EventQuery { limit: 10_000, ..EventQuery::default() });
        let of = all.into_iter().filter(|event| event.record.kind == EventKind::BudgetExceeded);
        of.map(|event| event.record.message).collect()
    }

    fn is_blocked(&self, id: ExecutionId) -> bool {
        matches!(
            self.execution(id).state,
            ExecutionState::Queued { waiting } if matches!(waiting.reason, WaitingReason::Budget { .. })
        )
    }

    /// The agents of machines that are there say that they live, so that they are not lost.
    fn time_passes(&mut self, wait: u64, alive: &[(WorkerId, SessionId)]) {
        let end = self.now.mono.after(seconds(wait));
        while self.now.mono < end {
            for (worker, session) in alive {
                let message = data_runner_core::message::AgentMessage::HeartBeat;
                self.says(*worker, *session, message);
            }
            let left = end.since(self.now.mono);
            let due = self.it.next_deadline(self.now).map_or(left, |due| due.at.since(self.now.mono));
            self.tick_after(due.min(left).min(seconds(60)).max(Duration::from_micros(1)));
        }
    }
}

#[test]
fn a_run_that_costs_too_much_is_stopped_and_fails_and_is_not_tried_again() {
    let mut it = Scene::new(ec2(2));
    let id = it.submit_with_budget(per_run(50, OnExceed::Cancel));
    let (worker, session, claim) = it.runs(id);
    it.time_passes(HOUR / 2, &[(worker, session)]);
    assert_eq!(it.state(id), StateName::Running);
    it.restart();
    let (session, _) = it.connect(
        worker,
        vec![crate::scene::held(claim, crate::scene::reached(data_runner_core::execution::Phase::Started))],
    );
    it.time_passes(1, &[(worker, session)]);
    it.reports(worker, session, claim, finished(Ending::Stopped { reason: StopReason::Cancelled }, 0));
    let failure = it.failure(id);
    assert_eq!(failure.cause, FailureCause::Budget);
    let told = "it was stopped by its budget: it has cost $0.5003, and a run may cost $0.5000";
    assert_eq!(failure.message, told);
    assert_eq!(it.exceeded(), ["it has cost $0.5000, and a run may cost $0.5000"]);
    assert_eq!(it.it.deliveries().len(), 1);
    assert_eq!(it.it.deliveries().values().next().unwrap().on, NotifyOn::OverBudget);
}

#[test]
fn the_attempts_of_a_run_are_counted_together() {
    let mut it = Scene::new(ec2(2));
    let id = it.submit_with_budget(per_run(50, OnExceed::Cancel));
    let interrupted = || finished(Ending::Stopped { reason: StopReason::Interrupted }, 0);
    let (worker, session, claim) = it.runs(id);
    it.time_passes(20 * 60, &[(worker, session)]);
    it.reports(worker, session, claim, interrupted());
    it.goes(worker);
    it.tick_after(seconds(20));
    let (worker, session, claim) = it.runs(id);
    it.time_passes(10 * 60 + 1, &[(worker, session)]);
    it.reports(worker, session, claim, interrupted());
    assert_eq!(it.failure(id).cause, FailureCause::Budget);
    assert_eq!(it.execution(id).attempts.len(), 2);
}

#[test]
fn a_machine_that_boots_for_too_long_costs_as_well() {
    let mut it = Scene::new(ec2(2));
    let id = it.submit_with_budget(per_run(1, OnExceed::Cancel));
    let worker = it.is_launched(id);
    it.time_passes(40, &[]);
    assert_eq!(it.failure(id).cause, FailureCause::Budget);
    let state = it.worker_state(worker);
    assert!(matches!(state, data_runner_core::worker::WorkerState::Terminating { .. }), "{state:?}");
}

#[test]
fn who_only_wants_to_know_is_told_once_and_the_run_goes_on() {
    for on_exceed in [OnExceed::Notify, OnExceed::Block] {
        let mut it = Scene::new(ec2(2));
        let id = it.submit_with_budget(per_run(50, on_exceed));
        let (worker, session, claim) = it.runs(id);
        it.time_passes(2 * HOUR, &[(worker, session)]);
        assert_eq!((it.state(id), it.exceeded().len()), (StateName::Running, 1));
        it.exits(worker, session, claim, 0);
        assert_eq!(it.state(id), StateName::Success);
    }
}

#[test]
fn a_month_counts_what_is_spent_and_what_runs_and_what_is_launched_i9() {
    let mut it = Scene::new(ec2(9));
    let budget = per_month(250, OnExceed::Block);
    let ids: Vec<_> = (0..3).map(|_| it.submit_with_budget(budget)).collect();
    let (first, second) = (it.wanted_for(ids[0]), it.wanted_for(ids[1]));
    let third = it.wanted_for(ids[2]);
    // None of them is launched yet when the next one is decided.
    it.batch(vec![
        Event::Planned { worker: first, result: Ok(vec![priced("a", 1)]) },
        Event::Planned { worker: second, result: Ok(vec![priced("a", 1)]) },
        Event::Planned { worker: third, result: Ok(vec![priced("a", 1)]) },
    ]);
    assert_eq!((it.state(ids[0]), it.state(ids[1])), (StateName::Provisioning, StateName::Provisioning));
    assert!(it.is_blocked(ids[2]));
    let ExecutionState::Queued { waiting } = it.execution(ids[2]).state else { panic!() };
    let told = "its workflow may cost $2.50 a month; $2.00 are used, and it needs $1.00";
    assert_eq!(waiting.reason.to_string(), told);
    it.restart();
    it.tick_after(seconds(1));
    assert!(it.is_blocked(ids[2]));
    // One is cancelled before it has cost anything.
    it.cancel(ids[1]);
    assert_eq!(it.state(ids[2]), StateName::Provisioning);
}

#[test]
fn what_is_spent_outlives_machines_and_restarts_and_a_new_month_begins_with_nothing_i9() {
    let mut it = Scene::new(ec2(9));
    let first = it.submit_with_budget(per_month(250, OnExceed::Block));
    let (worker, session, claim) = it.runs(first);
    it.time_passes(2 * HOUR, &[(worker, session)]);
    it.exits(worker, session, claim, 0);
    it.goes(worker);
    it.restart();
    let second = it.submit_with_budget(per_month(250, OnExceed::Block));
    let worker = it.wanted_for(second);
    it.is_offered(worker, vec![priced("a", 1)]);
    assert!(it.is_blocked(second));
    assert_eq!(it.it.deliveries().len(), 1);
    // It was January the 1st.
    it.tick_after(seconds(30 * 24 * HOUR));
    assert!(it.is_blocked(second));
    it.tick_after(seconds(24 * HOUR));
    assert_eq!(it.state(second), StateName::Provisioning);
    it.is_launched(second);
    assert_eq!(it.state(second), StateName::Provisioning, "it is launched");
}

#[test]
fn a_dearer_fallback_is_not_launched_if_there_is_no_money_for_it_i9() {
    let mut it = Scene::new(ec2(9));
    let id = it.submit_with_budget(per_month(250, OnExceed::Cancel));
    let worker = it.wanted_for(id);
    it.is_offered(worker, vec![priced("cheap", 1), priced("dear", 3)]);
    let answer = LaunchAnswer::FallBack { message: "none left".to_owned() };
    it.send(Event::LaunchAnswered { worker, candidate: Box::new(priced("cheap", 1)), answer });
    let failure = it.failure(id);
    assert_eq!(failure.cause, FailureCause::Budget);
    assert_eq!(failure.message, "its workflow may cost $2.50 a month; $0.0000 are used, and it needs $3.00");
}

#[test]
fn who_only_wants_to_know_of_the_month_is_told_and_started() {
    let mut it = Scene::new(ec2(9));
    let id = it.submit_with_budget(per_month(50, OnExceed::Notify));
    it.ends_at_once(id);
    assert_eq!((it.state(id), it.exceeded().len()), (StateName::Success, 1));
}

#[test]
fn a_warm_machine_is_not_used_beyond_the_month_i9() {
    let mut it = Scene::new(ec2(9));
    let warm = |it: &Scene| Submit {
        keep_warm: seconds(4 * HOUR),
        ..it.with_budget(per_month(250, OnExceed::Block))
    };
    let order = warm(&it);
    let first = it.submit_as(order);
    let (worker, session, claim) = it.runs(first);
    it.exits(worker, session, claim, 0);
    let order = warm(&it);
    let second = it.submit_as(order);
    assert_eq!(it.state(second), StateName::Starting, "there is money for it");
    let claim = it.claim(second);
    it.time_passes(2 * HOUR, &[(worker, session)]);
    it.exits(worker, session, claim, 0);
    let order = warm(&it);
    let third = it.submit_as(order);
    assert_eq!(it.state(third), StateName::Provisioning, "the machine is there, but not the money");
    let planned = it.wanted_for(third);
    it.is_offered(planned, vec![priced("a", 1)]);
    assert!(it.is_blocked(third));
}

#[test]
fn a_machine_without_a_price_exceeds_nothing() {
    let mut it = Scene::new(ec2(9));
    let id = it.submit_with_budget(per_month(1, OnExceed::Cancel));
    let worker = it.wanted_for(id);
    it.offers(worker, &["a"]);
    it.answer_launch(worker, "a", LaunchAnswer::Launched(machine_id(worker)));
    assert_eq!(it.state(id), StateName::Provisioning);
}
