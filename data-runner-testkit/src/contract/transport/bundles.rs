//! Clauses about code.

use data_runner_core::port::{AgentSession, Bundle, BundleForm, Retry, TransportError, WantedBundle};

use super::{Ends, SampleGate, claim, within};
use crate::sample::worker_id;

/// Asks for the bundle of claim `claimed` by the hash of number `hashed`.
async fn fetch(
    agent: &dyn AgentSession,
    (claimed, hashed): (u64, u8),
    form: BundleForm,
) -> Result<Bundle, TransportError> {
    let hash = SampleGate::hash(hashed);
    within(agent.fetch_bundle(WantedBundle { claim: claim(claimed), hash, form })).await
}

/// An agent gets exactly the bytes that the gate gives.
pub async fn the_code_of_a_live_attempt_is_fetched(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(1)).await;
    for form in [BundleForm::Any, BundleForm::Bytes] {
        assert_eq!(fetch(&*agent, (1, 1), form).await.unwrap(), Bundle::Bytes(SampleGate::short()));
    }
}

/// Also when they are many.
pub async fn a_large_bundle_is_fetched(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(1)).await;
    let fetched = fetch(&*agent, (2, 2), BundleForm::Bytes).await.unwrap();
    assert!(fetched == Bundle::Bytes(SampleGate::long()), "bytes differ");
}

/// A claim that the gate refuses gives `Refused`, and the session goes on.
pub async fn the_code_of_another_attempt_is_refused(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(1)).await;
    let refused = fetch(&*agent, (7, 1), BundleForm::Any).await.unwrap_err();
    assert!(matches!(refused, TransportError::Refused { .. }), "{refused:?}");
    assert!(fetch(&*agent, (1, 1), BundleForm::Any).await.is_ok());
}

/// The gate hears which worker asks, whatever the agent claims.
pub async fn the_code_of_another_worker_is_refused(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(2)).await;
    let refused = fetch(&*agent, (1, 1), BundleForm::Any).await.unwrap_err();
    assert!(matches!(refused, TransportError::Refused { .. }), "{refused:?}");
}

/// A failing blob store is not a refusal.
pub async fn code_that_cannot_be_read_now_may_be_asked_for_again(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(1)).await;
    let error = fetch(&*agent, (3, 3), BundleForm::Any).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later, "{error:?}");
}

/// The link as the gate gives it; who asks for bytes never sees one.
pub async fn a_link_is_given_to_who_takes_one_and_bytes_to_who_does_not(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(1)).await;
    let any = fetch(&*agent, (4, 4), BundleForm::Any).await.unwrap();
    assert_eq!(any, Bundle::Link(SampleGate::link()));
    let bytes = fetch(&*agent, (4, 4), BundleForm::Bytes).await.unwrap();
    assert_eq!(bytes, Bundle::Bytes(SampleGate::short()));
}
