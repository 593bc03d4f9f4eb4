use std::sync::Arc;
use std::time::Duration;

use data_runner_core::event::{Change, Effect, Event, Submit};
use data_runner_core::execution::{
    Backoff, Ending, ExecutionState, FailureCause, Phase, RetryPolicy, RetryRule, StateName, WaitingReason,
};
use data_runner_core::id::{Claim, Lease};
use data_runner_core::log::{GapReason, LogOffset};
use data_runner_core::message::{AgentMessage, AttemptStatus, SupervisorMessage, Verdict, WorkerStatus};
use data_runner_core::workflow::{PackageChoice, PackageLock};
use data_runner_testkit::sample;

use crate::scene::{Scene, finished, held, joined, puts_execution, reached, seconds, sent};

#[test]
fn a_job_that_exits_with_0_is_a_success_and_frees_its_slot() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    let outcome = it.exits(worker, session, claim, 0);
    assert_eq!(it.state(id), StateName::Success);
    assert!(sent(&outcome).contains(&&SupervisorMessage::StatusAck { claim }));
    assert!(outcome.changes.contains(&Change::CloseLog { attempt: claim.attempt, gap: None }));
    assert_eq!(it.worker_state(worker).name().as_str(), "idle");
    assert!(it.execution(id).attempts[0].phases.get(Phase::Started).is_some());
}

#[test]
fn a_phase_that_the_agent_reached_a_while_ago_is_recorded_then() {
    let mut it = Scene::new(joined());
    let worker = sample::worker_id(1);
    let session = it.join(worker);
    let id = it.submit();
    let claim = it.claim(id);
    it.pass(seconds(10));
    it.reports(worker, session, claim, AttemptStatus::Reached { phase: Phase::CodeReady, ago: seconds(4) });
    let at = it.now.wall.before(seconds(4));
    assert_eq!(it.execution(id).attempts[0].phases.get(Phase::CodeReady), Some(at));
    it.reports(worker, session, claim, reached(Phase::CodeReady));
    assert_eq!(
        it.execution(id).attempts[0].phases.get(Phase::CodeReady),
        Some(at),
        "a repeated report moves nothing"
    );
}

#[test]
fn it_is_not_terminal_before_its_log_is_whole_i8() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    let outcome = it.reports(worker, session, claim, finished(Ending::Exited { code: 0 }, 100));
    assert!(sent(&outcome).contains(&&SupervisorMessage::StatusAck { claim }), "the end itself is committed");
    assert_eq!(it.state(id), StateName::Running);
    it.send(Event::LogStored { claim, upto: LogOffset(99) });
    assert_eq!(it.state(id), StateName::Running);
    it.send(Event::LogStored { claim, upto: LogOffset(100) });
    assert_eq!(it.state(id), StateName::Success);
}

#[test]
fn a_log_that_does_not_come_is_closed_with_a_gap_of_what_is_missing_i8() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    it.send(Event::LogStored { claim, upto: LogOffset(60) });
    it.reports(worker, session, claim, finished(Ending::Exited { code: 0 }, 100));
    let wait = it.policy.log_wait;
    let outcome = it.tick_after(wait);
    assert_eq!(it.state(id), StateName::Success);
    let gap = outcome.changes.iter().find_map(|change| match change {
        Change::CloseLog { gap, .. } => *gap,
        _ => None,
    });
    assert_eq!(gap.map(|gap| (gap.bytes, gap.reason)), Some((Some(40), GapReason::NotDelivered)));
}

#[test]
fn a_report_under_another_lease_changes_nothing_i5() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    let forged = Claim { lease: Lease::from_uuid(sample::uuid(77)), ..claim };
    let outcome = it.exits(worker, session, forged, 1);
    assert!(!puts_execution(&outcome));
    assert_eq!(it.state(id), StateName::Running);
    assert!(
        sent(&outcome).contains(&&SupervisorMessage::StatusAck { claim: forged }),
        "the agent may forget it"
    );
}

#[test]
fn a_report_from_another_worker_changes_nothing_i5() {
    let mut it = Scene::new(joined());
    let (id, _, _, claim) = it.running();
    let other = sample::worker_id(901);
    let session = it.join(other);
    let outcome = it.exits(other, session, claim, 1);
    assert!(!puts_execution(&outcome));
    assert_eq!(it.state(id), StateName::Running);
}

