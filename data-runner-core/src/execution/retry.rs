//! Retries by policy: per cause, with a budget and a backoff of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::FailureCause;

/// How often, and how soon, an execution is tried again. The first rule that names the cause decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The rules, in order.
    pub rules: Vec<RetryRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryRule {
    /// The causes that it is for.
    pub on: Vec<FailureCause>,
    /// How many attempts may end by each of these causes, the first one included, before the execution fails.
    pub max_attempts: u32,
    /// How long to wait before the next attempt.
    pub backoff: Backoff,
}

/// Exponential backoff: `initial × factorⁿ`, at most `max`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// The first wait.
    pub initial: Duration,
    /// What each further wait is multiplied by; at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait before the retry that follows the `failures`-th failure (from 1).
    pub fn wait(&self, failures: u32) -> Duration {
        let factor = self
            .factor
            .max(1.0)
            .powi(i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX));
        let seconds = self.initial.as_secs_f64() * factor;
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(self.max)
            .min(self.max)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(5),
            factor: 2.0,
            max: Duration::from_secs(600),
        }
    }
}

impl Default for RetryPolicy {
    /// What holds for the causes that `retries` does not name: what is not the job's fault is tried again, its own
    /// failures are not.
    fn default() -> Self {
        use FailureCause::{Interrupted, NoCapacity, WorkerLost};
        Self {
            rules: vec![
                // Three retries, as documented: four attempts in all.
                RetryRule {
                    on: vec![NoCapacity],
                    max_attempts: 4,
                    backoff: Backoff::default(),
                },
                RetryRule {
                    on: vec![Interrupted],
                    max_attempts: 4,
                    backoff: Backoff::default(),
                },
                RetryRule {
                    on: vec![WorkerLost],
                    max_attempts: 2,
                    backoff: Backoff::default(),
                },
            ],
        }
    }
}

impl RetryPolicy {
    /// How long to wait before the next attempt, when `failures` attempts, the newest included, have ended by
    /// `cause`; `None`: it is not tried again. Each cause is counted by itself.
    pub fn next_wait(&self, cause: FailureCause, failures: u32) -> Option<Duration> {
        let rule = self.rules.iter().find(|rule| rule.on.contains(&cause))?;
        (failures < rule.max_attempts).then(|| rule.backoff.wait(failures))
    }
}
