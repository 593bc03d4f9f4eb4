//! Files that jobs left: taken from agents, given to people, and removed when their time is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use data_runner_core::artifact::{Artifact, ArtifactOffer, ArtifactState, KeepArtifact, Taken};
use data_runner_core::event::{Answer, Request};
use data_runner_core::id::{ArtifactId, Sha256, WorkerId};
use data_runner_core::port::{ArtifactRefused, BlobError, BlobStore, ByteSource};
use data_runner_core::time::Timestamp;

use super::{RequestError, Shared};
use crate::chain::chain;

/// How many files are looked at before what was removed of them is forgotten.
const SWEPT_AT_ONCE: u32 = 500;

/// What taking and removing files need.
pub(crate) struct Artifacts {
    /// Where their bytes are. Nothing else is there: what is removed here is no code.
    pub(crate) store: Arc<dyn BlobStore>,
    /// What an attempt has is looked up and added to in one go.
    offers: tokio::sync::Mutex<()>,
    busy: Busy,
}

impl Artifacts {
    pub(crate) fn new(store: Arc<dyn BlobStore>) -> Self {
        Self { store, offers: tokio::sync::Mutex::default(), busy: Busy::default() }
    }
}

/// Bytes that come or go at this moment: those that come are not removed, and those that go do not come.
#[derive(Default)]
struct Busy(Mutex<BTreeMap<Sha256, Traffic>>);

enum Traffic {
    Coming { times: usize },
    Going,
}

/// Ends the traffic of one hash.
struct Passing<'a> {
    busy: &'a Busy,
    hash: Sha256,
}

impl Busy {
    /// `None`: they are being removed.
    fn coming(&self, hash: &Sha256) -> Option<Passing<'_>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.entry(hash.clone()).or_insert(Traffic::Coming { times: 0 }) {
            Traffic::Coming { times } => *times += 1,
            Traffic::Going => return None,
        }
        Some(Passing { busy: self, hash: hash.clone() })
    }

    /// `None`: they are coming, or being removed already.
    fn going(&self, hash: &Sha256) -> Option<Passing<'_>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.contains_key(hash) {
            return None;
        }
        all.insert(hash.clone(), Traffic::Going);
        Some(Passing { busy: self, hash: hash.clone() })
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        let mut all = self.busy.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&self.hash) {
            Some(Traffic::Coming { times }) if *times > 1 => *times -= 1,
            Some(Traffic::Coming { .. } | Traffic::Going) | None => drop(all.remove(&self.hash)),
        }
    }
}

impl Shared {
    /// Keeps a file of a live attempt of that worker. It is announced first, so that its bytes can be found whatever
    /// becomes of this process, and shown only when they are there.
    pub(super) async fn keep_artifact(
        &self,
        worker: WorkerId,
        offer: ArtifactOffer,
        mut content: Box<dyn ByteSource>,
    ) -> Result<(), ArtifactRefused> {
        let Some(_passing) = self.artifacts.busy.coming(&offer.blob.hash) else {
            return Err(ArtifactRefused::Unavailable("the same bytes are being removed".into()));
        };
        let announced = {
            let _one = self.artifacts.offers.lock().await;
            let (known, others) = self.looked_up(&offer).await?;
            if known.as_ref().is_some_and(|it| it.state == ArtifactState::Kept && it.blob == offer.blob) {
                // Brought again, since the answer was lost: all of it is taken, as whoever brings it expects.
                while content.next().await.map_err(ArtifactRefused::Unavailable)?.is_some() {}
                return Ok(());
            }
            let keep = KeepArtifact { worker, offer, known, others, state: ArtifactState::Coming };
            (self.decided(keep.clone()).await?, keep)
        };
        let (artifact, keep) = announced;
        let put = self.artifacts.store.put_pieces(artifact.blob.clone(), content).await;
        put.map_err(|error| match error {
            BlobError::Different(_) => ArtifactRefused::Refused { message: error.to_string() },
            BlobError::NotFound(_)
            | BlobError::Corrupt(_)
            | BlobError::Broken(_)
            | BlobError::Unavailable(_) => ArtifactRefused::Unavailable(error.into()),
        })?;
        let arrived = KeepArtifact { known: Some(artifact), state: ArtifactState::Kept, ..keep };
        self.decided(arrived).await.map(drop)
    }