#[test]
fn a_terminal_state_never_changes_i3() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    it.exits(worker, session, claim, 3);
    let ended = it.execution(id);
    it.exits(worker, session, claim, 0);
    it.send(Event::LogStored { claim, upto: LogOffset(5) });
    it.tick_after(seconds(100_000));
    assert_eq!(it.execution(id), ended);
}

#[test]
fn the_jobs_own_failure_is_not_tried_again_by_default() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    it.exits(worker, session, claim, 7);
    assert_eq!(it.failure(id).cause, FailureCause::UserError);
    assert!(it.failure(id).message.contains('7'));
    assert_eq!(it.execution(id).attempts[0].end.as_ref().unwrap().exit_code(), Some(7));
}

#[test]
fn an_interrupted_attempt_is_tried_again_after_its_backoff_i4() {
    let mut it = Scene::new(joined());
    let (id, worker, session, claim) = it.running();
    let ending = Ending::Stopped { reason: data_runner_core::execution::StopReason::Interrupted };
    it.reports(worker, session, claim, finished(ending, 0));
    let ExecutionState::Queued { waiting } = it.execution(id).state else { panic!() };
    let WaitingReason::Backoff { until, failure } = waiting.reason else { panic!() };
    assert_eq!((until, failure.cause), (it.now.wall.after(seconds(5)), FailureCause::Interrupted));
    it.tick_after(seconds(4));
    assert_eq!(it.state(id), StateName::Queued);
    it.tick_after(seconds(1));
    let second = it.claim(id);
    assert_eq!(second.attempt.number.0, 2);
    assert_ne!(second.lease, claim.lease);
}

#[test]
fn retries_end_with_their_budget_i4() {
    let mut it = Scene::new(joined());
    let worker = sample::worker_id(1);
    let session = it.join(worker);
    let id = it.submit();
    for _ in 0..4 {
        let claim = it.claim(id);
        let ending = Ending::Stopped { reason: data_runner_core::execution::StopReason::Interrupted };
        it.reports(worker, session, claim, finished(ending, 0));
        // The agent lives all the time.
        for _ in 0..20 {
            it.says(worker, session, AgentMessage::HeartBeat);
            it.tick_after(seconds(30));
        }
    }
    assert_eq!(it.failure(id).cause, FailureCause::Interrupted);
    assert_eq!(it.execution(id).attempts.len(), 4);
}

#[test]
fn a_supervisor_that_comes_back_takes_back_what_runs_i14() {
    let mut it = Scene::new(joined());
    let (id, worker, _, claim) = it.running();
    it.send(Event::LogStored { claim, upto: LogOffset(10) });
    it.restart();
    let (session, outcome) = it.connect(worker, vec![held(claim, reached(Phase::Started))]);
    let SupervisorMessage::Welcome(welcome) = sent(&outcome)[0] else { panic!() };
    assert!(matches!(welcome.verdicts.as_slice(), [(kept, Verdict::Keep { .. })] if *kept == claim));
    it.exits(worker, session, claim, 0);
    assert_eq!(it.state(id), StateName::Success);
    assert_eq!(it.execution(id).attempts.len(), 1);
}

#[test]
fn an_assignment_that_was_lost_on_the_way_is_said_again() {
    let mut it = Scene::new(joined());
    let worker = sample::worker_id(1);
    it.join(worker);
    let id = it.submit();
    let claim = it.claim(id);
    let (_, outcome) = it.connect(worker, Vec::new());
    assert!(sent(&outcome).iter().any(|m| matches!(m, SupervisorMessage::Assign(a) if a.claim == claim)));
    assert_eq!(it.execution(id).attempts.len(), 1, "it is the same attempt");
}

#[test]
fn an_attempt_that_its_agent_had_taken_and_lost_is_never_run_again_there_i2() {
    let mut it = Scene::new(joined());
    let (id, worker, _, claim) = it.running();
    let (_, outcome) = it.connect(worker, Vec::new());
    assert!(!sent(&outcome).iter().any(|m| matches!(m, SupervisorMessage::Assign(a) if a.claim == claim)));
    let end = it.execution(id).attempts[0].end.clone().unwrap();
    assert_eq!(end.failure().unwrap().cause, FailureCause::WorkerLost);
}

