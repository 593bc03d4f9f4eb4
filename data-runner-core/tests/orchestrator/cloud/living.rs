//! Machines that are there: who joins, whom they serve, and how they end.

use data_runner_core::event::{Answer, Effect, Event, Outcome, Rejection, Request, Submit};
use data_runner_core::execution::{Ending, FailureCause, Phase, StateName, StopReason, WaitingReason};
use data_runner_core::id::Sha256;
use data_runner_core::message::AgentMessage;
use data_runner_core::port::LaunchAnswer;
use data_runner_core::worker::{MachineEnd, MachineState, TerminationCause, WorkerState, WorkerStateName};
use data_runner_core::workflow::{Compute, Spot};
use data_runner_testkit::sample;

use super::{booting, ended, planned, running, terminates, tries, waits_for};
use crate::scene::{Scene, ec2, finished, machine_id, seconds, terminated};

#[test]
fn an_agent_that_never_joins_is_terminated_with_its_console_in_the_failure() {
    let mut it = Scene::new(ec2(1));
    let (id, worker) = booting(&mut it, &["a", "b"]);
    let wait = it.policy.join_within;
    let outcome = it.tick_after(wait);
    let ask = Effect::ReadConsole { worker, machine: machine_id(worker) };
    assert!(outcome.effects.contains(&ask) && !terminates(&outcome, worker));
    let long = format!("{}curl: (28) could not connect\n", "boring\n".repeat(10_000));
    assert!(terminates(&it.send(Event::ConsoleRead { worker, text: Some(long) }), worker));
    it.listed(&[(worker, terminated())]);
    let WaitingReason::Backoff { failure, .. } = waits_for(&it, id) else { panic!() };
    assert_eq!(
        (failure.cause, failure.message.as_str()),
        (FailureCause::NoCapacity, "its agent never connected")
    );
    let hint = failure.hint.unwrap();
    assert!(hint.ends_with("could not connect") && hint.len() < 5_000, "{hint}");
    assert_eq!(tries(&it, id), [("a".to_owned(), "its agent never connected".to_owned())]);
}

#[test]
fn a_console_that_cannot_be_read_delays_the_end_by_its_own_time_only() {
    let mut it = Scene::new(ec2(1));
    let (_, worker) = booting(&mut it, &["a"]);
    let wait = it.policy.join_within;
    assert!(!terminates(&it.tick_after(wait), worker));
    let wait = it.policy.console_within;
    assert!(terminates(&it.tick_after(wait), worker));
    let mut it = Scene::new(ec2(1));
    let (_, worker) = booting(&mut it, &["a"]);
    let wait = it.policy.join_within;
    it.tick_after(wait);
    assert!(terminates(&it.send(Event::ConsoleRead { worker, text: None }), worker));
    let cause = TerminationCause::NeverJoined { console: None };
    assert!(matches!(it.worker_state(worker), WorkerState::Terminating { cause: it, .. } if it == cause));
}

#[test]
fn nobody_joins_once_the_time_for_it_is_over() {
    let mut it = Scene::new(ec2(1));
    let (_, worker) = booting(&mut it, &["a"]);
    let join = |key: &[u8]| Request::Join { worker, key: Sha256::of(key) };
    let wait = it.policy.join_within - seconds(1);
    it.pass(wait);
    assert!(matches!(it.request(join(b"one")).0, Some(Answer::Worker(_))));
    assert!(matches!(it.request(join(b"one")).0, Some(Answer::Worker(_))), "a lost reply is repeated");
    let refused = Some(Answer::Rejected(Rejection::NotWelcome(worker)));
    assert_eq!(it.request(join(b"two")).0, refused);
    it.pass(seconds(1));
    assert_eq!(it.request(join(b"one")).0, refused);
}

#[test]
fn nobody_joins_who_was_not_launched() {
    let mut it = Scene::new(ec2(1));
    let (_, outcome) = it.connect(sample::worker_id(7), Vec::new());
    assert!(outcome.effects.iter().any(|it| matches!(it, Effect::CloseSession { .. })));
    it.submit();
    let planned = it.only_worker();
    it.connect(planned, Vec::new());
    assert!(matches!(it.worker_state(planned), WorkerState::Planning { .. }));
}

#[test]
fn a_machine_goes_at_its_deadline_whatever_it_does_i6() {
    let mut it = Scene::new(ec2(1));
    let (id, worker) = running(&mut it);
    let deadline = it.store.worker_now(worker).unwrap().deadline().unwrap();
    let wait = deadline.since(it.now.wall);
    it.pass(wait);
    it.send(Event::Resumed);
    assert!(terminates(&it.send(Event::Tick), worker));
    it.listed(&[(worker, terminated())]);
    let failure = it.execution(id).attempts[0].end.as_ref().unwrap().failure().unwrap();
    assert_eq!(failure.cause, FailureCause::WorkerLost);
}

