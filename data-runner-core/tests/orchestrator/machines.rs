use data_runner_core::event::{Effect, Event, Outcome, PlanFailure, Request};
use data_runner_core::execution::{FailureCause, StateName};
use data_runner_core::message::{AgentMessage, SupervisorMessage};
use data_runner_core::orchestrator::{Policy, Pool};
use data_runner_core::port::LaunchAnswer;
use data_runner_core::worker::{MachineState, WorkerState, WorkerStateName};
use data_runner_testkit::sample;

use crate::scene::{Scene, candidate, finished, joined, machine_id, pool, seconds, sent, terminated};

fn per_execution(max: u32) -> Policy {
    Policy { pool: Pool::PerExecution { max }, ..Policy::local(max, 1) }
}

fn launches(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Launch { .. })).count()
}

#[test]
fn the_pool_is_filled_ahead_of_need_and_never_beyond_its_limit_i9() {
    let mut it = Scene::new(pool(2, 3));
    it.send(Event::Tick);
    assert_eq!(it.it.workers().len(), 2);
    for _ in 0..10 {
        it.submit();
    }
    assert_eq!(it.it.workers().len(), 3);
}

#[test]
fn one_candidate_is_committed_before_it_is_launched_i6() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let worker = it.it.workers().next().unwrap().id;
    let outcome = it.send(Event::Planned { worker, result: Ok(vec![candidate("a"), candidate("b")]) });
    assert!(matches!(it.worker_state(worker), WorkerState::Launching { candidate: c, .. } if c.label == "a"));
    assert_eq!(launches(&outcome.effects), 1);
}

#[test]
fn a_launch_without_an_answer_is_repeated_as_the_same_candidate_i7() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let worker = it.it.workers().next().unwrap().id;
    it.send(Event::Planned { worker, result: Ok(vec![candidate("a"), candidate("b")]) });
    it.answer_launch(worker, "a", LaunchAnswer::Unknown { message: "timeout".to_owned() });
    let wait = it.policy.ask_again;
    let outcome = it.tick_after(wait);
    let again = Effect::Launch { worker, candidate: Box::new(candidate("a")) };
    assert!(outcome.effects.contains(&again));
    it.restart();
    assert!(it.send(Event::Tick).effects.contains(&again), "and after a restart too");
}

#[test]
fn only_a_definite_no_moves_on_to_the_next_candidate() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let worker = it.it.workers().next().unwrap().id;
    it.send(Event::Planned { worker, result: Ok(vec![candidate("a"), candidate("b")]) });
    let no = LaunchAnswer::FallBack { message: "no capacity".to_owned() };
    let outcome = it.answer_launch(worker, "a", no.clone());
    assert!(outcome.effects.contains(&Effect::Launch { worker, candidate: Box::new(candidate("b")) }));
    let late = it.answer_launch(worker, "a", no.clone());
    assert_eq!(late.changes, [], "an answer to the candidate before is late");
    it.answer_launch(worker, "b", no);
    assert_eq!(it.worker_state(worker).name(), WorkerStateName::Terminated);
}

#[test]
fn after_a_failed_launch_the_pool_pauses_instead_of_spinning() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let worker = it.it.workers().next().unwrap().id;
    let failure = PlanFailure::Rejected { message: "no such thing".to_owned(), hint: None };
    it.send(Event::Planned { worker, result: Err(failure) });
    it.send(Event::Tick);
    assert_eq!(it.it.workers().len(), 0);
    let wait = it.policy.ask_again;
    it.tick_after(wait);
    assert_eq!(it.it.workers().len(), 1);
}

#[test]
fn a_machine_whose_agent_never_joins_is_terminated_at_the_join_deadline() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let worker = it.it.workers().next().unwrap().id;
    it.send(Event::Planned { worker, result: Ok(vec![candidate("a")]) });
    it.answer_launch(worker, "a", LaunchAnswer::Launched(machine_id(worker)));
    let wait = it.policy.join_within;
    it.tick_after(wait);
    let outcome = it.send(Event::ConsoleRead { worker, text: None });
    assert!(outcome.effects.contains(&Effect::Terminate { worker, machine: Some(machine_id(worker)) }));
}

