//! Clauses about files that jobs left.

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::artifact::ArtifactOffer;
use data_runner_core::id::Sha256;
use data_runner_core::port::{AgentSession, BlobRef, ByteSource, OnePiece, Retry, Source, TransportError};

use super::{Ends, SampleGate, claim, within};
use crate::sample::worker_id;

fn offer(claimed: u64, path: &str, bytes: &[u8]) -> ArtifactOffer {
    let blob = BlobRef { hash: Sha256::of(bytes), bytes: bytes.len() as u64 };
    ArtifactOffer { claim: claim(claimed), name: "report".parse().unwrap(), path: path.to_owned(), blob }
}

async fn bring(agent: &dyn AgentSession, offer: ArtifactOffer, bytes: Bytes) -> Result<(), TransportError> {
    within(agent.keep_artifact(offer, Box::new(OnePiece::from(bytes)))).await
}

/// The gate gets the file as it was offered, with its bytes; also an empty one, and again.
pub async fn a_file_arrives_as_it_was_brought_however_often(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(1)).await;
    let (first, empty) = (offer(1, "out/ä b.csv", b"a,b"), offer(1, "out/empty", b""));
    bring(&*agent, first.clone(), Bytes::from_static(b"a,b")).await.unwrap();
    bring(&*agent, empty.clone(), Bytes::new()).await.unwrap();
    bring(&*agent, first.clone(), Bytes::from_static(b"a,b")).await.unwrap();
    assert_eq!(ends.kept(), [first.clone(), empty, first]);
}

/// Also in many pieces, and in one that is larger than a message may be.
pub async fn a_large_file_arrives(ends: Ends) {
    struct Blocks(Bytes);

    #[async_trait]
    impl ByteSource for Blocks {
        async fn next(&mut self) -> Result<Option<Bytes>, Source> {
            let piece = self.0.split_to(self.0.len().min(999_983));
            Ok(Some(piece).filter(|piece| !piece.is_empty()))
        }
    }

    let (agent, _) = ends.opened(worker_id(1)).await;
    let (bytes, offered) = (SampleGate::long(), offer(1, "long", &SampleGate::long()));
    within(agent.keep_artifact(offered.clone(), Box::new(Blocks(bytes.clone())))).await.unwrap();
    bring(&*agent, offered.clone(), bytes).await.unwrap();
    assert_eq!(ends.kept(), [offered.clone(), offered]);
}

/// The gate hears which worker brings it, whatever the agent claims; a refusal is for good, and the session goes on.
pub async fn a_file_of_another_attempt_or_worker_is_refused(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(1)).await;
    let (other, _) = ends.opened(worker_id(2)).await;
    let long = SampleGate::long();
    for (agent, claimed) in [(&agent, 7), (&other, 1)] {
        let refused = bring(&**agent, offer(claimed, "long", &long), long.clone()).await.unwrap_err();
        assert!(matches!(refused, TransportError::Refused { .. }), "{refused:?}");
    }
    assert_eq!(ends.kept(), []);
    bring(&*agent, offer(1, "short", b"x"), Bytes::from_static(b"x")).await.unwrap();
}

/// Bytes that are others, too few or too many.
pub async fn a_file_that_is_not_what_was_announced_is_not_kept(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(1)).await;
    for bytes in [&b"abd"[..], b"ab", b"abcd"] {
        let refused = bring(&*agent, offer(1, "short", b"abc"), Bytes::from_static(bytes)).await.unwrap_err();
        assert_eq!(refused.retry(), Retry::Never, "{refused:?}");
    }
    assert_eq!(ends.kept(), []);
}

/// A failing store is not a refusal, and neither is a file that breaks off.
pub async fn a_file_that_cannot_be_kept_now_may_be_brought_again(ends: Ends) {
    struct Broken;

    #[async_trait]
    impl ByteSource for Broken {
        async fn next(&mut self) -> Result<Option<Bytes>, Source> {
            Err("the disk is gone".into())
        }
    }

    let (agent, _) = ends.opened(worker_id(1)).await;
    let error = bring(&*agent, offer(1, "full", b"abc"), Bytes::from_static(b"abc")).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later, "{error:?}");
    let error = within(agent.keep_artifact(offer(1, "short", b"abc"), Box::new(Broken))).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later, "{error:?}");
    assert_eq!(ends.kept(), []);
}
