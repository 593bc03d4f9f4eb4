//! Bringing an attempt's code into its folder.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::execution::{Failure, FailureCause};
use data_runner_core::id::Claim;
use data_runner_core::port::{AgentSession, BlobLink, Bundle, BundleForm, Retry, WantedBundle};
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

/// Follows links to code. The engine knows no HTTP.
///
/// Contract: what comes has exactly `bytes` bytes, and no more is read from a server that sends more. Nobody has checked
/// what the bytes are. An error does not hold the link, which is a secret.
#[async_trait]
pub trait Download: Send + Sync + 'static {
    /// Fetches what the link leads to.
    async fn download(&self, link: &BlobLink, bytes: u64) -> std::io::Result<Bytes>;
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
    let bytes = match ask(&*session, claim, bundle, bundles.form()).await? {
        Bundle::Bytes(bytes) => bytes,
        Bundle::Link(link) => {
            if let Some(bytes) = follow(bundles, &link, bundle).await {
                return Ok(bytes);
            }
            match ask(&*session, claim, bundle, BundleForm::Bytes).await? {
                Bundle::Bytes(bytes) => bytes,
                Bundle::Link(_) => {
                    let message = "the supervisor sends a link in the place of code".to_owned();
                    return Err(NoCode::Impossible(source(message)));
                }
            }
        }
    };
    if bundles.keep(&bundle.hash, bytes.clone()).await {
        Ok(bytes)
    } else {
        let message = format!("the code that came does not have the hash {}", bundle.hash);
        Err(NoCode::Impossible(
            source(message).hinting("something between supervisor and worker changes data"),
        ))
    }
}

async fn ask(
    session: &dyn AgentSession,
    claim: Claim,
    bundle: &BundleRef,
    form: BundleForm,
) -> Result<Bundle, NoCode> {
    let wanted = WantedBundle { claim, hash: bundle.hash.clone(), form };
    session.fetch_bundle(wanted).await.map_err(|error| match error.retry() {
        Retry::Later => NoCode::Delayed(chain(&error)),
        Retry::Never => {
            NoCode::Impossible(source(format!("the code could not be fetched: {}", chain(&error))))
        }
    })
}

/// The bytes that a link leads to, kept. `None` if it leads nowhere, or to something else: the supervisor is asked for
/// the bytes then, so that a store that this machine cannot reach costs time and no run.
async fn follow(bundles: &Arc<Bundles>, link: &BlobLink, bundle: &BundleRef) -> Option<Bytes> {
    let hash = &bundle.hash;
    match bundles.download.as_ref()?.download(link, bundle.bytes).await {
        Ok(bytes) if bundles.keep(hash, bytes.clone()).await => return Some(bytes),
        Ok(_) => tracing::warn!(%hash, "a link leads to something else than the code"),
        Err(error) => {
            tracing::warn!(%hash, error = &error as &dyn std::error::Error, "a link to code leads nowhere");
        }
    }
    None
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
