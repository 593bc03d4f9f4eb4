//! Webhooks that come in: whether they come from who they say, and what they say.

mod payload;
mod secrets;
mod signature;

pub(crate) use payload::{Told, told};
pub use secrets::{HookSecrets, Hooks};
pub(crate) use signature::Proof;

use bytes::Bytes;

/// The most bytes that a webhook may have. A push of hundreds of commits that change hundreds of files fits.
pub(crate) const LIMIT: usize = 5 << 20;

/// A webhook whose signature is right.
pub(crate) struct Signed {
    pub(crate) body: Bytes,
    /// By what the delivery is known again.
    pub(crate) names: Vec<String>,
}
