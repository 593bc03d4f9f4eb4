//! SIGTERM and Ctrl-C.

use data_runner_engine::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Each SIGTERM and each SIGINT from now on is one `meaning`.
pub(crate) fn listen(tell: mpsc::Sender<Signal>, meaning: Signal) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match meaning {
                Signal::Terminate => tracing::info!("asked to end; asked again, the agent stops its jobs"),
                Signal::Machine(_) => {
                    tracing::info!("asked to end, and the machine with it: jobs are stopped")
                }
            }
            if tell.send(meaning).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}
