//! What becomes of the files that a job left.

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
use crate::artifact::KEEP_WITHIN;
use crate::execution::StopReason;
use crate::message::{AgentMessage, AttemptStatus, SupervisorMessage};

/// The warnings of the end that is reported, if one is.
fn warned(outcome: &AgentOutcome) -> Option<Vec<String>> {
    said(outcome).iter().find_map(|message| match message {
        AgentMessage::WorkerStatus(status) => match &status.status {
            AttemptStatus::Finished(report) => Some(report.warnings.clone()),
            AttemptStatus::Reached { .. } => None,
        },
        _ => None,
    })
}

fn keeps(outcome: &AgentOutcome) -> bool {
    outcome.effects.contains(&AgentEffect::KeepArtifacts { claim: claim(1) })
}

fn gives_up(outcome: &AgentOutcome) -> bool {
    outcome.effects.contains(&AgentEffect::GiveUpArtifacts { claim: claim(1) })
}

fn delayed(message: &str) -> JobStep {
    JobStep::ArtifactsDelayed { message: message.to_owned() }
}

/// A rig whose job has ended with this code and whose files are being kept.
fn keeping(code: u8) -> Rig {
    let mut it = Rig::running_with_files(1);
    let outcome = it.job(1, ended(code, 0));
    assert!(keeps(&outcome) && warned(&outcome).is_none(), "{outcome:?}");
    it
}

#[test]
fn an_end_is_reported_when_the_files_are_kept_also_of_a_job_that_failed() {
    for code in [0, 3] {
        let mut it = keeping(code);
        assert_eq!(warned(&it.job(1, kept())), Some(Vec::new()));
        it.hear(status_ack(1));
        let outcome = it.job(1, JobStep::FolderRemoved);
        assert_eq!(outcome.rejections, []);
    }
}

#[test]
fn a_job_that_wants_nothing_kept_ends_at_once() {
    let mut it = Rig::running(1);
    assert_eq!(warned(&it.job(1, ended(0, 0))), Some(Vec::new()));
}

#[test]
fn a_rule_without_files_is_told_of_a_job_that_succeeded_and_not_of_one_that_failed() {
    for (code, warnings) in [(0, 2), (3, 1)] {
        let mut it = keeping(code);
        let unmatched = vec!["report".parse().unwrap()];
        let outcome =
            it.job(1, JobStep::ArtifactsKept { warnings: vec!["one is too large".to_owned()], unmatched });
        assert_eq!(warned(&outcome).unwrap().len(), warnings);
    }
}

#[test]
fn files_that_could_not_be_kept_are_tried_again_until_their_time_is_over() {
    let mut it = keeping(0);
    let mut tries = 1;
    let begun = it.now.mono;
    let outcome = loop {
        assert!(!keeps(&it.job(1, delayed("the disk is full"))), "not at once");
        it.pass(Duration::from_secs(30));
        let outcome = it.tick();
        if !keeps(&outcome) {
            break outcome;
        }
        tries += 1;
    };
    assert!(tries > 10 && it.now.mono.since(begun) >= KEEP_WITHIN);
    assert!(gives_up(&outcome));
    let warnings = warned(&outcome).unwrap();
    assert!(warnings[0].contains("took too long (the disk is full)"), "{warnings:?}");
    assert_eq!(it.job(1, kept()).rejections.len(), 1, "what comes too late changes nothing");
}

#[test]
fn a_try_that_never_answers_is_given_up_too() {
    let mut it = keeping(0);
    assert!(it.until_deadline() <= KEEP_WITHIN);
    it.pass(KEEP_WITHIN);
    let outcome = it.tick();
    assert!(gives_up(&outcome) && warned(&outcome).is_some());
}

#[test]
fn the_time_without_a_supervisor_does_not_count() {
    let mut it = keeping(0);
    it.pass(KEEP_WITHIN / 2);
    it.drop_line();
    it.job(1, delayed("the connection is closed"));
    it.pass(DEAD_MAN / 2);
    assert!(!gives_up(&it.tick()));
    it.reconnect_silently();
    let outcome = it.hear(SupervisorMessage::Welcome(welcome(vec![(claim(1), keep(0))])));
    assert!(!gives_up(&outcome), "{outcome:?}");
    it.pass(KEEP_WITHIN / 2);
    assert!(gives_up(&it.tick()), "but the time before and after it does");
}

#[test]
fn after_a_restart_the_files_are_brought_again() {
    let it = keeping(0);
    assert!(it.agent.held().all(|record| record.ended.is_none()), "the executor tells the end again");
    let mut again = it.restarted();
    again.tick();
    again.job(1, JobStep::Adopted { running_for: Duration::from_secs(1) });
    assert!(!keeps(&again.job(1, ended(0, 0))), "there is no supervisor yet");
    again.reconnect_silently();
    let outcome = again.hear(SupervisorMessage::Welcome(welcome(vec![(claim(1), keep(0))])));
    assert!(keeps(&outcome), "{outcome:?}");
    assert_eq!(warned(&again.job(1, kept())), Some(Vec::new()));
}

#[test]
fn a_cancel_gives_the_rest_up_and_the_job_keeps_its_own_end() {
    let mut it = keeping(0);
    let outcome = it.hear(cancel(1, StopReason::Cancelled));
    assert!(gives_up(&outcome));
    assert!(warned(&outcome).unwrap()[0].contains("cancelled"));
}

#[test]
fn a_supervisor_that_disowned_it_hears_nothing_more() {
    let mut it = keeping(0);
    let outcome = it.hear(cancel(1, StopReason::Disowned));
    assert!(gives_up(&outcome) && warned(&outcome).is_none());
    assert!(outcome.effects.contains(&AgentEffect::RemoveFolder { claim: claim(1) }));
}

#[test]
fn a_machine_that_goes_leaves_half_of_its_time_to_files_and_half_to_the_end() {
    let mut it = keeping(0);
    it.go(AgentEvent::Machine(MachineNotice::Going));
    it.pass(Duration::from_secs(44));
    assert!(!gives_up(&it.tick()));
    it.pass(Duration::from_secs(2));
    let outcome = it.tick();
    assert!(gives_up(&outcome) && warned(&outcome).is_some());
}

#[test]
fn an_agent_that_stops_at_once_leaves_files_as_long_as_last_words() {
    let mut it = keeping(0);
    it.go(AgentEvent::Terminate);
    assert!(!gives_up(&it.tick()), "the first signal waits for what there is");
    it.go(AgentEvent::Terminate);
    it.pass(Duration::from_secs(10));
    assert!(gives_up(&it.tick()));
}

#[test]
fn an_agent_without_a_supervisor_for_too_long_gives_up() {
    let mut it = keeping(0);
    it.drop_line();
    it.job(1, delayed("the connection is closed"));
    it.pass(DEAD_MAN);
    let outcome = it.tick();
    assert!(gives_up(&outcome), "{outcome:?}");
    assert!(outcome.effects.contains(&AgentEffect::End(EndReason::Abandoned)));
}
