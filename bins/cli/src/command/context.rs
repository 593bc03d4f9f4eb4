//! What the commands that talk to a server share: the connection, the output, and how people name things.

use data_runner_rest::api::{Execution, Page};
use serde::de::DeserializeOwned;

use crate::client::{Client, encode};
use crate::error::Error;
use crate::output::Output;

/// A connection and an output.
#[derive(Debug, Clone)]
pub struct Context {
    /// The server.
    pub client: Client,
    /// Where data goes.
    pub output: Output,
}

/// The most that the server gives at once.
const PAGE: u32 = 200;

impl Context {
    /// The execution that a person means by an id, a prefix of it, or `latest`; the server knows all three.
    pub async fn execution(&self, id: &str) -> Result<Execution, Error> {
        match self.client.get(&format!("/executions/{}", encode(id))).await {
            Err(Error::Server(refusal)) if refusal.status() == 404 && id == "latest" => Err(
                Error::not_found("there is no execution yet", "start one with `data-runner run WORKFLOW`"),
            ),
            Err(Error::Server(refusal)) if refusal.status() == 404 => Err(Error::not_found(
                refusal.to_string(),
                "`data-runner ps -a` lists executions; a prefix of an id will do, or `latest`",
            )),
            other => other,
        }
    }

    /// At most `limit` items of a listing; `query` holds its filters.
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        limit: u32,
    ) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let missing = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
            let mut parts = vec![format!("limit={}", missing.min(PAGE))];
            parts.extend(query.iter().map(|(name, value)| format!("{name}={}", encode(value))));
            parts.extend(cursor.as_deref().map(|cursor| format!("cursor={}", encode(cursor))));
            let page: Page<T> = self.client.get(&format!("{path}?{}", parts.join("&"))).await?;
            let before = items.len();
            items.extend(page.items);
            cursor = page.next_cursor;
            let full = u32::try_from(items.len()).unwrap_or(u32::MAX) >= limit;
            if cursor.is_none() || full || items.len() == before {
                return Ok(items);
            }
        }
    }
}
