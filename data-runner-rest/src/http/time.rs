//! Moments and lengths of time as people write them in a query.

use std::time::Duration;

use data_runner_core::time::Timestamp;

/// `30s`, `24h`, `1h30m`, `7d`; a day has 24 hours.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(length).ok()
}

/// RFC 3339, or how long before `now`.
pub(crate) fn moment(text: &str, now: jiff::Timestamp) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_micros(at.as_microsecond()));
    }
    let now = Timestamp::from_micros(now.as_microsecond());
    duration(text).map(|ago| now.before(ago))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn lengths_are_read_with_their_units_and_not_without() {
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("2d"), Some(Duration::from_secs(172_800)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for wrong in ["", "30", "s", "-5s", "soon"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_moment_is_a_date_or_a_length_before_now() {
        let now: jiff::Timestamp = "2026-08-01T12:00:00Z".parse().unwrap();
        let shown = |text| moment(text, now).map(|at| at.to_string());
        assert_eq!(shown("24h").as_deref(), Some("2026-07-31T12:00:00.000000Z"));
        assert_eq!(shown("2026-01-01T01:00:00+01:00").as_deref(), Some("2026-01-01T00:00:00.000000Z"));
        assert_eq!(shown("yesterday"), None);
    }
}
