//! Whose turn it is.

use std::num::NonZeroU32;

use data_runner_core::event::{Answer, Event, EventKind, ReplyTo, Request, Submit};
use data_runner_core::execution::{
    Concurrency, ConcurrencyKey, Ending, ExecutionState, OnConflict, Priority, Queueing, StateName,
    StopReason, WaitingReason,
};
use data_runner_core::id::{Epoch, ExecutionId, SessionId, WorkerId};
use data_runner_core::log::LogOffset;
use data_runner_core::message::{AgentMessage, Hello};
use data_runner_core::port::EventQuery;
use data_runner_core::worker::AgentFacts;
use data_runner_testkit::sample;

use crate::scene::{Scene, ec2, finished, joined, seconds};

impl Scene {
    fn submit_with_priority(&mut self, points: u8) -> ExecutionId {
        let queueing = Queueing { priority: Priority::new(points), ..Queueing::default() };
        let order = Submit { queueing, ..self.order() };
        self.submit_as(order)
    }

    /// Ends whatever runs on the worker, one after the other, and says in which order it ran.
    fn order_of_turns(&mut self, ids: &[ExecutionId]) -> Vec<ExecutionId> {
        let worker = sample::worker_id(1);
        let session = self.join(worker);
        let mut turns = Vec::new();
        while let Some(id) = ids.iter().find(|id| self.state(**id) == StateName::Starting).copied() {
            turns.push(id);
            let claim = self.claim(id);
            self.starts(worker, session, claim);
            self.exits(worker, session, claim, 0);
        }
        turns
    }
}

#[test]
fn a_point_of_priority_counts_as_a_minute_of_waiting() {
    let mut it = Scene::new(joined());
    let usual = it.submit_with_priority(50);
    it.pass(seconds(10 * 60 - 1));
    let ten_more = it.submit_with_priority(60);
    it.pass(seconds(2));
    let too_late = it.submit_with_priority(60);
    let lowest = it.submit_with_priority(0);
    let highest = it.submit_with_priority(100);
    let turns = it.order_of_turns(&[usual, ten_more, too_late, lowest, highest]);
    assert_eq!(turns, [highest, ten_more, usual, too_late, lowest]);
}

#[test]
fn what_has_waited_for_a_hundred_minutes_longer_is_never_overtaken() {
    let mut it = Scene::new(joined());
    let lowest = it.submit_with_priority(0);
    it.pass(seconds(100 * 60 + 1));
    let highest = it.submit_with_priority(100);
    assert_eq!(it.order_of_turns(&[lowest, highest]), [lowest, highest]);
}

#[test]
fn machines_are_launched_in_the_order_of_the_line_also_after_a_restart() {
    let mut it = Scene::new(ec2(1));
    let first = it.submit_with_priority(50);
    let (low, high) = (it.submit_with_priority(10), it.submit_with_priority(90));
    it.restart();
    assert_eq!(it.state(first), StateName::Provisioning);
    it.cancel(first);
    it.tick_after(seconds(1));
    assert_eq!((it.state(low), it.state(high)), (StateName::Queued, StateName::Provisioning));
}

impl Scene {
    fn submit_under(&mut self, key: &str, limit: u32, on_conflict: OnConflict) -> ExecutionId {
        let order = self.under(key, limit, on_conflict);
        self.submit_as(order)
    }

    fn under(&self, key: &str, limit: u32, on_conflict: OnConflict) -> Submit {
        let limit = NonZeroU32::new(limit).unwrap();
        let concurrency = Some(Concurrency { limit, key: key.to_owned(), on_conflict });
        Submit { queueing: Queueing { concurrency, ..Queueing::default() }, ..self.order() }
    }

    /// A worker with that many slots, all of them free.
    fn worker_with_slots(&mut self, slots: u32) -> (WorkerId, SessionId) {
        let worker = sample::worker_id(1);
        let session = sample::session_id(500);
        self.send(Event::SessionOpened { worker, session });
        let facts = AgentFacts { slots, ..sample::agent_facts() };
        let hello = Hello { incarnation: 1, epoch: Epoch(0), facts, attempts: Vec::new() };
        self.says(worker, session, AgentMessage::Hello(hello));
        (worker, session)
    }

