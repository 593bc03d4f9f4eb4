//! API tokens: making, listing and revoking them, and letting their bearers in.

use std::sync::Arc;
use std::time::Duration;

use data_runner_core::access::{self, Refused, Scope, Token, TokenSecret};
use data_runner_core::id::{TokenId, TokenName};
use data_runner_core::port::{StateError, TokenCreated, TokenStore};
use data_runner_core::time::{Entropy, Timestamp};
use rand::TryRng as _;

use crate::Clock;

/// A use is recorded if the last one that was is older than this: not every request shall write.
const USE_RECORDED_EVERY: Duration = Duration::from_secs(60);

/// The API tokens of an installation. They need no running supervisor: a command on its host uses the same.
#[derive(Clone)]
pub struct Tokens {
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
}

/// A token that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What people will call it; unique.
    pub name: TokenName,
    /// What it lets its bearer do.
    pub scope: Scope,
    /// For how long; `None`: until it is revoked.
    pub lifetime: Option<Duration>,
}

/// Why a token could not be made, found or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Another token has the name.
    #[error("there is a token {0} already; revoke it first, or choose another name")]
    NameTaken(TokenName),
    /// There is no such token.
    #[error("there is no token {0:?}")]
    NoSuchToken(String),
    /// Tokens could not be read or written.
    #[error("the tokens could not be read or written")]
    State(#[from] StateError),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    Entropy(#[source] rand::rngs::SysError),
}

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The token is not good for this.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It could not be looked up.
    #[error("the tokens could not be read")]
    State(#[from] StateError),
}

impl Tokens {
    /// The tokens that `store` keeps.
    pub fn new(store: Arc<dyn TokenStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Makes a token. Its secret is in the answer and nowhere else.
    pub async fn create(&self, wanted: NewToken) -> Result<(Token, TokenSecret), TokenError> {
        let mut seed = [0; 32];
        rand::rngs::SysRng.try_fill_bytes(&mut seed).map_err(TokenError::Entropy)?;
        let mut entropy = Entropy::from_seed(seed);
        let now = self.clock.now().wall;
        let secret = TokenSecret::generate(&mut entropy);
        let token = Token {
            id: TokenId::generate(now, &mut entropy),
            name: wanted.name,
            scope: wanted.scope,
            hash: secret.hash(),
            created_at: now,
            expires_at: wanted.lifetime.map(|lifetime| now.after(lifetime)),
            last_used_at: None,
        };
        match self.store.create_token(token.clone()).await? {
            TokenCreated::Created => {
                tracing::info!(token = %token.name, scope = %token.scope, "a token was made");
                Ok((token, secret))
            }
            TokenCreated::NameTaken => Err(TokenError::NameTaken(token.name)),
        }
    }

    /// All tokens, in order of their names.
    pub async fn list(&self) -> Result<Vec<Token>, TokenError> {
        Ok(self.store.tokens().await?)
    }

    /// Revokes the token with that name or id; requests that have begun go on.
    pub async fn revoke(&self, given: &str) -> Result<Token, TokenError> {
        let unknown = || TokenError::NoSuchToken(given.to_owned());
        let id = match given.parse::<TokenId>() {
            Ok(id) => id,
            Err(_) => {
                let tokens = self.store.tokens().await?;
                tokens.iter().find(|token| token.name.as_str() == given).ok_or_else(unknown)?.id
            }
        };
        let token = self.store.revoke_token(id).await?.ok_or_else(unknown)?;
        tracing::info!(token = %token.name, "a token was revoked");
        Ok(token)
    }

    /// Whether any token is good now. While there is none, nobody can come in.
    pub async fn any(&self) -> Result<bool, StateError> {
        let now = self.clock.now().wall;
        Ok(self.store.tokens().await?.iter().any(|token| token.expires_at.is_none_or(|end| now < end)))
    }

    /// The token of that secret, if it lets its bearer do what needs the scope `needs`.
    pub async fn admit(&self, secret: &TokenSecret, needs: Scope) -> Result<Token, AdmitError> {
        let now = self.clock.now().wall;
        let tokens = self.store.tokens().await?;
        let token = access::admit(&tokens, secret, needs, now)?.clone();
        self.record_use(&token, now).await;
        Ok(token)
    }

    /// A use that cannot be recorded keeps nobody out.
    async fn record_use(&self, token: &Token, now: Timestamp) {
        if token.last_used_at.is_some_and(|last| now.since(last) < USE_RECORDED_EVERY) {
            return;
        }
        if let Err(error) = self.store.token_used(token.id, now).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(token = %token.name, error, "the use of a token could not be recorded");
        }
    }
}
