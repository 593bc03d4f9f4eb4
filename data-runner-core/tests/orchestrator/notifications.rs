//! Who is told of what.

use data_runner_core::delivery::{DeliveryResult, DeliveryState};
use data_runner_core::event::{Change, Event, EventKind, Outcome, Submit};
use data_runner_core::execution::{
    FailureCause, Lateness, RetryPolicy, RetryRule, StateName, Trigger, Waiting, WaitingReason,
};
use data_runner_core::id::DeliveryId;
use data_runner_core::port::EventQuery;
use data_runner_core::time::Timestamp;
use data_runner_core::workflow::{MessageFormat, Notification, NotifyOn, Schedule};
use data_runner_testkit::sample;

use crate::scene::{Scene, joined, seconds};

impl Scene {
    fn told_submit(&self, addresses: &[&str]) -> Submit {
        let rule = |it: &&str| Notification {
            on: vec![NotifyOn::Failure],
            webhook: it.parse().unwrap(),
            format: MessageFormat::Json,
        };
        Submit { notifications: addresses.iter().map(rule).collect(), ..self.order() }
    }

    /// Somebody who wants to know of all.
    fn curious_submit(&self) -> Submit {
        let on = NotifyOn::ALL.to_vec();
        let webhook = "env://ALERTS".parse().unwrap();
        Submit {
            notifications: vec![Notification { on, webhook, format: MessageFormat::Slack }],
            ..self.order()
        }
    }

    /// Of what is owed.
    fn news(&self) -> Vec<NotifyOn> {
        self.it.deliveries().values().map(|delivery| delivery.on).collect()
    }

    fn failing_since(&self) -> Option<Timestamp> {
        self.it.workflows()[&self.workflow()].failing_since
    }

    /// An execution that ends with this code.
    fn ends(&mut self, order: Submit, code: u8) -> Outcome {
        let worker = sample::worker_id(900);
        let session = self.join(worker);
        let id = self.submit_as(order);
        let claim = self.claim(id);
        self.starts(worker, session, claim);
        self.exits(worker, session, claim, code)
    }

    fn owed(&self) -> Vec<DeliveryId> {
        self.it.deliveries().keys().copied().collect()
    }

    fn tried(&mut self, delivery: DeliveryId, result: DeliveryResult) {
        self.send(Event::DeliveryTried { delivery, result });
    }

    fn said(&self) -> Vec<(EventKind, String)> {
        let all = self.store.events_now(EventQuery { limit: 10_000, ..EventQuery::default() });
        let of_deliveries = all.into_iter().filter(|event| {
            matches!(event.record.kind, EventKind::NotificationDelivered | EventKind::NotificationFailed)
        });
        of_deliveries.map(|event| (event.record.kind, event.record.message)).collect()
    }
}

#[test]
fn a_failure_and_what_is_owed_for_it_are_one_commit_and_survive_a_crash() {
    let mut it = Scene::new(joined());
    let order = it.told_submit(&["env://ALERTS", "https://hooks.example.com/a", "env://ALERTS"]);
    let outcome = it.ends(order, 1);
    let puts = |change: &Change| match change {
        Change::PutExecution(execution) => execution.state.name() == StateName::Failed,
        Change::PutDelivery(_) => true,
        _ => false,
    };
    assert_eq!(outcome.changes.iter().filter(|change| puts(change)).count(), 3, "each address once");
    let owed = it.owed();
    it.restart();
    assert_eq!(it.owed(), owed);
    it.tried(owed[0], DeliveryResult::Taken(204));
    it.restart();
    assert_eq!(it.owed(), owed[1..]);
}

#[test]
fn nobody_is_told_of_success_cancellation_or_a_failure_that_is_tried_again() {
    let mut it = Scene::new(joined());
    let order = it.told_submit(&["env://ALERTS"]);
    it.ends(order.clone(), 0);
    assert!(it.owed().is_empty());
    let id = it.submit_as(order.clone());
    it.cancel(id);
    let mut it = Scene::new(joined());
    let id = it.submit_as(order.clone());
    it.cancel(id);
    assert_eq!(it.state(id), StateName::Cancelled);
    let rule = RetryRule {
        on: vec![FailureCause::UserError],
        max_attempts: 2,
        ..RetryPolicy::default().rules[0].clone()
    };
    let retries = RetryPolicy { rules: vec![rule] };
    it.ends(Submit { retries, ..order }, 1);
    assert!(it.owed().is_empty());
}

