//! Stays at half of the request rates that EC2 publishes for an account and region, so that people's own calls have
//! the other half.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The buckets of one account and region. Published (EC2 developer guide, "Request throttling"): RunInstances 5, refilled
/// by 2 a second; TerminateInstances 100 and 5; Describe with filters 100 and 20.
pub(crate) struct Throttle {
    pub run_instances: Bucket,
    pub terminate_instances: Bucket,
    pub describe: Bucket,
}

impl Throttle {
    pub fn at_half() -> Self {
        Self {
            run_instances: Bucket::new(2, Duration::from_secs(1)),
            terminate_instances: Bucket::new(50, Duration::from_millis(400)),
            describe: Bucket::new(50, Duration::from_millis(100)),
        }
    }
}

#[cfg(test)]
impl Throttle {
    /// Holds nothing back.
    pub fn open() -> Self {
        let open = || Bucket::new(u32::MAX, Duration::ZERO);
        Self { run_instances: open(), terminate_instances: open(), describe: open() }
    }
}

/// A token bucket: so many at once, then one in each interval, first come, first served.
pub(crate) struct Bucket {
    burst: u32,
    every: Duration,
    /// When the bucket will be full again.
    full_at: Mutex<Option<Instant>>,
}

impl Bucket {
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every, full_at: Mutex::new(None) }
    }

    /// Takes one token, when it is there. A caller that gives up has taken it all the same.
    pub async fn take(&self) {
        tokio::time::sleep_until(self.reserve(Instant::now())).await;
    }

    /// When the next token is there; it is taken.
    fn reserve(&self, now: Instant) -> Instant {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = full_at.map_or(now, |full_at| full_at.max(now));
        *full_at = Some(begins + self.every);
        let spare = self.every * self.burst.saturating_sub(1);
        let owed = begins.duration_since(now);
        now + owed.saturating_sub(spare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `n` callers that come at once are through after each second.
    async fn through(bucket: &'static Bucket, n: usize, seconds: u64) -> Vec<usize> {
        let begin = Instant::now();
        let callers: Vec<_> = (0..n)
            .map(|_| {
                tokio::spawn(async move {
                    bucket.take().await;
                    Instant::now()
                })
            })
            .collect();
        let mut times = Vec::new();
        for caller in callers {
            times.extend(caller.await);
        }
        (0..=seconds)
            .map(|second| times.iter().filter(|at| **at <= begin + Duration::from_secs(second)).count())
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        static BUCKET: Bucket = Bucket::new(2, Duration::from_secs(1));
        assert_eq!(through(&BUCKET, 6, 5).await, [2, 3, 4, 5, 6, 6]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_while_fills_the_bucket_and_not_more() {
        static BUCKET: Bucket = Bucket::new(3, Duration::from_millis(500));
        assert_eq!(through(&BUCKET, 3, 0).await, [3]);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(through(&BUCKET, 5, 1).await, [3, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn two_hundred_launches_at_once_stay_at_half_of_what_is_published_and_none_is_lost() {
        let throttle: &'static Throttle = Box::leak(Box::new(Throttle::at_half()));
        let through = through(&throttle.run_instances, 200, 198).await;
        assert_eq!(through.last(), Some(&200));
        for (second, through) in through.iter().enumerate() {
            assert!(*through <= 2 + second, "{through} after {second} s");
        }
    }
}
