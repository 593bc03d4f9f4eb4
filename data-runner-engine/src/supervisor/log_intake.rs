//! The logs' own path: from the transport to the store and back as acknowledgements, past the Orchestrator.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_runner_core::event::Event;
use data_runner_core::id::{Claim, SessionId};
use data_runner_core::message::{LogAck, LogAppend, LogOutcome};
use data_runner_core::port::{Transport, TransportError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Shared;

/// The most chunks that are stored in one go.
const BATCH: usize = 64;

pub(super) async fn run(
    shared: Arc<Shared>,
    transport: Arc<dyn Transport>,
    reports: mpsc::UnboundedSender<Event>,
    stop: CancellationToken,
) {
    loop {
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            received = transport.receive_log(BATCH) => received,
        };
        match received {
            Ok(appends) => store(&shared, &*transport, &reports, appends).await,
            Err(TransportError::Closed) => return,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a log was not understood");
            }
        }
    }
}

async fn store(
    shared: &Shared,
    transport: &dyn Transport,
    reports: &mpsc::UnboundedSender<Event>,
    appends: Vec<(SessionId, LogAppend)>,
) {
    let (sessions, appends): (Vec<SessionId>, Vec<LogAppend>) = appends.into_iter().unzip();
    let bytes: usize = appends.iter().map(|append| append.chunk.payload.len()).sum();
    let acks = match shared.logs.append(appends).await {
        Ok(acks) => acks,
        Err(error) => {
            // Nothing is acknowledged. When they come back the agents go on from what is stored.
            tracing::error!(error = &error as &dyn std::error::Error, "logs could not be stored");
            for session in sessions.into_iter().collect::<std::collections::BTreeSet<_>>() {
                transport.close(session).await;
            }
            return;
        }
    };
    metrics::counter!("data_runner_log_bytes_total").increment(bytes as u64);
    for (ack, session) in last_acks(sessions, acks) {
        if let LogOutcome::Stored { upto } = ack.outcome {
            shared.log_growth.announce(ack.claim.attempt);
            drop(reports.send(Event::LogStored { claim: ack.claim, upto }));
        }
        if let Err(error) = transport.send_log_ack(session, ack).await {
            tracing::debug!(%session, error = &error as &dyn std::error::Error, "an acknowledgement was not taken");
        }
    }
}

/// Of the acknowledgements of one attempt the last says it all.
fn last_acks(sessions: Vec<SessionId>, acks: Vec<LogAck>) -> Vec<(LogAck, SessionId)> {
    let mut last: BTreeMap<(SessionId, Claim), LogAck> = BTreeMap::new();
    for (session, ack) in sessions.into_iter().zip(acks) {
        last.insert((session, ack.claim), ack);
    }
    last.into_iter().map(|((session, _), ack)| (ack, session)).collect()
}