#[test]
fn an_agent_is_told_to_stop_what_the_supervisor_does_not_know() {
    let mut it = Scene::new(joined());
    let worker = sample::worker_id(1);
    let foreign = Claim {
        attempt: data_runner_core::id::AttemptId {
            execution: sample::execution_id(5),
            number: data_runner_core::id::AttemptNumber::FIRST,
        },
        lease: sample::lease(5),
    };
    let (_, outcome) = it.connect(worker, vec![held(foreign, reached(Phase::Started))]);
    let SupervisorMessage::Welcome(welcome) = sent(&outcome)[0] else { panic!() };
    assert_eq!(welcome.verdicts, [(foreign, Verdict::Stop)]);
}

#[test]
fn a_newer_session_replaces_the_older_and_the_older_is_ignored() {
    let mut it = Scene::new(joined());
    let (id, worker, older, claim) = it.running();
    let (newer, outcome) = it.connect(worker, vec![held(claim, reached(Phase::Started))]);
    assert!(outcome.effects.contains(&Effect::CloseSession { session: older }));
    it.exits(worker, older, claim, 1);
    assert_eq!(it.state(id), StateName::Running);
    it.send(Event::SessionClosed { worker, session: older });
    it.exits(worker, newer, claim, 0);
    assert_eq!(it.state(id), StateName::Success);
}

#[test]
fn an_agent_that_obeys_a_newer_supervisor_is_left_alone() {
    let mut it = Scene::new(joined());
    let (worker, session) = (sample::worker_id(1), sample::session_id(500));
    it.send(Event::SessionOpened { worker, session });
    let hello = data_runner_core::message::Hello {
        incarnation: 1,
        epoch: data_runner_core::id::Epoch(99),
        facts: sample::agent_facts(),
        attempts: Vec::new(),
    };
    let outcome = it.says(worker, session, AgentMessage::Hello(hello));
    assert_eq!(outcome.effects, [Effect::CloseSession { session }]);
    assert_eq!(it.it.workers().len(), 0);
}

#[test]
fn who_speaks_before_hello_is_sent_away() {
    let mut it = Scene::new(joined());
    let (worker, session) = (sample::worker_id(1), sample::session_id(500));
    it.send(Event::SessionOpened { worker, session });
    let outcome = it.says(worker, session, AgentMessage::HeartBeat);
    assert_eq!(outcome.effects, [Effect::CloseSession { session }]);
}

#[test]
fn heartbeats_keep_a_worker_and_change_nothing_in_the_store() {
    let mut it = Scene::new(joined());
    let (id, worker, session, _) = it.running();
    for _ in 0..100 {
        it.pass(Duration::from_secs(5));
        let outcome = it.says(worker, session, AgentMessage::HeartBeat);
        assert_eq!(outcome.changes, []);
        it.send(Event::Tick);
    }
    assert_eq!(it.state(id), StateName::Running);
}

#[test]
fn what_an_environment_has_is_kept_and_every_further_attempt_and_retry_gets_exactly_that() {
    let mut it = Scene::new(joined());
    let (worker, session) = (sample::worker_id(1), it.join(sample::worker_id(1)));
    let rule = RetryRule { on: vec![FailureCause::UserError], max_attempts: 3, backoff: Backoff::default() };
    let order = Submit { retries: RetryPolicy { rules: vec![rule] }, ..it.order() };
    let id = it.submit_as(order);
    let claim = it.claim(id);
    let status = reached(Phase::EnvironmentReady);
    let told =
        |packages| AgentMessage::WorkerStatus(WorkerStatus { claim, status: status.clone(), packages });
    let stale = Claim { lease: sample::lease(99), ..claim };
    let foreign = WorkerStatus { claim: stale, status: status.clone(), packages: Some(sample::packages()) };
    it.says(worker, session, AgentMessage::WorkerStatus(foreign));
    assert_eq!(it.execution(id).packages(), None, "a stale lease tells nothing (I5)");
    it.says(worker, session, told(Some(sample::packages())));
    let other = PackageLock::of_freeze("3.13.0", "polars==9.9.9\n").unwrap();
    it.says(worker, session, told(Some(Arc::new(other))));
    it.exits(worker, session, claim, 1);
    let outcome = it.tick_after(seconds(6));
    let job = sent(&outcome).into_iter().find_map(|message| match message {
        SupervisorMessage::Assign(assign) => Some(Arc::clone(&assign.job)),
        _ => None,
    });
    let expected = PackageChoice::Lock(sample::packages());
    assert_eq!(job.unwrap().packages, expected, "the first report counts");
    assert_eq!(it.execution(id).job_again().packages, expected);
    assert_eq!(it.execution(id).job.packages, PackageChoice::Worker, "what was asked for stays what it was");
}