    fn waits_for(&self, id: ExecutionId) -> WaitingReason {
        match self.execution(id).state {
            ExecutionState::Queued { waiting } => waiting.reason,
            other => panic!("it does not wait: {other:?}"),
        }
    }

    fn running_under(&self, key: &str) -> Vec<ExecutionId> {
        let of = |it: &ConcurrencyKey| it.key == key;
        self.it.running_under_keys().into_iter().filter(|(it, _)| of(it)).flat_map(|(_, ids)| ids).collect()
    }
}

fn limited_to(key: &str, limit: u32) -> WaitingReason {
    WaitingReason::Concurrency { key: key.to_owned(), limit: NonZeroU32::new(limit).unwrap() }
}

#[test]
fn as_many_run_under_a_key_as_may_and_the_next_waits_until_one_is_gone_i9() {
    let mut it = Scene::new(joined());
    let (worker, session) = it.worker_with_slots(9);
    let eu: Vec<_> = (0..3).map(|_| it.submit_under("eu", 2, OnConflict::Queue)).collect();
    let us = it.submit_under("us", 1, OnConflict::Queue);
    let free = it.submit();
    assert_eq!(it.state(us), StateName::Starting, "another key");
    assert_eq!(it.state(free), StateName::Starting, "no key");
    assert_eq!((it.state(eu[0]), it.state(eu[1])), (StateName::Starting, StateName::Starting));
    assert_eq!(it.waits_for(eu[2]), limited_to("eu", 2));
    assert_eq!(it.running_under("eu"), eu[..2]);
    let claim = it.claim(eu[1]);
    it.starts(worker, session, claim);
    it.exits(worker, session, claim, 0);
    assert_eq!(it.state(eu[2]), StateName::Starting);
}

#[test]
fn several_of_one_batch_do_not_start_together_i9() {
    let mut it = Scene::new(joined());
    it.worker_with_slots(9);
    let order = it.under("", 1, OnConflict::Queue);
    let request = |n| Event::Request { reply: ReplyTo(n), request: Box::new(Request::Submit(order.clone())) };
    it.batch((70..75).map(request).collect());
    let starting = it.it.executions().filter(|it| it.state.name() == StateName::Starting).count();
    assert_eq!((starting, it.it.executions().len()), (1, 5));
}

#[test]
fn a_machine_that_is_launched_counts_and_none_is_launched_for_who_waits_i9() {
    let mut it = Scene::new(ec2(5));
    let first = it.submit_under("", 1, OnConflict::Queue);
    let second = it.submit_under("", 1, OnConflict::Queue);
    assert_eq!(it.state(first), StateName::Provisioning);
    assert_eq!(it.waits_for(second), limited_to("", 1));
    it.only_worker();
    it.restart();
    it.tick_after(seconds(1));
    assert_eq!(it.waits_for(second), limited_to("", 1));
    it.cancel(first);
    it.tick_after(seconds(1));
    assert_eq!(it.state(second), StateName::Provisioning);
}

#[test]
fn what_waits_to_be_tried_again_keeps_its_place_also_through_a_restart_i9() {
    let mut it = Scene::new(joined());
    let (worker, session) = it.worker_with_slots(2);
    let first = it.submit_under("", 1, OnConflict::Queue);
    let second = it.submit_under("", 1, OnConflict::Queue);
    let claim = it.claim(first);
    let ending = Ending::Stopped { reason: StopReason::Interrupted };
    it.reports(worker, session, claim, finished(ending, 0));
    assert!(matches!(it.waits_for(first), WaitingReason::Backoff { .. }));
    assert_eq!(it.waits_for(second), limited_to("", 1));
    it.restart();
    let (worker, session) = it.worker_with_slots(2);
    assert_eq!(it.waits_for(second), limited_to("", 1));
    it.tick_after(seconds(5));
    let claim = it.claim(first);
    it.exits(worker, session, claim, 1);
    assert_eq!((it.state(first), it.state(second)), (StateName::Failed, StateName::Starting));
}