#[test]
fn a_warm_machine_is_taken_by_the_same_workflow_and_machine_only() {
    let mut it = Scene::new(ec2(5));
    let warm = |it: &Scene| Submit { keep_warm: seconds(300), ..it.order() };
    let order = warm(&it);
    let id = it.submit_as(order);
    let worker = it.only_worker();
    it.launch(worker);
    let session = it.join(worker);
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    it.exits(worker, session, claim, 0);

    let larger = Submit { instance_size: "t3.large".to_owned(), ..warm(&it) };
    let disk = Compute { disk_bytes: Some(50 << 30), ..Compute::default() };
    let disk = Submit { compute: disk, ..warm(&it) };
    for other in [larger, disk] {
        let other = it.submit_as(other);
        assert_eq!(it.state(other), StateName::Provisioning, "another machine");
    }
    let order = warm(&it);
    let same = it.submit_as(order);
    assert_eq!(it.state(same), StateName::Starting, "no boot");
    assert_eq!(it.execution(same).attempts[0].worker, worker);
    assert_eq!(
        it.execution(same).attempts[0].phases.get(Phase::Launched),
        None,
        "it was launched for another"
    );
}

#[test]
fn a_warm_machine_is_not_taken_for_more_than_the_time_that_it_has_left() {
    let mut it = Scene::new(ec2(5));
    let order = |it: &Scene| Submit { keep_warm: seconds(40_000), ..it.order() };
    let first = order(&it);
    let timeout = first.job.timeout;
    let id = it.submit_as(first);
    let worker = it.only_worker();
    it.launch(worker);
    let session = it.join(worker);
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    it.exits(worker, session, claim, 0);
    let deadline = it.store.worker_now(worker).unwrap().deadline().unwrap();
    let wait = deadline.since(it.now.wall) - timeout;
    it.pass(wait);
    it.says(worker, session, AgentMessage::HeartBeat);
    let second = order(&it);
    let second = it.submit_as(second);
    assert_eq!(it.state(second), StateName::Provisioning);
}

#[test]
fn a_machine_that_becomes_free_is_taken_while_another_is_only_planned() {
    let mut it = Scene::new(ec2(2));
    let order = |it: &Scene| Submit { keep_warm: seconds(300), ..it.order() };
    let first = order(&it);
    let first = it.submit_as(first);
    let worker = it.only_worker();
    it.launch(worker);
    let session = it.join(worker);
    let claim = it.claim(first);
    it.starts(worker, session, claim);
    let second = order(&it);
    let second = it.submit_as(second);
    assert_eq!(it.state(second), StateName::Provisioning);
    it.exits(worker, session, claim, 0);
    assert_eq!(it.state(second), StateName::Starting);
    assert_eq!(it.only_worker(), worker, "the other was never launched");
}

#[test]
fn a_warm_machine_that_fits_nobody_makes_room_for_those_who_wait() {
    let mut it = Scene::new(ec2(1));
    let order = Submit { keep_warm: seconds(3600), ..it.order() };
    let first = it.submit_as(order);
    let worker = it.only_worker();
    it.launch(worker);
    let session = it.join(worker);
    let claim = it.claim(first);
    it.starts(worker, session, claim);
    it.exits(worker, session, claim, 0);
    let other = Submit { instance_size: "t3.large".to_owned(), ..it.order() };
    let other = it.submit_as(other);
    assert_eq!(it.worker_state(worker).name(), WorkerStateName::Draining);
    it.says(worker, session, AgentMessage::Drained);
    it.listed(&[(worker, terminated())]);
    assert_eq!(it.state(other), StateName::Provisioning);
}

#[test]
fn a_machine_of_which_nobody_knows_counts_against_the_cap_over_restarts_i9() {
    let mut it = Scene::new(ec2(1));
    let first = it.submit();
    let worker = it.only_worker();
    it.offers(worker, &["a"]);
    it.answer_launch(worker, "a", LaunchAnswer::Unknown { message: "a timeout".to_owned() });
    it.cancel(first);
    assert_eq!(it.worker_state(worker).name(), WorkerStateName::Terminating);
    let second = it.submit();
    it.restart();
    it.send(Event::Tick);
    assert_eq!(it.state(second), StateName::Queued, "the first may be there");
    it.listed(&[]);
    it.pass(seconds(901));
    it.listed(&[]);
    assert_eq!(it.state(second), StateName::Provisioning);
}

#[test]
fn a_person_who_terminates_a_machine_is_noticed_by_the_next_listing() {
    let mut it = Scene::new(ec2(1));
    let (id, worker) = running(&mut it);
    it.send(Event::Tick);
    let due = it.it.next_deadline(it.now).unwrap();
    assert!(due.at.since(it.now.mono) <= seconds(10), "{due:?}");
    it.listed(&[(worker, terminated())]);
    let failure = it.execution(id).attempts[0].end.as_ref().unwrap().failure().unwrap();
    assert_eq!(failure.cause, FailureCause::WorkerLost);
}

