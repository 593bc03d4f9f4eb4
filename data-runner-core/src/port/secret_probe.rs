//! Whether secrets can be read where they are used.

use async_trait::async_trait;

use super::{Finding, SecretError};
use crate::workflow::SecretRef;

/// Looks whether whoever uses a secret can read it.
///
/// Contract:
/// - no value is kept, shown, or part of what is found; who looks uses no right that it does not have anyway;
/// - the finding is `good` if the secret is there, `bad` if it is not or may not be read, and a `warning` if that cannot
///   be known from here; its `check` is the reference.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait SecretProbe: Send + Sync + 'static {
    /// Looks for one.
    async fn probe(&self, reference: &SecretRef) -> Finding;
}

impl SecretError {
    /// What was found, when a secret was read to see whether that is possible.
    pub fn finding(&self) -> Finding {
        match self {
            Self::NotFound { reference } => {
                let help = "create it, or correct the reference";
                Finding::bad(reference.to_string(), "there is no such secret", help)
            }
            Self::Refused { reference, message } => {
                Finding::bad(reference.to_string(), "it may not be read here", message)
            }
            Self::Unavailable { reference, .. } => {
                Finding::warning(reference.to_string(), self.in_full(), "look again later")
            }
        }
    }

    /// The error with all its causes.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
