//! Tokens in memory.

use async_trait::async_trait;
use data_runner_core::access::Token;
use data_runner_core::id::TokenId;
use data_runner_core::port::{StateError, TokenCreated, TokenStore};
use data_runner_core::time::Timestamp;

use super::MemoryStore;

#[async_trait]
impl TokenStore for MemoryStore {
    async fn create_token(&self, token: Token) -> Result<TokenCreated, StateError> {
        let tokens = &mut self.lock().tables.tokens;
        if tokens.contains_key(&token.name) {
            return Ok(TokenCreated::NameTaken);
        }
        tokens.insert(token.name.clone(), token);
        Ok(TokenCreated::Created)
    }

    async fn tokens(&self) -> Result<Vec<Token>, StateError> {
        Ok(self.lock().tables.tokens.values().cloned().collect())
    }

    async fn revoke_token(&self, id: TokenId) -> Result<Option<Token>, StateError> {
        let tokens = &mut self.lock().tables.tokens;
        let name = tokens.values().find(|token| token.id == id).map(|token| token.name.clone());
        Ok(name.and_then(|name| tokens.remove(&name)))
    }

    async fn token_used(&self, id: TokenId, at: Timestamp) -> Result<(), StateError> {
        if let Some(token) = self.lock().tables.tokens.values_mut().find(|token| token.id == id) {
            token.last_used_at = token.last_used_at.max(Some(at));
        }
        Ok(())
    }
}
