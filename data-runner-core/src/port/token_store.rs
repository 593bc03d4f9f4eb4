//! API tokens, by their hashes.

use async_trait::async_trait;

use super::StateError;
use crate::access::Token;
use crate::id::TokenId;
use crate::time::Timestamp;

/// Keeps API tokens.
///
/// Contract:
/// - it needs no tenure: tokens are made, listed and revoked beside a supervisor that is at work, by other processes too,
///   and every handle of the store sees at once what another one did;
/// - two tokens never have the same name; what was created or revoked is durable when the call returns;
/// - a revoked token is gone, and its name free again.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait TokenStore: Send + Sync + 'static {
    /// Keeps a new token, unless its name is taken.
    async fn create_token(&self, token: Token) -> Result<TokenCreated, StateError>;

    /// All tokens, expired ones too, in order of their names.
    async fn tokens(&self) -> Result<Vec<Token>, StateError>;

    /// Forgets a token; gives it as it was, or `None` where there was none.
    async fn revoke_token(&self, id: TokenId) -> Result<Option<Token>, StateError>;

    /// Remembers that a token was used. One that was revoked meanwhile stays revoked.
    async fn token_used(&self, id: TokenId, at: Timestamp) -> Result<(), StateError>;
}

/// What became of a new token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenCreated {
    /// It is kept.
    Created,
    /// Another token has the name; nothing was changed.
    NameTaken,
}
