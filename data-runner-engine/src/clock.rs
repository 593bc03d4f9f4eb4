//! Clocks, read only here and passed to core as values.

use std::time::{Duration, SystemTime};

use data_runner_core::time::{Mono, Now, Timestamp};
use tokio::time::Instant;

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Both clocks, read together.
    fn now(&self) -> Now;
}

/// The machine's clocks. The monotonic one is tokio's, so that a test with paused time is in charge of it.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Counts monotonic time from now on.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        // A clock before 1970 reads as 1970: nothing that we record is older.
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let micros = i64::try_from(wall.as_micros()).unwrap_or(i64::MAX);
        Now { wall: Timestamp::from_micros(micros), mono: Mono(self.start.elapsed()) }
    }
}
