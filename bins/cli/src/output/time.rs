//! Times and sizes as people read them.

use std::time::Duration;

use jiff::Timestamp;

/// A duration in at most two units: `0.4s`, `12.3s`, `4m 05s`, `2h 07m`, `3d 4h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", duration.as_secs_f64().min(59.9)),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// How long ago `at` was: `just now`, `12s ago`, `3m ago`, `2h ago`, `5d ago`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = u64::try_from(now.as_second().saturating_sub(at.as_second())).unwrap_or(0);
    match seconds {
        0..2 => "just now".to_owned(),
        2..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..86_400 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// The time between two moments; zero if they are the wrong way round.
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// A moment to the second, UTC: `2026-08-01 06:00:00Z`.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A number of bytes: `512 B`, `1.5 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn durations_have_at_most_two_units() {
        let of = |seconds: f64| duration(Duration::from_secs_f64(seconds));
        assert_eq!(
            [of(0.04), of(59.99), of(60.0), of(245.9), of(7_620.0), of(273_600.0)],
            ["0.0s", "59.9s", "1m 00s", "4m 05s", "2h 07m", "3d 4h"]
        );
    }

    #[test]
    fn a_clock_that_is_behind_shows_no_negative_age() {
        let now = Timestamp::from_second(1_000).expect("valid");
        assert_eq!(ago(Timestamp::from_second(1_005).expect("valid"), now), "just now");
        assert_eq!(ago(Timestamp::from_second(880).expect("valid"), now), "2m ago");
    }

    #[test]
    fn sizes_are_in_binary_units() {
        assert_eq!([bytes(512), bytes(1536), bytes(2 << 30)], ["512 B", "1.5 KiB", "2.0 GiB"]);
    }
}
