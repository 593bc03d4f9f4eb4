//! Bringing an attempt's code into its folder.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use data_runner_core::execution::{Failure, FailureCause};
use data_runner_core::id::Claim;
use data_runner_core::port::{AgentSession, Retry};
use data_runner_core::workflow::BundleRef;

use super::bundles::Bundles;
use super::chain;

/// Unpacks bundles. The engine knows nothing of archives.
///
/// Contract: everything that the bundle holds is below `folder` when it returns, and nothing is written outside of it,
/// whatever the bundle says; `folder` exists and is empty. It may block; it is called where that is allowed.
pub trait CodeUnpacker: Send + Sync + 'static {
    /// Unpacks `bundle` into `folder`. An error says that the bundle is not acceptable, or that the disk failed.
    fn unpack(&self, bundle: &Bytes, folder: &Path) -> std::io::Result<()>;
}

/// Why there is no code.
#[derive(Debug)]
pub(super) enum NoCode {
    /// It may come later.
    Delayed(String),
    /// It never will.
    Impossible(Failure),
}

/// The bytes of a bundle: from the cache, or over the session. They have the hash that was asked for.
pub(super) async fn bundle(
    bundles: &Arc<Bundles>,
    session: Option<Arc<dyn AgentSession>>,
    claim: Claim,
    bundle: &BundleRef,
) -> Result<Bytes, NoCode> {
    if let Some(bytes) = bundles.get(&bundle.hash).await {
        return Ok(bytes);
    }
    let Some(session) = session else {
        return Err(NoCode::Delayed("there is no connection".to_owned()));
    };
    let bytes = session.fetch_bundle(claim, &bundle.hash).await.map_err(|error| match error.retry() {
        Retry::Later => NoCode::Delayed(chain(&error)),
        Retry::Never => {
            NoCode::Impossible(source(format!("the code could not be fetched: {}", chain(&error))))
        }
    })?;
    if bundles.keep(&bundle.hash, bytes.clone()).await {
        Ok(bytes)
    } else {
        let message = format!("the code that came does not have the hash {}", bundle.hash);
        Err(NoCode::Impossible(
            source(message).hinting("something between supervisor and worker changes data"),
        ))
    }
}

/// Unpacks code into `folder`, which is emptied first: an earlier try may have been cut short.
pub(super) async fn unpack(
    unpacker: Arc<dyn CodeUnpacker>,
    bytes: Bytes,
    folder: std::path::PathBuf,
) -> Result<(), NoCode> {
    let unpacking = tokio::task::spawn_blocking(move || {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        std::fs::create_dir_all(&folder)?;
        unpacker.unpack(&bytes, &folder)
    });
    let unpacked = unpacking.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
    unpacked.map_err(|error| {
        NoCode::Impossible(source(format!("the code could not be unpacked: {}", chain(&error))))
    })
}

fn source(message: String) -> Failure {
    Failure::new(FailureCause::Source, message)
}
