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
        let factor = self.factor.max(1.0).powi(i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX));
        let seconds = self.initial.as_secs_f64() * factor;
        Duration::try_from_secs_f64(seconds).unwrap_or(self.max).min(self.max)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_secs(5), factor: 2.0, max: Duration::from_secs(600) }
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
                RetryRule { on: vec![NoCapacity], max_attempts: 4, backoff: Backoff::default() },
                RetryRule { on: vec![Interrupted], max_attempts: 4, backoff: Backoff::default() },
                RetryRule { on: vec![WorkerLost], max_attempts: 2, backoff: Backoff::default() },
            ],
        }
    }
}

impl RetryPolicy {
    /// Whether a rule names the cause.
    pub fn names(&self, cause: FailureCause) -> bool {
        self.rules.iter().any(|rule| rule.on.contains(&cause))
    }

    /// How long to wait before the next attempt, when `failures` attempts, the newest included, have ended by
    /// `cause`; `None`: it is not tried again. Each cause is counted by itself.
    pub fn next_wait(&self, cause: FailureCause, failures: u32) -> Option<Duration> {
        let rule = self.rules.iter().find(|rule| rule.on.contains(&cause))?;
        (failures < rule.max_attempts).then(|| rule.backoff.wait(failures))
    }
}

#[cfg(test)]
mod tests {
    use super::FailureCause::{Interrupted, NoCapacity, OutOfMemory, UserError, WorkerLost};
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn policy(rules: &[(&[FailureCause], u32)]) -> RetryPolicy {
        let rule = |(on, max_attempts): &(&[FailureCause], u32)| RetryRule {
            on: on.to_vec(),
            max_attempts: *max_attempts,
            backoff: Backoff { initial: seconds(30), factor: 2.0, max: seconds(100) },
        };
        RetryPolicy { rules: rules.iter().map(rule).collect() }
    }

    #[test]
    fn by_default_only_what_is_not_the_jobs_fault_is_tried_again() {
        let policy = RetryPolicy::default();
        let retries =
            |cause| (1..).take_while(|failures| policy.next_wait(cause, *failures).is_some()).count();
        let granted: Vec<(FailureCause, usize)> = FailureCause::ALL
            .into_iter()
            .map(|cause| (cause, retries(cause)))
            .filter(|(_, n)| *n > 0)
            .collect();
        assert_eq!(granted, [(NoCapacity, 3), (Interrupted, 3), (WorkerLost, 1)]);
    }

    #[test]
    fn each_wait_is_longer_than_the_one_before_until_the_longest() {
        let policy = policy(&[(&[UserError], 6)]);
        let waits: Vec<_> = (1..=6).map(|failures| policy.next_wait(UserError, failures)).collect();
        let expected = [Some(30), Some(60), Some(100), Some(100), Some(100), None];
        assert_eq!(waits, expected.map(|wait| wait.map(seconds)));
    }

    #[test]
    fn the_first_attempt_counts_so_one_attempt_means_no_retry() {
        assert_eq!(policy(&[(&[UserError], 1)]).next_wait(UserError, 1), None);
        assert_eq!(policy(&[(&[UserError], 2)]).next_wait(UserError, 1), Some(seconds(30)));
    }

    #[test]
    fn the_first_rule_that_names_the_cause_decides_and_others_say_nothing() {
        let policy = policy(&[(&[UserError], 1), (&[UserError, OutOfMemory], 5)]);
        assert_eq!(policy.next_wait(UserError, 1), None);
        assert_eq!(policy.next_wait(OutOfMemory, 1), Some(seconds(30)));
        assert_eq!(policy.next_wait(Interrupted, 1), None);
    }

    proptest::proptest! {
        #[test]
        fn no_numbers_make_a_wait_panic_shrink_or_pass_the_longest(
            initial in 0_u64..1_000_000, factor in -10.0_f64..1e300, max in 0_u64..1_000_000, failures in 0_u32..u32::MAX - 1
        ) {
            let backoff = Backoff { initial: seconds(initial), factor, max: seconds(max) };
            let (wait, next) = (backoff.wait(failures), backoff.wait(failures + 1));
            proptest::prop_assert!(wait <= next && next <= seconds(max));
        }
    }
}
