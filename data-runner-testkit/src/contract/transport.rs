//! The contract of the Transport, both ends together.
//!
//! ```ignore
//! async fn make(gate: Arc<dyn AgentGate>) -> (Arc<dyn Transport>, Arc<dyn AgentTransport>) { … }
//! data_runner_testkit::transport_contract!(make);
//! ```

mod artifacts;
mod bundles;
mod logs;
mod said;
mod sessions;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::artifact::ArtifactOffer;
use data_runner_core::id::{AttemptId, AttemptNumber, Claim, SessionId, Sha256, WorkerId};
use data_runner_core::message::AgentMessage;
use data_runner_core::port::{
    AgentGate, AgentSession, AgentTransport, ArtifactRefused, BlobError, BlobLink, Bundle, BundleForm,
    BundleRefused, ByteSource, Checked, SessionEvent, Transport, TransportEvent, WantedBundle,
};

pub use artifacts::*;
pub use bundles::*;
pub use logs::*;
pub use said::{agent_messages, log_acks, log_appends, supervisor_messages};
pub use sessions::*;

use crate::sample;

/// What a clause gets: both ends of one line, the supervisor's with a [`SampleGate`].
pub struct Ends {
    /// The supervisor's end.
    pub supervisor: Arc<dyn Transport>,
    /// The agents' end.
    pub agent: Arc<dyn AgentTransport>,
    gate: Arc<SampleGate>,
}

impl Ends {
    /// The ends that an adapter made with that gate.
    pub fn new(
        (supervisor, agent): (Arc<dyn Transport>, Arc<dyn AgentTransport>),
        gate: Arc<SampleGate>,
    ) -> Self {
        Self { supervisor, agent, gate }
    }

    /// The files that the gate took.
    fn kept(&self) -> Vec<ArtifactOffer> {
        self.gate.kept.lock().expect("no holder panics").clone()
    }

    /// Connects the agent of that worker and hears of it at the supervisor's end.
    async fn opened(&self, worker: WorkerId) -> (Box<dyn AgentSession>, SessionId) {
        let session = within(self.agent.connect(worker)).await.expect("the supervisor can be reached");
        let event = self.event().await;
        assert_eq!((event.worker, &event.what), (worker, &SessionEvent::Opened));
        (session, event.session)
    }

    /// The next event at the supervisor's end.
    async fn event(&self) -> TransportEvent {
        within(self.supervisor.receive()).await.expect("the transport is open")
    }

    /// The next message at the supervisor's end.
    async fn message(&self) -> (SessionId, AgentMessage) {
        let event = self.event().await;
        match event.what {
            SessionEvent::Message(message) => (event.session, *message),
            other @ (SessionEvent::Opened | SessionEvent::Closed) => panic!("no message but {other:?}"),
        }
    }
}

/// What must come, must come within half a minute; a minute of silence fails the test rather than hangs it.
async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("nothing came within 30 s")
}

/// The first attempt of execution number `n`, under lease number `n`.
pub fn claim(n: u64) -> Claim {
    Claim {
        attempt: AttemptId { execution: sample::execution_id(n), number: AttemptNumber::FIRST },
        lease: sample::lease(n),
    }
}

/// A gate with some bundles: worker 1 may have a short one for claim 1 and one of 20 MB for claim 2; claim 3's cannot be
/// read; for claim 4 there is a link, and the short one for who takes none; everything else is refused.
#[derive(Debug, Default)]
pub struct SampleGate {
    /// The files that it took, each as it was offered: those of worker 1 for claim 1 whose bytes were as announced.
    pub kept: std::sync::Mutex<Vec<ArtifactOffer>>,
}

impl SampleGate {
    /// The bundle of claim 1.
    pub fn short() -> Bytes {
        Bytes::from_static(b"a short bundle")
    }

    /// The bundle of claim 2: 20 MB, no two thousand bytes of it alike.
    pub fn long() -> Bytes {
        let mut bytes = vec![0; 20_000_000];
        for (block, n) in bytes.chunks_exact_mut(1000).zip(1_u64..) {
            block.fill(n.to_le_bytes()[0]);
            block[..8].copy_from_slice(&n.to_be_bytes());
        }
        bytes.into()
    }

    /// The link of claim 4.
    pub fn link() -> BlobLink {
        BlobLink { url: "https://bucket.example.com/code?signature=secret".to_owned() }
    }

