//! What an agent does when its machine goes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unused_must_use
)]

use std::time::Duration;

use super::sample::*;
use super::*;
use crate::execution::StopReason;
use crate::message::{AgentMessage, SupervisorMessage};

fn at_risk() -> AgentEvent {
    AgentEvent::Machine(MachineNotice::AtRisk)
}

fn going() -> AgentEvent {
    AgentEvent::Machine(MachineNotice::Going)
}

#[test]
fn a_machine_at_risk_takes_no_more_work_and_its_job_goes_on() {
    let mut it = Rig::running(2);
    let outcome = it.go(at_risk());
    assert_eq!(said(&outcome), [AgentMessage::Draining]);
    assert!(!outcome.effects.iter().any(|effect| matches!(effect, AgentEffect::Stop { .. })));
    assert_eq!(it.go(at_risk()).effects, [], "it is said once");
    let declined = said(&it.hear(assign(claim(2))));
    assert!(matches!(&declined[..], [AgentMessage::WorkerStatus(status)] if status.claim == claim(2)));
    it.job(1, ended(0, 0));
    it.hear(status_ack(1));
    let outcome = it.job(1, JobStep::FolderRemoved);
    assert!(outcome.effects.contains(&AgentEffect::End(EndReason::Drained)), "{outcome:?}");
}

#[test]
fn a_machine_that_goes_stops_its_job_and_leaves_when_all_is_delivered() {
    let mut it = Rig::running(1);
    let outcome = it.go(going());
    assert!(outcome.effects.contains(&stop(1, StopReason::Interrupted)), "{outcome:?}");
    assert_eq!(said(&outcome), [AgentMessage::Draining]);
    let report = it.job(1, stopped(StopReason::Interrupted));
    assert!(matches!(&said(&report)[..], [AgentMessage::WorkerStatus(status)] if status.claim == claim(1)));
    it.hear(status_ack(1));
    let outcome = it.job(1, JobStep::FolderRemoved);
    assert!(outcome.effects.contains(&AgentEffect::End(EndReason::Drained)), "{outcome:?}");
}

#[test]
fn a_machine_that_goes_looks_for_its_supervisor_for_ninety_seconds_and_no_longer() {
    let mut it = Rig::running(1);
    it.drop_line();
    it.go(going());
    it.job(1, stopped(StopReason::Interrupted));
    it.reconnect_silently();
    it.drop_line();
    it.pass(Duration::from_secs(89).saturating_sub(Duration::from_secs(6)));
    assert!(!it.tick().effects.iter().any(|effect| matches!(effect, AgentEffect::End(_))));
    it.pass(Duration::from_secs(10));
    assert!(it.tick().effects.contains(&AgentEffect::End(EndReason::Stopped)));
}

#[test]
fn a_signal_changes_nothing_for_a_machine_that_goes() {
    let mut it = Rig::running(1);
    it.go(going());
    for event in [AgentEvent::Terminate, AgentEvent::Terminate, going(), at_risk()] {
        assert_eq!(it.go(event).effects, []);
    }
}

/// One whose machine ends after so long.
fn with_an_end(after: Duration) -> Rig {
    let mut it = Rig::new(1);
    it.agent = Agent::recover(
        it.agent.identity,
        Vec::new(),
        it.agent.facts.clone(),
        AgentPolicy { machine_ends_at: Some(it.now.wall.after(after)), ..it.agent.policy },
        it.now,
    );
    it
}

#[test]
fn at_the_end_of_its_machine_an_agent_stops_its_job_in_time_to_deliver_its_log() {
    let mut it = with_an_end(Duration::from_secs(3600));
    let begun = it.now.mono;
    it.reconnect_silently();
    it.hear(SupervisorMessage::Welcome(welcome(vec![])));
    it.hear(assign(claim(1)));
    for step in [JobStep::CodeReady, JobStep::EnvironmentReady { packages: None }, JobStep::Started] {
        it.job(1, step);
    }
    it.pass(Duration::from_secs(3600 - 91).saturating_sub(it.now.mono.since(begun)));
    assert!(!it.tick().effects.contains(&stop(1, StopReason::Interrupted)));
    it.pass(Duration::from_secs(1));
    assert!(it.tick().effects.contains(&stop(1, StopReason::Interrupted)));
    it.job(1, stopped(StopReason::Interrupted));
    it.drop_line();
    it.pass(Duration::from_secs(90));
    assert!(it.tick().effects.contains(&AgentEffect::End(EndReason::Stopped)));
}

#[test]
fn an_agent_whose_machine_ends_waits_for_its_supervisor_until_then() {
    let mut it = with_an_end(Duration::from_secs(10 * 3600));
    it.reconnect_silently();
    it.hear(SupervisorMessage::Welcome(welcome(vec![])));
    it.drop_line();
    it.pass(Duration::from_secs(9 * 3600));
    assert!(!it.tick().effects.iter().any(|effect| matches!(effect, AgentEffect::End(_))));
}

#[test]
fn an_agent_that_never_had_a_supervisor_ends_long_before_its_machine() {
    let mut it = with_an_end(Duration::from_secs(10 * 3600));
    it.pass(it.agent.policy.dead_man);
    assert!(it.tick().effects.contains(&AgentEffect::End(EndReason::Abandoned)));
}

#[test]
fn a_machine_with_a_short_life_is_left_most_of_it() {
    let mut it = with_an_end(Duration::from_secs(40));
    it.pass(Duration::from_secs(29));
    assert!(!it.tick().effects.iter().any(|effect| matches!(effect, AgentEffect::End(_))));
    it.pass(Duration::from_secs(1));
    assert!(it.tick().effects.contains(&AgentEffect::End(EndReason::Drained)), "nothing is held");
}
