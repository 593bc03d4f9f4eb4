//! Messages to webhooks.

use async_trait::async_trait;

use super::{Retry, SecretValue, Source};
use crate::id::DeliveryId;
use crate::time::Timestamp;

/// Hands messages to addresses outside.
///
/// Contract:
/// - a message is a POST of its body, signed as Standard Webhooks say: `webhook-id`, `webhook-timestamp` and
///   `webhook-signature`; an Ok is the receiver's own 2xx;
/// - only https is spoken, and http to this machine itself; a redirect is not followed;
/// - it answers within a bounded time, whatever the receiver does;
/// - no error shows the address, which often is a secret.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Notifier: Send + Sync + 'static {
    /// Delivers a message once, and gives the receiver's status.
    async fn notify(&self, message: WebhookMessage) -> Result<u16, NotifyError>;
}

/// A message for a webhook.
#[derive(Debug, Clone)]
pub struct WebhookMessage {
    /// Its id, the same for each try.
    pub id: DeliveryId,
    /// The address.
    pub url: SecretValue,
    /// When it is sent.
    pub at: Timestamp,
    /// The body: JSON.
    pub body: String,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The address cannot be used.
    #[error("the address is refused: {message}")]
    Address {
        /// Why, and what to do.
        message: &'static str,
    },
    /// The receiver does not want it.
    #[error("the receiver answered {status}")]
    Refused {
        /// Its status.
        status: u16,
    },
    /// The receiver cannot take it now.
    #[error("the receiver answered {status}")]
    Busy {
        /// Its status.
        status: u16,
    },
    /// The receiver could not be reached.
    #[error("the receiver could not be reached")]
    Unreachable(#[source] Source),
}

impl NotifyError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy { .. } | Self::Unreachable(_) => Retry::Later,
            Self::Address { .. } | Self::Refused { .. } => Retry::Never,
        }
    }
}