    /// The hash to ask for the bundle of claim `n` with. Only the gate looks at it here.
    pub fn hash(n: u8) -> Sha256 {
        Sha256::of(&[n])
    }
}

#[async_trait]
impl AgentGate for SampleGate {
    async fn bundle(&self, worker: WorkerId, wanted: WantedBundle) -> Result<Bundle, BundleRefused> {
        let asks_for = |n: u8| {
            wanted.claim == claim(n.into()) && worker == sample::worker_id(1) && wanted.hash == Self::hash(n)
        };
        if asks_for(1) {
            Ok(Bundle::Bytes(Self::short()))
        } else if asks_for(2) {
            Ok(Bundle::Bytes(Self::long()))
        } else if asks_for(4) {
            Ok(match wanted.form {
                BundleForm::Any => Bundle::Link(Self::link()),
                BundleForm::Bytes => Bundle::Bytes(Self::short()),
            })
        } else if asks_for(3) {
            Err(BundleRefused::Unavailable("the disk is gone".into()))
        } else {
            Err(BundleRefused::NotYours { worker, claim: wanted.claim })
        }
    }

    async fn keep_artifact(
        &self,
        worker: WorkerId,
        offer: ArtifactOffer,
        content: Box<dyn ByteSource>,
    ) -> Result<(), ArtifactRefused> {
        if worker != sample::worker_id(1) || offer.claim != claim(1) {
            return Err(ArtifactRefused::Refused { message: "it is not yours".to_owned() });
        }
        if offer.path == "full" {
            return Err(ArtifactRefused::Unavailable("the disk is full".into()));
        }
        let mut content = Checked::new(content, offer.blob.clone());
        let mut bytes = 0;
        loop {
            match content.next().await {
                Ok(Some(piece)) => bytes += piece.len() as u64,
                Ok(None) => break,
                Err(error @ BlobError::Different(_)) => {
                    return Err(ArtifactRefused::Refused { message: error.to_string() });
                }
                Err(error) => return Err(ArtifactRefused::Unavailable(error.into())),
            }
        }
        assert_eq!(bytes, offer.blob.bytes);
        self.kept.lock().expect("no holder panics").push(offer);
        Ok(())
    }
}

/// Runs the contract of the Transport on what `$make` makes: an
/// `async fn(Arc<dyn AgentGate>) -> (Arc<dyn Transport>, Arc<dyn AgentTransport>)`.
#[macro_export]
macro_rules! transport_contract {
    ($make:expr) => {
        $crate::transport_contract! { $make =>
            a_session_opens_once_and_closes_once
            messages_arrive_in_order_both_ways
            every_message_of_an_agent_arrives_as_it_was_said
            every_message_of_the_supervisor_arrives_as_it_was_said
            receive_is_cancel_safe
            two_workers_speak_at_once
            a_reconnect_is_a_new_session
            a_send_to_a_session_that_is_gone_is_closed
            an_agent_hears_that_its_session_was_closed
            a_stale_session_is_closed_and_the_newer_one_lives
            a_stuck_session_does_not_block_others
            shut_down_closes_every_session_and_takes_no_new_ones
            every_piece_of_log_arrives_as_it_was_sent
            every_acknowledgement_arrives_as_it_was_sent
            logs_arrive_in_order_and_no_more_at_once_than_asked_for
            receiving_logs_is_cancel_safe
            a_flood_of_logs_delays_no_message
            acknowledgements_reach_the_agent_whose_log_it_is
            the_code_of_a_live_attempt_is_fetched
            a_large_bundle_is_fetched
            the_code_of_another_attempt_is_refused
            the_code_of_another_worker_is_refused
            code_that_cannot_be_read_now_may_be_asked_for_again
            a_link_is_given_to_who_takes_one_and_bytes_to_who_does_not
            a_file_arrives_as_it_was_brought_however_often
            a_large_file_arrives
            a_file_of_another_attempt_or_worker_is_refused
            a_file_that_is_not_what_was_announced_is_not_kept
            a_file_that_cannot_be_kept_now_may_be_brought_again
        }
    };
    ($make:expr => $($clause:ident)*) => {$(
        #[tokio::test]
        async fn $clause() {
            let gate = ::std::sync::Arc::new($crate::contract::transport::SampleGate::default());
            let ends = $crate::contract::transport::Ends::new($make(gate.clone()).await, gate);
            $crate::contract::transport::$clause(ends).await;
        }
    )*};
}
