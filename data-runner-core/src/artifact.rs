//! Files that a job left and that are kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{ArtifactId, ArtifactName, AttemptId, Claim, WorkerId};
use crate::port::BlobRef;
use crate::time::Timestamp;
use crate::workflow::{ArtifactRule, wrong_in_folder};

/// How many files of one attempt are kept.
pub const MAX_FILES: usize = 1_000;

/// How many bytes of one attempt are kept, all its files together: also the most that one object of S3 can take at once.
pub const MAX_BYTES: u64 = 5 << 30;

/// How long an agent tries to have an attempt's files kept while a supervisor is there.
pub const KEEP_WITHIN: Duration = Duration::from_secs(10 * 60);

/// How long a file may take to come after it was announced, before what has come of it is removed. Much longer than an
/// agent tries.
pub const ARRIVES_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// A file that a job left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its id.
    pub id: ArtifactId,
    /// The attempt that left it.
    pub attempt: AttemptId,
    /// The name that the workflow gives it, and perhaps others of the attempt.
    pub name: ArtifactName,
    /// Its path in the job's folder, with `/` between.
    pub path: String,
    /// Its bytes.
    pub blob: BlobRef,
    /// Whether they have come.
    pub state: ArtifactState,
    /// When it was announced.
    pub created_at: Timestamp,
    /// When it is forgotten.
    pub kept_until: Timestamp,
}

/// How far an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactState {
    /// Its bytes come, or did not: it is shown to nobody.
    Coming,
    /// It is there.
    Kept,
}

impl Artifact {
    /// Whether people may see it.
    pub fn is_shown(&self, now: Timestamp) -> bool {
        match self.state {
            ArtifactState::Coming => false,
            ArtifactState::Kept => now < self.kept_until,
        }
    }
}

/// What an agent wants to have kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactOffer {
    /// Of this attempt of its.
    pub claim: Claim,
    /// The name of the rule that it matches.
    pub name: ArtifactName,
    /// Its path in the job's folder.
    pub path: String,
    /// Its bytes.
    pub blob: BlobRef,
}

/// An offer on its way to the Orchestrator, with what is known of the attempt's other files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepArtifact {
    /// The worker whose agent offers it.
    pub worker: WorkerId,
    /// What it offers.
    pub offer: ArtifactOffer,
    /// What the same attempt offered under that name and path before.
    pub known: Option<Artifact>,
    /// Everything else of the attempt.
    pub others: Taken,
    /// Whether its bytes have come.
    pub state: ArtifactState,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// How many files.
    pub files: usize,
    /// How many bytes, all together.
    pub bytes: u64,
}

impl Taken {
    /// With one more file.
    #[must_use]
    pub const fn and(self, bytes: u64) -> Self {
        Self { files: self.files.saturating_add(1), bytes: self.bytes.saturating_add(bytes) }
    }

    /// Whether one attempt may have so much.
    pub const fn fits(self) -> bool {
        self.files <= MAX_FILES && self.bytes <= MAX_BYTES
    }
}

/// Why a file is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactRefusal {
    /// It is not the live attempt of that worker.
    #[error("{claim} is not a live attempt of worker {worker}")]
    NotYours {
        /// Who asked.
        worker: WorkerId,
        /// For what.
        claim: Claim,
    },
    /// The workflow does not want it.
    #[error("the workflow keeps no `{path}` as `{name}`")]
    NotWanted {
        /// The name.
        name: ArtifactName,
        /// The path.
        path: String,
    },
    /// The attempt has too much already.
    #[error("the attempt would have more than {MAX_FILES} files or {} GiB", MAX_BYTES >> 30)]
    TooMuch,
}

impl KeepArtifact {
    /// The artifact that it makes, by the rules of its job.
    ///
    /// # Errors
    /// The job does not want it, or has too much.
    pub fn decide(
        self,
        rules: &[ArtifactRule],
        new: impl FnOnce() -> ArtifactId,
        now: Timestamp,
    ) -> Result<Artifact, ArtifactRefusal> {
        let ArtifactOffer { claim, name, path, blob } = self.offer;
        let rule = rules.iter().find(|rule| rule.name == name);
        let rule = rule.filter(|rule| wrong_in_folder(&path).is_none() && rule.path.matches(&path));
        let Some(rule) = rule else { return Err(ArtifactRefusal::NotWanted { name, path }) };
        if !self.others.and(blob.bytes).fits() {
            return Err(ArtifactRefusal::TooMuch);
        }
        let kept_for = match self.state {
            ArtifactState::Coming => ARRIVES_WITHIN,
            ArtifactState::Kept => rule.retain,
        };
        let (id, created_at) = match self.known {
            Some(known) => (known.id, known.created_at),
            None => (new(), now),
        };
        let (attempt, state, kept_until) = (claim.attempt, self.state, now.after(kept_for));
        Ok(Artifact { id, attempt, name, path, blob, state, created_at, kept_until })
    }
}
