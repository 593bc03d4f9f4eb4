//! Files that jobs left: which are taken, and when they are forgotten.

use super::{Orchestrator, Turn};
use crate::artifact::{ArtifactRefusal, KeepArtifact};
use crate::event::{Answer, Change, Effect, Rejection};
use crate::id::ArtifactId;
use crate::time::{Deadline, Mono, Timestamp};

impl Orchestrator {
    /// A file of a live attempt, announced or arrived. It is committed before its bytes come, so that what comes can
    /// always be found and removed again, and once more when they are there; before that nobody sees it.
    pub(super) fn keep_artifact(&self, keep: KeepArtifact, turn: &mut Turn<'_>) -> Result<Answer, Rejection> {
        let (worker, claim) = (keep.worker, keep.offer.claim);
        let Some(execution) = self.live_execution(worker, claim) else {
            return Err(ArtifactRefusal::NotYours { worker, claim }.into());
        };
        let now = turn.now.wall;
        let decided = keep.decide(&execution.job.artifacts, || ArtifactId::generate(now, turn.entropy), now);
        let artifact = decided?;
        turn.change(Change::PutArtifact(Box::new(artifact.clone())));
        Ok(Answer::Artifact(Box::new(artifact)))
    }

    /// The bytes of these are gone, unless others need them. One that was offered anew meanwhile has more time, and stays.
    pub(super) fn forget_artifacts(
        artifacts: Vec<ArtifactId>,
        before: Timestamp,
        turn: &mut Turn<'_>,
    ) -> Answer {
        if !artifacts.is_empty() {
            turn.change(Change::ForgetArtifacts { artifacts, before });
        }
        Answer::Forgotten
    }

    pub(super) fn sweep_deadline(&self) -> Deadline {
        let at = self.swept.map_or(Mono::default(), |swept| swept.after(self.policy.sweep_every));
        Deadline { at, why: "artifacts whose time is over" }
    }

    /// Has what is over removed, now and then. What a sweep does not come to, the next one finds.
    pub(super) fn sweep(&mut self, turn: &mut Turn<'_>) {
        if self.sweep_deadline().at <= turn.now.mono {
            self.swept = Some(turn.now.mono);
            turn.effect(Effect::SweepArtifacts { before: turn.now.wall });
        }
    }
}