#[test]
fn a_lost_worker_is_fenced_before_its_attempt_is_retried_i2() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let (worker, session) = it.boot_pool()[0];
    let id = it.submit();
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    let wait = it.policy.lost_after;
    let outcome = it.tick_after(wait);
    assert!(outcome.effects.contains(&Effect::Terminate { worker, machine: Some(machine_id(worker)) }));
    assert_eq!(it.state(id), StateName::Running, "nothing is retried before there is proof");
    it.listed(&[(worker, MachineState::Stopping)]);
    assert_eq!(it.state(id), StateName::Running);
    it.listed(&[(worker, terminated())]);
    assert_eq!(it.state(id), StateName::Queued, "worker_lost is tried again once");
    let failure = it.execution(id).attempts[0].end.as_ref().unwrap().failure().unwrap();
    assert_eq!(failure.cause, FailureCause::WorkerLost);
}

#[test]
fn a_listing_from_before_the_termination_proves_nothing_i7() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let (worker, _) = it.boot_pool()[0];
    let stale = it.now.wall;
    it.pass(seconds(5));
    it.request(Request::TerminateWorker { worker });
    it.send(Event::Listed { asked_at: stale, machines: Vec::new() });
    assert_eq!(it.worker_state(worker).name(), WorkerStateName::Terminating);
    it.listed(&[]);
    assert_eq!(it.worker_state(worker).name(), WorkerStateName::Terminated);
}

#[test]
fn a_busy_worker_is_not_given_up_on_the_word_of_one_listing_i7() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let (worker, session) = it.boot_pool()[0];
    let id = it.submit();
    it.listed(&[]);
    it.listed(&[]);
    assert_eq!(it.state(id), StateName::Starting, "its agent speaks");
    it.send(Event::SessionClosed { worker, session });
    it.listed(&[(worker, MachineState::Running)]);
    it.listed(&[]);
    assert_eq!(it.worker_state(worker).name(), WorkerStateName::Busy);
    it.listed(&[]);
    assert_eq!(it.worker_state(worker).name(), WorkerStateName::Terminating);
}

#[test]
fn a_machine_of_ours_that_nobody_knows_goes_on_the_second_round_i6() {
    let mut it = Scene::new(pool(0, 1));
    let stranger = sample::worker_id(3);
    let first = it.listed(&[(stranger, MachineState::Running)]);
    assert!(!first.effects.iter().any(|e| matches!(e, Effect::Terminate { .. })));
    let second = it.listed(&[(stranger, MachineState::Running)]);
    let goes = Effect::Terminate { worker: stranger, machine: Some(machine_id(stranger)) };
    assert!(second.effects.contains(&goes));
}

#[test]
fn a_machine_of_nobody_that_takes_its_time_to_go_is_told_of_once_and_asked_again_later_i6() {
    let mut it = Scene::new(pool(0, 1));
    let stranger = sample::worker_id(3);
    it.listed(&[(stranger, MachineState::Running)]);
    it.listed(&[(stranger, MachineState::Running)]);
    let stopping = [(stranger, MachineState::Stopping)];
    let asks = |outcome: &Outcome| outcome.effects.iter().any(|e| matches!(e, Effect::Terminate { .. }));
    let soon = it.listed(&stopping);
    assert!(!asks(&soon) && soon.changes.is_empty(), "{soon:?}");
    it.pass(it.policy.ask_again);
    let later = it.listed(&stopping);
    assert!(asks(&later) && later.changes.is_empty(), "{later:?}");
    assert!(!asks(&it.listed(&stopping)));
}

#[test]
fn an_agent_that_died_is_started_again_on_its_machine() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let (worker, session) = it.boot_pool()[0];
    it.send(Event::SessionClosed { worker, session });
    let outcome = it.listed(&[(worker, MachineState::AgentDown)]);
    assert!(outcome.effects.contains(&Effect::Launch { worker, candidate: Box::new(candidate("a")) }));
}

#[test]
fn an_agent_that_is_quicker_than_the_answer_to_its_launch_is_welcome() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let worker = it.it.workers().next().unwrap().id;
    it.send(Event::Planned { worker, result: Ok(vec![candidate("a")]) });
    it.join(worker);
    let id = it.submit();
    assert_eq!(it.state(id), StateName::Starting);
    it.answer_launch(worker, "a", LaunchAnswer::Launched(machine_id(worker)));
    assert_eq!(it.worker_state(worker).machine(), Some(&machine_id(worker)));
}

