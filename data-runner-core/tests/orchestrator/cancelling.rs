use data_runner_core::event::{Answer, Event, Rejection};
use data_runner_core::execution::Phase;
use data_runner_core::execution::{Ending, ExecutionState, RunState, StateName, StopReason};
use data_runner_core::message::SupervisorMessage;
use data_runner_testkit::sample;

use crate::scene::{Scene, finished, held, joined, reached, sent};

#[test]
fn what_waits_is_cancelled_at_once() {
    let mut it = Scene::new(joined());
    let id = it.submit();
    let (answer, _) = it.cancel(id);
    assert!(matches!(answer, Some(Answer::Execution(_))));
    assert_eq!(it.state(id), StateName::Cancelled);
}

#[test]
fn what_runs_is_told_to_stop_and_ends_cancelled_when_it_has_i11() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    let (_, outcome) = it.cancel(id);
    let [SupervisorMessage::Cancel { claim: told, reason: StopReason::Cancelled, .. }] = sent(&outcome)[..]
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(*told, claim);
    assert_eq!(it.state(id), StateName::Running, "the process may still live");
    it.reports(worker, session, claim, finished(Ending::Stopped { reason: StopReason::Cancelled }, 0));
    assert_eq!(it.state(id), StateName::Cancelled);
}

#[test]
fn the_jobs_own_exit_wins_if_it_comes_first() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    it.cancel(id);
    it.exits(worker, session, claim, 0);
    assert_eq!(it.state(id), StateName::Success);
}

#[test]
fn a_cancelled_run_is_never_tried_again_i11() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    it.cancel(id);
    it.reports(worker, session, claim, finished(Ending::Stopped { reason: StopReason::Interrupted }, 0));
    assert_eq!(it.state(id), StateName::Cancelled);
}

#[test]
fn a_cancel_outlives_the_supervisor_and_is_said_again_i11() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    it.send(Event::SessionClosed { worker, session });
    let (_, outcome) = it.cancel(id);
    assert_eq!(sent(&outcome).len(), 0, "nobody is there to hear it");
    it.restart();
    let ExecutionState::Running { run: RunState::Stopping(stop), .. } = it.execution(id).state else {
        panic!()
    };
    assert_eq!(stop.reason, StopReason::Cancelled);
    let (_, outcome) = it.connect(worker, vec![held(claim, reached(Phase::Started))]);
    assert!(
        sent(&outcome).iter().any(|m| matches!(m, SupervisorMessage::Cancel { claim: c, .. } if *c == claim))
    );
}

#[test]
fn what_was_cancelled_before_it_started_is_stopped_once_it_does() {
    let mut it = Scene::new(joined());
    let worker = sample::worker_id(1);
    let session = it.join(worker);
    let id = it.submit();
    let claim = it.claim(id);
    it.cancel(id);
    it.starts(worker, session, claim);
    let ExecutionState::Running { run: RunState::Stopping(_), .. } = it.execution(id).state else { panic!() };
}

#[test]
fn a_cancel_is_repeated_without_harm_and_refused_after_the_end() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    it.cancel(id);
    let (answer, outcome) = it.cancel(id);
    assert!(matches!(answer, Some(Answer::Execution(_))));
    assert_eq!(outcome.changes, []);
    it.reports(worker, session, claim, finished(Ending::Stopped { reason: StopReason::Cancelled }, 0));
    assert_eq!(it.cancel(id).0, Some(Answer::Rejected(Rejection::NoSuchExecution(id))), "it has left core");
}
