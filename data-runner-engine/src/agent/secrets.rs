//! Resolving a job's secrets, right before it starts, anew for every attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use data_runner_core::execution::{Failure, FailureCause};
use data_runner_core::port::{SecretError, SecretResolver, SecretValue};
use data_runner_core::workflow::SecretRef;
use futures::future::try_join_all;

use super::chain;

/// A job waits no longer than this for its secrets.
const WITHIN: Duration = Duration::from_secs(45);

/// The resolver of an agent that serves no secrets: every reference is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

#[async_trait]
impl SecretResolver for NoSecrets {
    async fn resolve(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        let message = "this worker has nothing that resolves secrets".to_owned();
        Err(SecretError::Refused { reference: reference.clone(), message })
    }
}

/// The values of all `secrets`, asked for at once; or why the job cannot start.
pub(super) async fn resolve(
    resolver: &dyn SecretResolver,
    secrets: &BTreeMap<String, SecretRef>,
) -> Result<Vec<(String, SecretValue)>, Failure> {
    let all = secrets.iter().map(async |(name, reference)| {
        let value = resolver.resolve(reference).await.map_err(|error| failure(name, &error))?;
        // A variable of a process ends at a NUL.
        if value.expose().contains('\0') {
            return Err(no_secret(name, format!("{reference} holds a NUL byte, which no variable can hold")));
        }
        Ok((name.clone(), value))
    });
    match tokio::time::timeout(WITHIN, try_join_all(all)).await {
        Ok(resolved) => resolved,
        Err(_) => {
            let named: Vec<String> = secrets.values().map(ToString::to_string).collect();
            let message =
                format!("secrets were not answered within {} s: {}", WITHIN.as_secs(), named.join(", "));
            Err(Failure::new(FailureCause::Environment, message).hinting("can the worker reach the service?"))
        }
    }
}

fn failure(name: &str, error: &SecretError) -> Failure {
    let failure = no_secret(name, chain(error));
    match error {
        SecretError::NotFound { .. } => {
            failure.hinting("create it, or correct the reference under `secrets` in config.yaml")
        }
        SecretError::Refused { .. } | SecretError::Unavailable { .. } => failure,
    }
}

fn no_secret(name: &str, why: String) -> Failure {
    Failure::new(FailureCause::Environment, format!("no value for {name}: {why}"))
}