    /// What is known of a file that is offered, and of all others of its attempt.
    async fn looked_up(&self, offer: &ArtifactOffer) -> Result<(Option<Artifact>, Taken), ArtifactRefused> {
        let attempt = offer.claim.attempt;
        let all = self.catalog.artifacts(attempt.execution).await;
        let all = all.map_err(|error| ArtifactRefused::Unavailable(error.into()))?;
        let of_attempt = all.into_iter().filter(|artifact| artifact.attempt == attempt);
        let (mut same, others): (Vec<Artifact>, Vec<Artifact>) =
            of_attempt.partition(|it| it.name == offer.name && it.path == offer.path);
        let taken = others.iter().fold(Taken::default(), |taken, it| taken.and(it.blob.bytes));
        Ok((same.pop(), taken))
    }

    async fn decided(&self, keep: KeepArtifact) -> Result<Artifact, ArtifactRefused> {
        match self.ask(Request::KeepArtifact(Box::new(keep))).await {
            Ok(Answer::Artifact(artifact)) => Ok(*artifact),
            Ok(Answer::Rejected(rejection)) => {
                Err(ArtifactRefused::Refused { message: rejection.to_string() })
            }
            other => super::handle::unexpected(other)
                .map_err(|error: RequestError| ArtifactRefused::Unavailable(error.into())),
        }
    }

    /// Removes the bytes of files that are over, unless others have the same, and has the files forgotten. What fails is
    /// left for the next sweep.
    pub(super) async fn sweep_artifacts(&self, before: Timestamp) {
        loop {
            let over = match self.catalog.artifacts_over(before, SWEPT_AT_ONCE).await {
                Ok(over) => over,
                Err(error) => return tracing::warn!(error = chain(&error), "artifacts cannot be looked up"),
            };
            let mut gone: Vec<ArtifactId> = Vec::new();
            for artifact in over {
                match self.remove_bytes(&artifact.blob.hash, before).await {
                    Ok(Removed::Done) => gone.push(artifact.id),
                    Ok(Removed::Busy) => {}
                    Err(error) => {
                        tracing::warn!(artifact = %artifact.id, error = chain(&*error), "an artifact stays for now");
                    }
                }
            }
            // What stays would be found again at once.
            if gone.is_empty() || self.forget(gone, before).await.is_err() {
                return;
            }
        }
    }

    async fn forget(&self, artifacts: Vec<ArtifactId>, before: Timestamp) -> Result<(), RequestError> {
        match self.ask(Request::ForgetArtifacts { artifacts, before }).await {
            Ok(Answer::Forgotten) => Ok(()),
            other => super::handle::unexpected(other),
        }
    }

    async fn remove_bytes(
        &self,
        hash: &Sha256,
        before: Timestamp,
    ) -> Result<Removed, Box<dyn std::error::Error + Send + Sync>> {
        let Some(_passing) = self.artifacts.busy.going(hash) else {
            return Ok(Removed::Busy);
        };
        if !self.catalog.artifact_bytes_needed(hash, before).await? {
            self.artifacts.store.remove(hash).await?;
        }
        Ok(Removed::Done)
    }
}

/// What became of bytes.
enum Removed {
    /// They are gone, or others need them.
    Done,
    /// They come or go at this moment.
    Busy,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_comes_is_not_removed_and_what_goes_does_not_come() {
        let (busy, hash, other) = (Busy::default(), Sha256::of(b"a"), Sha256::of(b"b"));
        let (first, second) = (busy.coming(&hash).unwrap(), busy.coming(&hash).unwrap());
        assert!(busy.going(&hash).is_none());
        drop(first);
        assert!(busy.going(&hash).is_none(), "the second still comes");
        drop(second);
        let going = busy.going(&hash).unwrap();
        assert!(busy.coming(&hash).is_none() && busy.going(&hash).is_none());
        assert!(busy.coming(&other).is_some());
        drop(going);
        assert!(busy.coming(&hash).is_some());
    }
}
