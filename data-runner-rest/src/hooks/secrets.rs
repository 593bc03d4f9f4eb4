//! The secrets that the senders share with us.

use std::sync::Arc;
use std::time::Duration;

use data_runner_core::hook::HookSender;
use data_runner_core::port::{SecretError, SecretResolver, SecretValue};
use data_runner_core::workflow::SecretRef;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a value is used before it is asked for again, so that a new one counts without a restart.
const FRESH: Duration = Duration::from_secs(300);

/// How soon after a failure it is asked for again: whoever sends rubbish must not make us ask a store as often.
const AGAIN: Duration = Duration::from_secs(10);

/// What the senders of webhooks are known by.
pub struct Hooks {
    github: HookSecrets,
    gitlab: HookSecrets,
    resolver: Arc<dyn SecretResolver>,
}

/// The secrets of one sender: where they are. All of them are good.
#[derive(Default)]
pub struct HookSecrets {
    references: Vec<SecretRef>,
    resolved: Mutex<Option<(Instant, Resolved)>>,
}

type Resolved = Result<Arc<[SecretValue]>, Arc<SecretError>>;

impl From<Vec<SecretRef>> for HookSecrets {
    fn from(references: Vec<SecretRef>) -> Self {
        Self { references, resolved: Mutex::default() }
    }
}

impl Hooks {
    /// Secrets that `resolver` knows the values of, once they are needed.
    pub fn new(
        github: impl Into<HookSecrets>,
        gitlab: impl Into<HookSecrets>,
        resolver: Arc<dyn SecretResolver>,
    ) -> Self {
        Self { github: github.into(), gitlab: gitlab.into(), resolver }
    }

    /// The values for a sender; empty where there are none.
    ///
    /// # Errors
    /// One of them cannot be had now.
    pub(crate) async fn of(&self, sender: HookSender) -> Resolved {
        let secrets = match sender {
            HookSender::Github => &self.github,
            HookSender::Gitlab => &self.gitlab,
        };
        // Who comes meanwhile waits for the answer, and asks nobody.
        let mut kept = secrets.resolved.lock().await;
        if let Some((until, resolved)) = &*kept
            && Instant::now() < *until
        {
            return resolved.clone();
        }
        let resolved = self.resolve(&secrets.references).await;
        let life = if resolved.is_ok() { FRESH } else { AGAIN };
        *kept = Some((Instant::now() + life, resolved.clone()));
        resolved
    }

    async fn resolve(&self, references: &[SecretRef]) -> Resolved {
        let mut values = Vec::with_capacity(references.len());
        for reference in references {
            let value = self.resolver.resolve(reference).await.map_err(Arc::new)?;
            // An empty secret is one that everybody knows.
            if !value.expose().is_empty() {
                values.push(value);
            }
        }
        Ok(values.into())
    }
}
