//! How long an execution may wait to be started.

use data_runner_core::event::{Event, PlanFailure, Submit};
use data_runner_core::execution::{Ending, FailureCause, Queueing, StateName, StopReason};
use data_runner_core::id::ExecutionId;
use data_runner_core::port::LaunchAnswer;
use data_runner_testkit::sample;

use crate::scene::{Scene, ec2, finished, joined, machine_id, seconds};

impl Scene {
    fn submit_within(&mut self, within: u64) -> ExecutionId {
        let queueing = Queueing { start_within: Some(seconds(within)), ..Queueing::default() };
        let order = Submit { queueing, ..self.order() };
        self.submit_as(order)
    }

    /// The loop wakes at the moment that it asked for, which is then.
    fn wakes_after(&mut self, wait: u64) {
        let due = self.it.next_deadline(self.now).unwrap();
        assert_eq!(due.at.since(self.now.mono), seconds(wait), "{}", due.why);
        self.tick_after(seconds(wait));
    }
}

#[test]
fn what_has_waited_for_too_long_fails_and_says_what_for() {
    let mut it = Scene::new(joined());
    let id = it.submit_within(3600);
    it.restart();
    it.tick_after(seconds(3599));
    assert_eq!(it.state(id), StateName::Queued);
    it.wakes_after(1);
    let failure = it.failure(id);
    assert_eq!(failure.cause, FailureCause::NoCapacity);
    assert_eq!(failure.message, "it was not started within 1h: no worker that fits is free");
}

#[test]
fn a_machine_that_comes_too_late_is_not_waited_for_and_goes() {
    let mut it = Scene::new(ec2(3));
    let id = it.submit_within(100);
    let worker = it.only_worker();
    it.offers(worker, &["t3.medium in a"]);
    it.answer_launch(worker, "t3.medium in a", LaunchAnswer::Launched(machine_id(worker)));
    it.tick_after(seconds(99));
    assert_eq!(it.state(id), StateName::Provisioning);
    it.tick_after(seconds(1));
    assert_eq!(it.failure(id).message, "it was not started within 1m40s: t3.medium in a was booting");
    assert_eq!(it.execution(id).launch_tries.len(), 1);
    let state = it.worker_state(worker);
    assert!(matches!(state, data_runner_core::worker::WorkerState::Terminating { .. }), "{state:?}");
}

#[test]
fn tries_to_get_a_machine_do_not_lengthen_the_wait_and_their_retries_end_with_it() {
    let mut it = Scene::new(ec2(3));
    let id = it.submit_within(100);
    for _ in 0..10 {
        let message = "none left".to_owned();
        let worker = it.it.workers().next().map(|worker| worker.id);
        if let Some(worker) = worker {
            it.send(Event::Planned { worker, result: Err(PlanFailure::Unavailable { message }) });
        }
        assert!(!it.state(id).is_terminal());
        it.tick_after(seconds(10));
    }
    assert_eq!(it.failure(id).cause, FailureCause::NoCapacity);
    it.tick_after(seconds(4000));
    assert_eq!(it.it.executions().len(), 0);
}

#[test]
fn what_is_tried_again_waits_anew_from_the_end_of_its_backoff_and_running_takes_no_wait() {
    let mut it = Scene::new(joined());
    let worker = sample::worker_id(1);
    let session = it.join(worker);
    let id = it.submit_within(60);
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    it.tick_after(seconds(100));
    assert_eq!(it.state(id), StateName::Running, "it has been started");
    it.reports(worker, session, claim, finished(Ending::Stopped { reason: StopReason::Interrupted }, 0));
    it.send(Event::SessionClosed { worker, session });
    it.tick_after(seconds(5));
    it.tick_after(seconds(59));
    assert_eq!(it.state(id), StateName::Queued);
    it.tick_after(seconds(1));
    assert_eq!(it.failure(id).message, "it was not started within 1m: no worker that fits is free");
}
