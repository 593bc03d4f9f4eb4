//! Changes of tokens: one statement each, in its own transaction.

use data_runner_core::access::Token;
use data_runner_core::id::TokenId;
use data_runner_core::port::{StateError, TokenCreated};
use data_runner_core::time::Timestamp;
use sqlx::SqliteConnection;

use super::{Reply, answer};
use crate::body::Key as _;
use crate::error::store_error;
use crate::tokens::TokenRow;

/// What is to be done, and who waits for it.
pub(crate) enum TokenWrite {
    Create(Box<Token>, Reply<TokenCreated>),
    Revoke(TokenId, Reply<Option<Token>>),
    Used(TokenId, Timestamp, Reply<()>),
}

/// The connection failed; nothing of it is to be used again.
pub(super) struct ConnectionFailed;

impl TokenWrite {
    pub(super) fn refuse(self, error: StateError) {
        match self {
            Self::Create(_, reply) => answer(reply, Err(error)),
            Self::Revoke(_, reply) => answer(reply, Err(error)),
            Self::Used(_, _, reply) => answer(reply, Err(error)),
        }
    }

    pub(super) async fn perform(self, connection: &mut SqliteConnection) -> Result<(), ConnectionFailed> {
        match self {
            Self::Create(token, reply) => told(reply, create(connection, &token).await),
            Self::Revoke(id, reply) => told(reply, revoke(connection, id).await),
            Self::Used(id, at, reply) => told(reply, used(connection, id, at).await),
        }
    }
}

fn told<T>(reply: Reply<T>, result: Result<T, StateError>) -> Result<(), ConnectionFailed> {
    let outcome = result.as_ref().map(|_| ()).map_err(|_| ConnectionFailed);
    answer(reply, result);
    outcome
}

async fn create(connection: &mut SqliteConnection, token: &Token) -> Result<TokenCreated, StateError> {
    let (id, name, scope, hash) =
        (token.id.key(), token.name.as_str(), token.scope.as_str(), token.hash.as_str());
    let created_at = token.created_at.micros();
    let (expires_at, last_used_at) =
        (token.expires_at.map(Timestamp::micros), token.last_used_at.map(Timestamp::micros));
    let done = sqlx::query!(
        "
        INSERT INTO tokens (id, name, scope, hash, created_at, expires_at, last_used_at)
        VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING
        ",
        id,
        name,
        scope,
        hash,
        created_at,
        expires_at,
        last_used_at
    )
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(if done.rows_affected() == 0 { TokenCreated::NameTaken } else { TokenCreated::Created })
}

async fn revoke(connection: &mut SqliteConnection, id: TokenId) -> Result<Option<Token>, StateError> {
    let key = id.key();
    let row = sqlx::query_as!(
        TokenRow,
        "DELETE FROM tokens WHERE id = ? RETURNING id, name, scope, hash, created_at, expires_at, last_used_at",
        key
    )
    .fetch_optional(connection)
    .await
    .map_err(store_error)?;
    row.map(TokenRow::decode).transpose()
}

async fn used(connection: &mut SqliteConnection, id: TokenId, at: Timestamp) -> Result<(), StateError> {
    let (key, at) = (id.key(), at.micros());
    sqlx::query!(
        "UPDATE tokens SET last_used_at = max(coalesce(last_used_at, ?1), ?1) WHERE id = ?2",
        at,
        key
    )
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(())
}
