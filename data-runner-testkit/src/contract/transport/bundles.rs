//! Clauses about code.

use data_runner_core::port::{Retry, TransportError};

use super::{Ends, SampleGate, claim, within};
use crate::sample::worker_id;

/// An agent gets exactly the bytes that the gate gives.
pub async fn the_code_of_a_live_attempt_is_fetched(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(1)).await;
    let bundle = SampleGate::short();
    assert_eq!(within(agent.fetch_bundle(claim(1), &SampleGate::hash(1))).await.unwrap(), bundle);
}

/// Also when they are many.
pub async fn a_large_bundle_is_fetched(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(1)).await;
    let bundle = SampleGate::long();
    let fetched = within(agent.fetch_bundle(claim(2), &SampleGate::hash(2))).await.unwrap();
    assert_eq!(fetched.len(), bundle.len());
    assert!(fetched == bundle, "bytes differ");
}

/// A claim that the gate refuses gives `Refused`, and the session goes on.
pub async fn the_code_of_another_attempt_is_refused(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(1)).await;
    let hash = SampleGate::hash(1);
    let refused = within(agent.fetch_bundle(claim(7), &hash)).await.unwrap_err();
    assert!(matches!(refused, TransportError::Refused { .. }), "{refused:?}");
    assert!(within(agent.fetch_bundle(claim(1), &hash)).await.is_ok());
}

/// The gate hears which worker asks, whatever the agent claims.
pub async fn the_code_of_another_worker_is_refused(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(2)).await;
    let refused = within(agent.fetch_bundle(claim(1), &SampleGate::hash(1))).await.unwrap_err();
    assert!(matches!(refused, TransportError::Refused { .. }), "{refused:?}");
}

/// A failing blob store is not a refusal.
pub async fn code_that_cannot_be_read_now_may_be_asked_for_again(ends: Ends) {
    let (agent, _) = ends.opened(worker_id(1)).await;
    let error = within(agent.fetch_bundle(claim(3), &SampleGate::hash(3))).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later, "{error:?}");
}