#[test]
fn spot_that_was_taken_away_is_tried_again_on_demand() {
    let prefer = |it: &Scene| {
        let compute = Compute { spot: Spot::Prefer, ..Compute::default() };
        Submit { compute, ..it.order() }
    };
    let mut it = Scene::new(ec2(1));
    // With notice: the agent ends the job, reports it, and drains.
    let order = prefer(&it);
    let (answer, outcome) = it.request(Request::Submit(order));
    let Some(Answer::Execution(execution)) = answer else { panic!() };
    let id = execution.id;
    assert_eq!(planned(&outcome)[0].compute.spot, Spot::Prefer);
    let worker = it.only_worker();
    it.launch(worker);
    let session = it.join(worker);
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    it.says(worker, session, AgentMessage::Draining);
    it.reports(worker, session, claim, finished(Ending::Stopped { reason: StopReason::Interrupted }, 0));
    assert!(
        matches!(waits_for(&it, id), WaitingReason::Backoff { failure, .. } if failure.cause == FailureCause::Interrupted)
    );
    it.listed(&[(worker, ended(MachineEnd::Interrupted))]);
    let outcome = it.tick_after(seconds(5));
    assert_eq!(planned(&outcome)[0].compute.spot, Spot::Never);
    assert_eq!(it.execution(id).compute.spot, Spot::Prefer, "what was asked for is not rewritten");
}

#[test]
fn spot_that_was_taken_away_without_notice_is_an_interruption_too() {
    for silent_first in [false, true] {
        let mut it = Scene::new(ec2(1));
        let (id, worker) = running(&mut it);
        if silent_first {
            let wait = it.policy.lost_after;
            assert!(terminates(&it.tick_after(wait), worker));
        }
        it.listed(&[(worker, ended(MachineEnd::Interrupted))]);
        let failure = it.execution(id).attempts[0].end.as_ref().unwrap().failure().unwrap();
        assert_eq!(failure.cause, FailureCause::Interrupted);
        assert_eq!(it.state(id), StateName::Queued);
    }
}

#[test]
fn a_supervisor_that_was_away_for_two_hours_leaves_no_attempt_stuck_i1() {
    let mut it = Scene::new(ec2(1));
    let (id, worker) = running(&mut it);
    it.pass(seconds(7200));
    it.restart();
    // The machine went so long ago that nothing shows it any more.
    for _ in 0..150 {
        it.tick_after(seconds(10));
        it.listed(&[]);
    }
    assert_eq!(it.worker_state(worker).name(), WorkerStateName::Terminated);
    let failure = it.execution(id).attempts[0].end.as_ref().unwrap().failure().unwrap();
    assert_eq!(failure.cause, FailureCause::WorkerLost);
    assert_ne!(it.state(id), StateName::Running);
}

#[test]
fn a_machine_that_is_not_shown_for_some_minutes_is_not_given_up_i7() {
    let mut it = Scene::new(ec2(1));
    let (id, worker) = booting(&mut it, &["a"]);
    for _ in 0..20 {
        it.tick_after(seconds(10));
        it.listed(&[]);
    }
    it.join(worker);
    assert_eq!(it.state(id), StateName::Starting);
}

#[test]
fn strangers_are_looked_for_also_when_no_machine_is_known_i6() {
    let mut it = Scene::new(ec2(1));
    let lists = |outcome: &Outcome| outcome.effects.contains(&Effect::List);
    assert!(lists(&it.send(Event::Tick)), "at the start");
    assert!(!lists(&it.tick_after(seconds(60))));
    let due = it.it.next_deadline(it.now).unwrap();
    assert_eq!(due.at.since(it.now.mono), it.policy.list_idle_every - seconds(60));
    assert!(lists(&it.tick_after(seconds(240))));
    it.listed(&[(sample::worker_id(3), MachineState::Running)]);
    assert!(lists(&it.tick_after(seconds(10))), "and soon again, once there is one");
}

#[test]
fn an_agent_that_drains_and_says_no_more_goes_all_the_same() {
    let mut it = Scene::new(ec2(1));
    let (id, worker) = running(&mut it);
    it.request(Request::DrainWorker { worker });
    let wait = it.policy.drain_within + seconds(1);
    let session = sample::session_id(1);
    it.says(worker, session, AgentMessage::HeartBeat);
    it.pass(seconds(100));
    it.says(worker, session, AgentMessage::HeartBeat);
    assert!(!terminates(&it.tick_after(seconds(100)), worker), "its job may take its time");
    let claim = it.claim(id);
    it.says(worker, session, AgentMessage::HeartBeat);
    it.exits(worker, session, claim, 0);
    it.pass(seconds(100));
    it.says(worker, session, AgentMessage::HeartBeat);
    assert!(terminates(&it.tick_after(wait - seconds(100)), worker));
    it.listed(&[(worker, terminated())]);
    assert!(matches!(
        it.worker_state(worker),
        WorkerState::Terminated { cause: TerminationCause::Operator, .. }
    ));
}
