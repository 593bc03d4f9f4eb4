use data_runner_core::event::{Answer, Effect, Event, ShutDown};
use data_runner_core::execution::{ExecutionState, FailureCause, StateName, WaitingReason};
use data_runner_core::id::ExecutionId;
use data_runner_core::message::AgentMessage;
use data_runner_core::worker::MachineState;

use crate::scene::{Scene, pool, terminated};

fn answered(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Reply { answer: Answer::ShutDown, .. }))
}

#[test]
fn a_drain_is_answered_when_the_last_worker_is_proved_gone() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let (worker, session) = it.boot_pool()[0];
    let id = it.submit();
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    assert_eq!(it.shut_down(ShutDown::Drain), None);
    it.exits(worker, session, claim, 0);
    it.says(worker, session, AgentMessage::Drained);
    assert!(!answered(&it.listed(&[(worker, MachineState::Running)]).effects));
    assert!(answered(&it.listed(&[(worker, terminated())]).effects));
    assert_eq!(it.state(id), StateName::Success);
}

#[test]
fn a_second_wish_ends_at_once_and_what_ran_is_tried_again_after_the_next_start() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let (worker, session) = it.boot_pool()[0];
    let id = it.submit();
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    it.shut_down(ShutDown::Drain);
    it.shut_down(ShutDown::Now);
    let outcome = it.listed(&[(worker, terminated())]);
    assert!(answered(&outcome.effects));
    assert_eq!(it.state(id), StateName::Queued);
    let failure = it.execution(id).attempts[0].end.as_ref().unwrap().failure().unwrap();
    assert_eq!(failure.cause, FailureCause::Interrupted);
    it.restart();
    it.tick_after(std::time::Duration::from_secs(60));
    assert_eq!(it.it.workers().len(), 1, "the pool comes back");
}

#[test]
fn with_no_worker_at_all_the_end_is_immediate() {
    let mut it = Scene::new(crate::scene::joined());
    assert_eq!(it.shut_down(ShutDown::Drain), Some(Answer::ShutDown));
}

fn waits_for(it: &Scene, id: ExecutionId) -> WaitingReason {
    match &it.execution(id).state {
        ExecutionState::Queued { waiting } => waiting.reason.clone(),
        other => panic!("it does not wait: {other:?}"),
    }
}

#[test]
fn what_waits_says_that_it_waits_for_the_next_start_and_then_for_a_worker_again() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let (worker, session) = it.boot_pool()[0];
    let running = it.submit();
    let claim = it.claim(running);
    it.starts(worker, session, claim);
    let waiting = it.submit();
    it.shut_down(ShutDown::Drain);
    assert_eq!(waits_for(&it, waiting), WaitingReason::Draining);
    it.restart();
    it.send(Event::Tick);
    assert_ne!(waits_for(&it, waiting), WaitingReason::Draining);
}
