//! One provider of cryptography for the whole process, and the time that certificates are judged by.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use data_runner_core::time::Timestamp;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::time_provider::TimeProvider;

use crate::PkiError;

/// Makes aws-lc-rs what every TLS connection of this process uses, also those of libraries that ask nobody. To be
/// called first thing in a program; again it changes nothing.
pub fn install_crypto() {
    if aws_lc_rs::default_provider().install_default().is_err() {
        tracing::trace!("a provider of cryptography is installed already");
    }
}

/// The provider of the configurations that are made here.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone)
}

/// The present moment.
pub(crate) fn now(clock: &dyn TimeProvider) -> Result<Timestamp, PkiError> {
    let now = clock.current_time().ok_or(PkiError::NoTime)?;
    Ok(Timestamp::from_micros(i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_mul(1_000_000)))
}

/// The same moment, as certificates are made with it; whole seconds.
pub(crate) fn system_time(at: Timestamp) -> SystemTime {
    let seconds = u64::try_from(at.micros() / 1_000_000).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
