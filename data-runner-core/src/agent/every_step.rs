//! Every answer about a job against every step at which it may be: what fits is taken, the rest is refused by name and
//! changes nothing.

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
use crate::execution::{Failure, FailureCause};
use crate::log::LogOffset;
use crate::port::JobNews;

/// An agent at each step of attempt 1, and its name.
fn at_every_step() -> Vec<(&'static str, Rig)> {
    let mut fetching = Rig::up(1);
    fetching.hear(assign(claim(1)));
    let mut late = fetching.clone();
    late.job(1, JobStep::CodeDelayed { message: "later".to_owned() });
    let mut preparing = fetching.clone();
    preparing.job(1, JobStep::CodeReady);
    let mut starting = preparing.clone();
    starting.job(1, JobStep::EnvironmentReady { packages: None });
    let mut adopting = starting.clone();
    adopting.job(1, JobStep::Unclear);
    let mut keeping = Rig::running_with_files(1);
    keeping.job(1, ended(0, 10));
    let mut ended = Rig::ended(1, 10);
    let acknowledged = {
        let mut it = ended.clone();
        it.hear(status_ack(1));
        it
    };
    ended.tick();
    let mut leaving = acknowledged.clone();
    leaving.stored(1, 10);
    let mut over = leaving.clone();
    over.job(1, JobStep::FolderRemoved);
    vec![
        ("fetching", fetching),
        ("late", late),
        ("preparing", preparing),
        ("starting", starting),
        ("adopting", adopting),
        ("running", Rig::running(1)),
        ("keeping", keeping),
        ("ended", ended),
        ("acknowledged", acknowledged),
        ("leaving", leaving),
        ("over", over),
        ("unknown", Rig::up(1)),
    ]
}

fn every_answer() -> Vec<(&'static str, JobStep, &'static [&'static str])> {
    let failure = Failure::new(FailureCause::Environment, "no");
    vec![
        ("code ready", JobStep::CodeReady, &["fetching"]),
        ("code late", JobStep::CodeDelayed { message: String::new() }, &["fetching"]),
        ("environment ready", JobStep::EnvironmentReady { packages: None }, &["preparing"]),
        ("started", JobStep::Started, &["starting"]),
        ("impossible", JobStep::Impossible { failure }, &["fetching", "preparing", "starting"]),
        ("halted without a stop", JobStep::Halted, &[]),
        ("unclear", JobStep::Unclear, &["starting"]),
        ("adopted", JobStep::Adopted { running_for: Duration::ZERO }, &["adopting"]),
        ("not found", JobStep::NotFound { message: String::new() }, &["adopting"]),
        ("adopt failed", JobStep::AdoptFailed, &["adopting"]),
        ("log", JobStep::News(JobNews::Log(LogOffset(1))), &["running"]),
        ("ended", ended(0, 1), &["running"]),
        ("files kept", kept(), &["keeping"]),
        ("files late", JobStep::ArtifactsDelayed { message: String::new() }, &["keeping"]),
        ("folder removed", JobStep::FolderRemoved, &["leaving"]),
    ]
}

#[test]
fn an_answer_is_taken_at_its_step_and_refused_at_any_other() {
    for (step, rig) in at_every_step() {
        for (name, answer, fits) in every_answer() {
            let mut it = rig.clone();
            let held: Vec<RunRecord> = it.agent.held().collect();
            let outcome = it.job(1, answer);
            if fits.contains(&step) {
                assert_eq!(outcome.rejections, [], "{name} at {step}");
                continue;
            }
            assert_eq!(outcome.rejections.len(), 1, "{name} at {step}: {outcome:?}");
            assert!(
                outcome.effects.is_empty() && outcome.records.is_empty(),
                "{name} at {step}: {outcome:?}"
            );
            assert_eq!(it.agent.held().collect::<Vec<_>>(), held, "{name} at {step}");
        }
    }
}

#[test]
fn an_acknowledgement_counts_only_for_an_end() {
    for (step, mut it) in at_every_step() {
        let outcome = it.hear(status_ack(1));
        let fits = ["ended", "acknowledged", "leaving"].contains(&step);
        assert_eq!(outcome.rejections.is_empty(), fits, "{step}: {outcome:?}");
    }
}

#[test]
fn an_answer_under_a_stale_lease_is_refused_at_every_step() {
    for (step, mut it) in at_every_step() {
        let stale = Claim { lease: lease(9), ..claim(1) };
        for (name, answer, _) in every_answer() {
            let outcome = it.go(AgentEvent::Job { claim: stale, step: answer });
            assert!(
                outcome.effects.is_empty() && outcome.records.is_empty(),
                "{name} at {step}: {outcome:?}"
            );
            assert_eq!(outcome.rejections.len(), 1, "{name} at {step}");
        }
    }
}
