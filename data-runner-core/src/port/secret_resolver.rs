//! From references to secrets to their values.

use async_trait::async_trait;

use super::{Retry, Source};
use crate::workflow::SecretRef;

/// Resolves references where the value is used: an agent with its machine's role, the supervisor with its own.
///
/// Contract:
/// - the value is what the store holds now; nothing is kept on disk, and no error or log shows it;
/// - a reference of a kind that this resolver does not serve is `Refused`.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait SecretResolver: Send + Sync + 'static {
    /// The secret's value.
    async fn resolve(&self, reference: &SecretRef) -> Result<SecretValue, SecretError>;
}

/// A secret's value. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

impl SecretValue {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// Why there is no value. Never holds one.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no such secret, or the JSON has no such key.
    #[error("there is no secret {reference}")]
    NotFound {
        /// Which.
        reference: SecretRef,
    },
    /// It may not be read here.
    #[error("{reference} may not be read here: {message}")]
    Refused {
        /// Which.
        reference: SecretRef,
        /// Why, and what to do.
        message: String,
    },
    /// It cannot be asked for now.
    #[error("{reference} cannot be read at present")]
    Unavailable {
        /// Which.
        reference: SecretRef,
        /// Why.
        #[source]
        source: Source,
    },
}

impl SecretError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotFound { .. } | Self::Refused { .. } => Retry::Never,
            Self::Unavailable { .. } => Retry::Later,
        }
    }
}
