//! Whose turn it is.

use data_runner_core::event::Submit;
use data_runner_core::execution::{Priority, Queueing, StateName};
use data_runner_core::id::ExecutionId;
use data_runner_testkit::sample;

use crate::scene::{Scene, ec2, joined, seconds};

impl Scene {
    fn submit_with_priority(&mut self, points: u8) -> ExecutionId {
        let queueing = Queueing { priority: Priority::new(points) };
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
