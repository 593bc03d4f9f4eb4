use std::sync::Arc;

use data_runner_core::artifact::{
    ARRIVES_WITHIN, Artifact, ArtifactOffer, ArtifactRefusal, ArtifactState, KeepArtifact, MAX_BYTES,
    MAX_FILES, Taken,
};
use data_runner_core::event::{Answer, Change, Effect, Event, Rejection, Request, Submit};
use data_runner_core::id::{Claim, Lease, SessionId, Sha256, WorkerId};
use data_runner_core::port::BlobRef;
use data_runner_core::time::Timestamp;
use data_runner_core::workflow::{ArtifactRule, JobSpec};
use data_runner_testkit::sample;

use crate::scene::{Scene, joined, seconds};

const DAY: u64 = 24 * 3600;

/// A scene in which a job runs whose `out/*.csv` are kept for 30 days.
fn scene() -> (Scene, WorkerId, SessionId, Claim) {
    let mut it = Scene::new(joined());
    let worker = sample::worker_id(1);
    let session = it.join(worker);
    let retain = seconds(30 * DAY);
    let rule = ArtifactRule { name: "report".parse().unwrap(), path: "out/*.csv".parse().unwrap(), retain };
    let job = JobSpec { artifacts: vec![rule], ..sample::job() };
    let order = Submit { job: Arc::new(job), ..it.order() };
    let id = it.submit_as(order);
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    (it, worker, session, claim)
}

fn offer(worker: WorkerId, claim: Claim, path: &str) -> KeepArtifact {
    let blob = BlobRef { hash: Sha256::of(path.as_bytes()), bytes: 10 };
    let offer = ArtifactOffer { claim, name: "report".parse().unwrap(), path: path.to_owned(), blob };
    KeepArtifact { worker, offer, known: None, others: Taken::default(), state: ArtifactState::Coming }
}

impl Scene {
    fn keeps(&mut self, keep: KeepArtifact) -> Result<Artifact, Rejection> {
        let (answer, outcome) = self.request(Request::KeepArtifact(Box::new(keep)));
        match answer {
            Some(Answer::Artifact(artifact)) => {
                assert_eq!(outcome.changes, [Change::PutArtifact(artifact.clone())]);
                Ok(*artifact)
            }
            Some(Answer::Rejected(rejection)) => {
                assert_eq!(outcome.changes, []);
                Err(rejection)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn swept(effects: &[Effect]) -> Vec<Timestamp> {
    let sweeps = effects.iter().filter_map(|effect| match effect {
        Effect::SweepArtifacts { before } => Some(*before),
        _ => None,
    });
    sweeps.collect()
}

#[test]
fn a_file_is_committed_before_it_comes_and_kept_as_long_as_its_workflow_says_once_it_is_there() {
    let (mut it, worker, _, claim) = scene();
    let coming = it.keeps(offer(worker, claim, "out/a.csv")).unwrap();
    let now = it.now.wall;
    assert_eq!((coming.state, coming.kept_until), (ArtifactState::Coming, now.after(ARRIVES_WITHIN)));
    assert!(!coming.is_shown(now));
    it.pass(seconds(60));
    let now = it.now.wall;
    let state = ArtifactState::Kept;
    let again = KeepArtifact { known: Some(coming.clone()), state, ..offer(worker, claim, "out/a.csv") };
    let kept = it.keeps(again).unwrap();
    assert_eq!((kept.id, kept.created_at), (coming.id, coming.created_at), "it is the same file");
    assert_eq!(kept.kept_until, now.after(seconds(30 * DAY)));
    assert!(kept.is_shown(now) && !kept.is_shown(kept.kept_until));
}

#[test]
fn only_what_the_workflow_wants_of_a_live_attempt_is_taken() {
    let (mut it, worker, _, claim) = scene();
    let not_wanted = |refused: Result<Artifact, Rejection>| {
        matches!(refused, Err(Rejection::Artifact(ArtifactRefusal::NotWanted { .. })))
    };
    for path in ["out/a.json", "a.csv", "out/x/a.csv", "out/../out/a.csv", "/out/a.csv", "out/a\n.csv"] {
        assert!(not_wanted(it.keeps(offer(worker, claim, path))), "{path}");
    }
    let mut other = offer(worker, claim, "out/a.csv");
    other.offer.name = "other".parse().unwrap();
    assert!(not_wanted(it.keeps(other)));
    let stale = Claim { lease: Lease::from_uuid(sample::uuid(77)), ..claim };
    for keep in [offer(worker, stale, "out/a.csv"), offer(sample::worker_id(2), claim, "out/a.csv")] {
        let refused = it.keeps(keep);
        assert!(matches!(refused, Err(Rejection::Artifact(ArtifactRefusal::NotYours { .. }))), "{refused:?}");
    }
}

#[test]
fn an_attempt_that_has_ended_leaves_nothing_more() {
    let (mut it, worker, session, claim) = scene();
    it.exits(worker, session, claim, 0);
    let refused = it.keeps(offer(worker, claim, "out/a.csv"));
    assert!(matches!(refused, Err(Rejection::Artifact(ArtifactRefusal::NotYours { .. }))), "{refused:?}");
}

#[test]
fn an_attempt_may_leave_so_many_files_and_bytes_and_no_more() {
    let (mut it, worker, _, claim) = scene();
    for (others, fits) in [
        (Taken { files: MAX_FILES - 1, bytes: 0 }, true),
        (Taken { files: MAX_FILES, bytes: 0 }, false),
        (Taken { files: 1, bytes: MAX_BYTES - 10 }, true),
        (Taken { files: 1, bytes: MAX_BYTES - 9 }, false),
        (Taken { files: 1, bytes: u64::MAX }, false),
    ] {
        let kept = it.keeps(KeepArtifact { others, ..offer(worker, claim, "out/a.csv") });
        assert_eq!(kept.is_ok(), fits, "{others:?}");
    }
}

#[test]
fn what_is_over_is_swept_after_a_start_and_each_hour() {
    let mut it = Scene::new(joined());
    let outcome = it.send(Event::Tick);
    assert_eq!(swept(&outcome.effects), [it.now.wall]);
    let mut count = 0;
    for _ in 0..240 {
        count += swept(&it.tick_after(seconds(60)).effects).len();
    }
    assert_eq!(count, 4);
    it.restart();
    assert_eq!(swept(&it.send(Event::Tick).effects), [it.now.wall], "nothing is remembered of sweeps");
}

#[test]
fn what_was_removed_is_forgotten_unless_it_got_more_time() {
    let (mut it, worker, _, claim) = scene();
    let artifact = it.keeps(offer(worker, claim, "out/a.csv")).unwrap();
    let (artifacts, before) = (vec![artifact.id], artifact.kept_until);
    let (answer, outcome) = it.request(Request::ForgetArtifacts { artifacts: artifacts.clone(), before });
    assert_eq!(answer, Some(Answer::Forgotten));
    assert_eq!(outcome.changes, [Change::ForgetArtifacts { artifacts, before }]);
}