#[test]
fn a_frozen_supervisor_does_not_declare_the_world_dead() {
    let mut it = Scene::new(joined());
    let (_, worker, _, _) = it.running();
    it.pass(seconds(3600));
    it.send(Event::Resumed);
    it.send(Event::Tick);
    assert_eq!(it.worker_state(worker).name(), WorkerStateName::Busy);
}

#[test]
fn a_worker_that_nobody_started_is_proved_gone_by_its_dead_man_timer_only() {
    let mut it = Scene::new(joined());
    let (id, worker, session, _) = it.running();
    it.send(Event::SessionClosed { worker, session });
    let lost = it.policy.lost_after;
    it.tick_after(lost);
    assert_eq!(it.worker_state(worker).name(), WorkerStateName::Terminating);
    assert_eq!(it.state(id), StateName::Running);
    let rest = it.policy.dead_man + it.policy.fence_margin - lost;
    it.tick_after(rest);
    assert_eq!(it.worker_state(worker).name(), WorkerStateName::Terminated);
    assert_eq!(it.state(id), StateName::Queued);
}

#[test]
fn a_worker_that_is_silent_for_a_while_gets_no_new_work() {
    let mut it = Scene::new(joined());
    let worker = sample::worker_id(1);
    let session = it.join(worker);
    let suspect = it.policy.suspect_after;
    it.pass(suspect);
    let id = it.submit();
    assert_eq!(it.state(id), StateName::Queued);
    it.says(worker, session, AgentMessage::HeartBeat);
    assert_eq!(it.state(id), StateName::Starting);
}

#[test]
fn a_drained_worker_finishes_what_it_has_and_goes() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    let (worker, session) = it.boot_pool()[0];
    let id = it.submit();
    let claim = it.claim(id);
    let (_, outcome) = it.request(Request::DrainWorker { worker });
    assert!(sent(&outcome).iter().any(|m| matches!(m, SupervisorMessage::Drain { .. })));
    it.starts(worker, session, claim);
    it.exits(worker, session, claim, 0);
    assert_eq!(it.state(id), StateName::Success);
    let outcome = it.says(worker, session, AgentMessage::Drained);
    assert!(outcome.effects.iter().any(|e| matches!(e, Effect::Terminate { .. })));
}

#[test]
fn a_machine_is_started_for_each_execution_and_kept_warm_only_as_long_as_asked() {
    let mut it = Scene::new(per_execution(1));
    let first = it.submit();
    let second = it.submit();
    assert_eq!((it.state(first), it.state(second)), (StateName::Provisioning, StateName::Queued));
    let (worker, session) = it.boot_pool()[0];
    let claim = it.claim(first);
    it.starts(worker, session, claim);
    it.exits(worker, session, claim, 0);
    assert_eq!(it.state(second), StateName::Starting, "the same workflow and size takes the warm machine");
    let claim = it.claim(second);
    it.reports(worker, session, claim, finished(data_runner_core::execution::Ending::Exited { code: 0 }, 0));
    it.send(Event::Tick);
    assert_eq!(it.worker_state(worker).name(), WorkerStateName::Draining);
}

#[test]
fn an_execution_whose_machine_cannot_be_had_fails_with_the_reason() {
    let mut it = Scene::new(per_execution(1));
    let id = it.submit();
    let worker = it.it.workers().next().unwrap().id;
    let failure =
        PlanFailure::Rejected { message: "not in ec2.allow".to_owned(), hint: Some("ask".to_owned()) };
    it.send(Event::Planned { worker, result: Err(failure) });
    let failure = it.failure(id);
    assert_eq!((failure.cause, failure.message.as_str()), (FailureCause::Rejected, "not in ec2.allow"));
}

#[test]
fn no_capacity_is_tried_again_without_counting_an_attempt() {
    let mut it = Scene::new(per_execution(1));
    let id = it.submit();
    let worker = it.it.workers().next().unwrap().id;
    it.send(Event::Planned { worker, result: Ok(vec![candidate("a")]) });
    it.answer_launch(worker, "a", LaunchAnswer::FallBack { message: "none left".to_owned() });
    assert_eq!(it.state(id), StateName::Queued);
    assert_eq!(it.execution(id).attempts.len(), 0);
    assert_eq!(it.execution(id).launch_failures, 1);
}
