//! SIGTERM and Ctrl-C.

use data_runner_engine::Terminate;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Each SIGTERM and each SIGINT from now on is one `Terminate`.
pub(crate) fn listen() -> std::io::Result<mpsc::Receiver<Terminate>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (tell, told) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to end; asked again, the agent stops its jobs");
            if tell.send(Terminate).await.is_err() {
                return;
            }
        }
    });
    Ok(told)
}
