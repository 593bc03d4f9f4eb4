//! Time and randomness as values: whoever calls passes them in, so that core stays pure and a test replays to the byte.

use std::fmt;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A moment of the wall clock: microseconds since 1970-01-01T00:00:00Z. Written and read as RFC 3339 in UTC
/// wherever a person sees it, as an integer in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The moment `duration` later; stays at the end of time rather than overflow.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The moment `duration` earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => write!(f, "{at:.6}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

/// A moment of a monotonic clock, counted from the start of the process. It never goes back and never jumps;
/// liveness is judged by it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(pub Duration);

impl Mono {
    /// The moment `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// What people and records see; it may step.
    pub wall: Timestamp,
    /// What liveness is counted on.
    pub mono: Mono,
}

impl Now {
    /// When `wall` will be reached, on the monotonic clock, if the wall clock does not step meanwhile.
    pub fn mono_at(self, wall: Timestamp) -> Mono {
        self.mono.after(wall.since(self.wall))
    }
}

/// When something must be looked at again, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// The moment.
    pub at: Mono,
    /// What is due then.
    pub why: &'static str,
}

impl Deadline {
    /// The earlier of two.
    #[must_use]
    pub fn earliest(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

/// A source of randomness that was seeded from outside: by the operating system in production, by a number in a test.
#[derive(Debug, Clone)]
pub struct Entropy {
    source: ChaCha12Rng,
    /// The newest id, so that the next one sorts after it.
    newest: u128,
}

impl Entropy {
    /// Equal seeds give equal sequences.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { source: ChaCha12Rng::from_seed(seed), newest: 0 }
    }

    /// A seed for tests and simulations.
    pub fn from_number(seed: u64) -> Self {
        Self { source: ChaCha12Rng::seed_from_u64(seed), newest: 0 }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.source.next_u64()
    }

    /// 256 random bits.
    pub fn secret(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.source.fill_bytes(&mut bytes);
        bytes
    }

    /// A number below `bound` (0 when `bound` is 0); the bias of the remainder is below 2⁻³² for bounds under 2³².
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits().checked_rem(bound).unwrap_or(0)
    }

    /// `base` made between 0 % and 50 % longer, so that many who wait do not wake together.
    pub fn jittered(&mut self, base: Duration) -> Duration {
        base.saturating_add(base.mul_f64(self.below(1000) as f64 / 2000.0))
    }

    /// A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then randomness. Ids of one source rise, within a millisecond
    /// and when the wall clock steps back too (section 6.2, method 2: a random increment).
    pub fn uuid_v7(&mut self, at: Timestamp) -> Uuid {
        let millis = u64::try_from(at.micros() / 1000).unwrap_or(0);
        let mut random = [0; 10];
        self.source.fill_bytes(&mut random);
        // The highest random bit stays clear, so that increments do not reach the variant's bits.
        random[2] &= 0b1101_1111;
        let fresh = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().as_u128();
        self.newest =
            if fresh > self.newest { fresh } else { self.newest + 1 + u128::from(self.bits() >> 24) };
        Uuid::from_u128(self.newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_as_rfc_3339_in_utc() {
        assert_eq!(Timestamp::from_micros(1_785_542_400_000_001).to_string(), "2026-08-01T00:00:00.000001Z");
    }

    #[test]
    fn equal_seeds_give_equal_ids_and_ids_sort_by_time() {
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        assert_eq!(Entropy::from_number(7).uuid_v7(at), Entropy::from_number(7).uuid_v7(at));
        let mut entropy = Entropy::from_number(7);
        let (early, late) = (entropy.uuid_v7(at), entropy.uuid_v7(at.after(Duration::from_millis(1))));
        assert!(early < late);
        let mut ids: Vec<Uuid> = (0..1000).map(|_| entropy.uuid_v7(at)).collect();
        assert!(ids.is_sorted(), "also within a millisecond, and after the clock stepped back");
        ids.dedup();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }
}
