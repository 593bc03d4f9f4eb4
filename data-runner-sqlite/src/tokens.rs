//! The port TokenStore.

use async_trait::async_trait;
use data_runner_core::access::Token;
use data_runner_core::id::{InvalidId, TokenId};
use data_runner_core::port::{StateError, TokenCreated, TokenStore};
use data_runner_core::time::Timestamp;

use crate::body::uuid;
use crate::error::{corrupt, store_error};
use crate::store::SqliteStore;
use crate::writer::TokenWrite;

#[async_trait]
impl TokenStore for SqliteStore {
    async fn create_token(&self, token: Token) -> Result<TokenCreated, StateError> {
        self.writer.token(|reply| TokenWrite::Create(Box::new(token), reply)).await
    }

    async fn tokens(&self) -> Result<Vec<Token>, StateError> {
        let rows = sqlx::query_as!(
            TokenRow,
            "SELECT id, name, scope, hash, created_at, expires_at, last_used_at FROM tokens ORDER BY name"
        )
        .fetch_all(&self.readers)
        .await
        .map_err(store_error)?;
        rows.into_iter().map(TokenRow::decode).collect()
    }

    async fn revoke_token(&self, id: TokenId) -> Result<Option<Token>, StateError> {
        self.writer.token(|reply| TokenWrite::Revoke(id, reply)).await
    }

    async fn token_used(&self, id: TokenId, at: Timestamp) -> Result<(), StateError> {
        self.writer.token(|reply| TokenWrite::Used(id, at, reply)).await
    }
}

pub(crate) struct TokenRow {
    pub(crate) id: Vec<u8>,
    pub(crate) name: String,
    pub(crate) scope: String,
    pub(crate) hash: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) last_used_at: Option<i64>,
}

impl TokenRow {
    pub(crate) fn decode(self) -> Result<Token, StateError> {
        let wrong = |error: InvalidId| corrupt("token", error);
        Ok(Token {
            id: TokenId::from_uuid(uuid(&self.id, "token id")?),
            name: self.name.try_into().map_err(wrong)?,
            scope: self.scope.parse().map_err(wrong)?,
            hash: self.hash.try_into().map_err(wrong)?,
            created_at: Timestamp::from_micros(self.created_at),
            expires_at: self.expires_at.map(Timestamp::from_micros),
            last_used_at: self.last_used_at.map(Timestamp::from_micros),
        })
    }
}