#[test]
fn each_goes_by_its_own_limit_and_none_overtakes_under_its_key() {
    let mut it = Scene::new(joined());
    let (worker, session) = it.worker_with_slots(9);
    let before = it.submit_under("", 3, OnConflict::Queue);
    // The limit was lowered, and raised again.
    let careful = it.submit_under("", 1, OnConflict::Queue);
    let generous = it.submit_under("", 3, OnConflict::Queue);
    assert_eq!(it.waits_for(careful), limited_to("", 1));
    assert_eq!(it.waits_for(generous), limited_to("", 3), "it would hold up the one before for ever");
    let claim = it.claim(before);
    it.exits(worker, session, claim, 0);
    assert_eq!((it.state(careful), it.state(generous)), (StateName::Starting, StateName::Starting));
}

#[test]
fn a_submission_is_refused_where_the_workflow_says_skip() {
    let mut it = Scene::new(joined());
    let first = it.submit_under("eu", 1, OnConflict::Skip);
    let order = it.under("eu", 1, OnConflict::Skip);
    let Some(Answer::Rejected(rejection)) = it.request(Request::Submit(order)).0 else { panic!() };
    let told = format!("at most 1 may run at one time under the key \"eu\", and there is {first}");
    assert_eq!(rejection.to_string(), told);
    it.submit_under("us", 1, OnConflict::Skip);
    it.cancel(first);
    it.submit_under("eu", 1, OnConflict::Skip);
}

#[test]
fn the_oldest_go_for_a_new_one_which_waits_until_no_process_of_theirs_is_left_i2_i9() {
    let mut it = Scene::new(joined());
    let (worker, session) = it.worker_with_slots(9);
    let ids: Vec<_> = (0..3).map(|_| it.submit_under("", 2, OnConflict::CancelRunning)).collect();
    let claim = it.claim(ids[0]);
    let stop =
        |it: &Scene, id| matches!(it.execution(id).state, ExecutionState::Starting { stop: Some(_), .. });
    assert_eq!((stop(&it, ids[0]), stop(&it, ids[1])), (true, false));
    assert_eq!(it.waits_for(ids[2]), limited_to("", 2));
    // One more: who is stopping already makes the room for one only.
    let fourth = it.submit_under("", 2, OnConflict::CancelRunning);
    assert!(stop(&it, ids[1]));
    let ending = Ending::Stopped { reason: StopReason::Cancelled };
    it.reports(worker, session, claim, finished(ending, 0));
    assert_eq!((it.state(ids[0]), it.state(ids[2])), (StateName::Cancelled, StateName::Starting));
    assert_eq!(it.state(fourth), StateName::Queued);
    let all = it.store.events_now(EventQuery { limit: 1000, ..EventQuery::default() });
    let stopping = all.iter().filter(|event| event.record.kind == EventKind::ExecutionStopping);
    assert!(stopping.clone().count() == 2);
    assert!(stopping.into_iter().all(|event| event.record.message == "concurrency asked to cancel it"));
}

#[test]
fn who_has_to_go_while_its_log_is_awaited_is_not_tried_again_i11() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    it.reports(worker, session, claim, finished(Ending::Vanished { message: "no trace".to_owned() }, 10));
    assert!(matches!(it.cancel(id).0, Some(Answer::Execution(_))));
    it.send(Event::LogStored { claim, upto: LogOffset(10) });
    assert_eq!(it.state(id), StateName::Cancelled);
}

#[test]
fn who_waits_for_others_for_too_long_says_for_whom() {
    let mut it = Scene::new(joined());
    it.worker_with_slots(9);
    let first = it.submit_under("eu", 1, OnConflict::Queue);
    let mut order = it.under("eu", 1, OnConflict::Queue);
    order.queueing.start_within = Some(seconds(60));
    let second = it.submit_as(order);
    it.tick_after(seconds(60));
    let told = "it was not started within 1m: at most 1 of its workflow may run at one time under the key \"eu\", and \
                there is ";
    assert_eq!(it.failure(second).message, format!("{told}{first}"));
    assert_eq!(it.state(first), StateName::Starting);
}
