//! Brings what agents say from the transport to the loop.

use std::sync::Arc;

use data_runner_core::port::{Transport, TransportError, TransportEvent};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(super) async fn run(
    transport: Arc<dyn Transport>,
    sessions: mpsc::Sender<TransportEvent>,
    stop: CancellationToken,
) {
    loop {
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            received = transport.receive() => received,
        };
        match received {
            // A full inbox slows the agents down; nothing is dropped.
            Ok(event) => {
                if sessions.send(event).await.is_err() {
                    return;
                }
            }
            Err(TransportError::Closed) => return,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "an agent was not understood");
            }
        }
    }
}
