//! Tokens as REST shows them.

use data_runner_core::access::{self as core, Scope};
use data_runner_core::id::{TokenId, TokenName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment;

/// An API token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub id: TokenId,
    /// What people call it.
    #[schema(value_type = String)]
    pub name: TokenName,
    /// What it lets its bearer do.
    #[schema(schema_with = super::schema::scope)]
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is worth nothing; null: until it is revoked.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute; null: never.
    pub last_used_at: Option<Timestamp>,
}

/// A token that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What people will call it: a lower-case letter or digit, then up to 62 of a-z, 0-9, _ and -.
    #[schema(value_type = String)]
    pub name: TokenName,
    /// What it lets its bearer do; each scope includes those before it.
    #[schema(schema_with = super::schema::scope)]
    pub scope: Scope,
    /// For how long it is good, such as `90d`; absent: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
}

/// A token that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token.
    pub token: Token,
    /// What its bearer sends as `Authorization: Bearer …`. It is shown here and never again.
    pub secret: String,
}

impl From<&core::Token> for Token {
    fn from(token: &core::Token) -> Self {
        Self {
            id: token.id,
            name: token.name.clone(),
            scope: token.scope,
            created_at: moment(token.created_at),
            expires_at: token.expires_at.map(moment),
            last_used_at: token.last_used_at.map(moment),
        }
    }
}
