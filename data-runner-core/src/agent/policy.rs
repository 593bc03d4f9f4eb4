//! What an operator may set.

use std::time::Duration;

use crate::artifact::KEEP_WITHIN;
use crate::time::{Mono, Now, Timestamp};

/// How an agent behaves where nobody tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentPolicy {
    /// How many attempts it runs at one time.
    pub slots: u32,
    /// The wait before the second try to connect; doubled with each that fails.
    pub first_backoff: Duration,
    /// The longest wait between two tries.
    pub longest_backoff: Duration,
    /// How long a try to connect, and then the answer to Hello, may take.
    pub greeting: Duration,
    /// How long it goes on without a supervisor as long as none has told it another time.
    pub dead_man: Duration,
    /// After what time an end that is not acknowledged is reported again.
    pub repeat: Duration,
    /// How many bytes of one attempt's log may be under way without an acknowledgement.
    pub log_window: u64,
    /// How many bytes of a log are read from disk at one time.
    pub log_batch: u64,
    /// How long the log waits for an acknowledgement that goes on before it is sent again from the last one.
    pub log_patience: Duration,
    /// The wait before something of this machine that failed (adopting a job, reading its log) is tried again.
    pub pause: Duration,
    /// How often code that a connected supervisor cannot deliver is asked for.
    pub fetch_tries: u32,
    /// How long files that a job left may take to be kept, while a supervisor is there.
    pub keep_within: Duration,
    /// How long the last reports may take when the agent was told to stop at once.
    pub last_words: Duration,
    /// When this machine is powered off, whatever happens; `None`: nobody says so. With it an agent that once had a
    /// supervisor waits for it until then, for nothing that it holds outlives the machine.
    pub machine_ends_at: Option<Timestamp>,
    /// How long before its machine's end the agent stops its jobs, so that their logs and ends are delivered.
    pub parting: Duration,
}

impl Default for AgentPolicy {
    fn default() -> Self {
        Self {
            slots: 1,
            first_backoff: Duration::from_millis(50),
            longest_backoff: Duration::from_secs(5),
            greeting: Duration::from_secs(10),
            dead_man: Duration::from_secs(15 * 60),
            repeat: Duration::from_secs(5),
            log_window: 8 << 20,
            log_batch: 1 << 20,
            log_patience: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            fetch_tries: 5,
            keep_within: KEEP_WITHIN,
            last_words: Duration::from_secs(10),
            machine_ends_at: None,
            parting: Duration::from_secs(90),
        }
    }
}

impl AgentPolicy {
    /// From when on jobs are stopped because the machine ends, and when it does. A machine with a short life is left
    /// three quarters of it.
    pub(super) fn end_of_machine(&self, now: Now) -> Option<(Mono, Mono)> {
        let ends_at = self.machine_ends_at?;
        let parting = self.parting.min(ends_at.since(now.wall) / 4);
        Some((now.mono_at(ends_at.before(parting)), now.mono_at(ends_at)))
    }

    /// The wait after so many failed tries in a row, before chance is added. Chance adds up to a half, so that the
    /// longest wait is still the longest.
    pub(super) fn backoff(&self, failures: u32) -> Duration {
        let doubled =
            self.first_backoff.saturating_mul(1_u32.checked_shl(failures.min(20)).unwrap_or(u32::MAX));
        doubled.min(self.longest_backoff.mul_f64(2.0 / 3.0))
    }
}