#[test]
fn a_receiver_that_is_away_is_tried_again_with_growing_waits_and_given_up_after_a_day() {
    let mut it = Scene::new(joined());
    let order = it.told_submit(&["env://ALERTS"]);
    it.ends(order, 1);
    let id = it.owed()[0];
    let mut waits = Vec::new();
    while let Some(delivery) = it.it.deliveries().get(&id).cloned() {
        let DeliveryState::Pending { next_at, .. } = delivery.state else { panic!("it is pending") };
        let wait = next_at.since(it.now.wall);
        waits.push(wait);
        it.pass(wait);
        it.tried(id, DeliveryResult::Failed("the receiver answered 500".to_owned()));
    }
    assert_eq!(waits[..4], [seconds(0), seconds(10), seconds(20), seconds(40)]);
    assert!(waits.is_sorted() && waits.last() == Some(&seconds(3600)), "{waits:?}");
    let said = it.said();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[1].1.contains("not tried again"), "{said:?}");
}

#[test]
fn an_address_that_is_wrong_is_given_up_at_once_and_events_do_not_show_it() {
    let mut it = Scene::new(joined());
    let order = it.told_submit(&["https://hooks.example.com/T000/hunter2"]);
    it.ends(order, 1);
    it.tried(it.owed()[0], DeliveryResult::Refused("the receiver answered 410".to_owned()));
    assert!(it.owed().is_empty());
    let said = it.said();
    assert!(said[0].0 == EventKind::NotificationFailed && said[0].1.contains("410"), "{said:?}");
    assert!(said[0].1.contains("hooks.example.com") && !said[0].1.contains("hunter2"), "{said:?}");
}

#[test]
fn the_first_success_after_failures_is_told_of_also_after_a_restart() {
    let mut it = Scene::new(joined());
    let order = it.curious_submit();
    it.ends(order.clone(), 0);
    assert!(it.news().is_empty() && it.failing_since().is_none());
    it.ends(order.clone(), 1);
    let since = it.failing_since();
    assert!(since.is_some());
    it.pass(seconds(60));
    it.ends(order.clone(), 1);
    assert_eq!(it.failing_since(), since, "it fails since the first time");
    it.restart();
    it.ends(order.clone(), 0);
    assert_eq!(it.news(), [NotifyOn::Failure, NotifyOn::Failure, NotifyOn::Recovered]);
    assert_eq!(it.failing_since(), None);
    it.ends(order, 0);
    assert_eq!(it.news().len(), 3, "once");
}

#[test]
fn an_execution_that_has_not_started_in_time_is_told_of_once_also_after_a_restart() {
    let mut it = Scene::new(joined());
    let order = Submit { late_after: Some(seconds(1800)), ..it.curious_submit() };
    let id = it.submit_as(order);
    it.tick_after(seconds(1799));
    assert!(it.news().is_empty());
    let due = it.it.next_deadline(it.now).unwrap();
    assert!(due.at <= it.now.mono.after(seconds(1)), "the loop wakes for it");
    it.restart();
    it.tick_after(seconds(1));
    assert_eq!(it.news(), [NotifyOn::Late]);
    assert_eq!(it.execution(id).late, Lateness::Since { at: it.now.wall });
    it.tick_after(seconds(3600));
    assert_eq!(it.news(), [NotifyOn::Late]);
}

#[test]
fn what_started_in_time_is_never_late_however_long_it_runs() {
    let mut it = Scene::new(joined());
    let order = Submit { late_after: Some(seconds(1800)), ..it.curious_submit() };
    let worker = sample::worker_id(900);
    let session = it.join(worker);
    let id = it.submit_as(order);
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    it.tick_after(seconds(3600));
    assert!(it.news().is_empty());
}

#[test]
fn what_a_schedule_starts_is_late_by_its_own_time() {
    let it = Scene::new(joined());
    let schedule = Schedule::new("0 6 * * *", "UTC").unwrap();
    let due = Timestamp::from_micros(1_000_000);
    let trigger = Trigger::Schedule { schedule, due };
    let order = Submit { late_after: Some(seconds(60)), trigger, ..it.order() };
    let waiting = Waiting { reason: WaitingReason::Worker, since: due.after(seconds(600)) };
    let execution = order.into_execution(sample::execution_id(1), waiting);
    assert_eq!(execution.late, Lateness::At { at: due.after(seconds(60)) });
}
