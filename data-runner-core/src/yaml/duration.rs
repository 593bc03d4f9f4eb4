//! Durations as people write them: `30s`, `5m`, `6h`, `2d`, `1h30m`.

use std::time::Duration;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a duration: whole numbers with the units d, h, m and s, from the largest to the smallest, each at most once;
/// a bare `0` needs no unit.
pub(crate) fn read_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut units = UNITS.iter();
    let mut rest = text;
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let unit = tail.chars().next()?;
        // The iterator goes on from the unit before, so a unit can neither repeat nor come too late.
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = &tail[unit.len_utf8()..];
    }
    (!text.is_empty()).then_some(Duration::from_secs(seconds))
}

/// Writes a duration so that it reads back the same; below a second is cut off.
pub(crate) fn write_duration(duration: Duration) -> String {
    let mut left = duration.as_secs();
    let mut text = String::new();
    for (unit, factor) in UNITS {
        if left >= factor {
            text.push_str(&format!("{}{unit}", left / factor));
            left %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_they_are_documented() {
        for (text, seconds) in
            [("30s", 30), ("5m", 300), ("6h", 21_600), ("2d", 172_800), ("1h30m", 5_400), ("0", 0), ("0s", 0)]
        {
            assert_eq!(read_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "m", "5 m", "-5m", "30m1h", "1h1h", "1.5h", "5M", "5µ", "99999999999999999999d"]
        {
            assert_eq!(read_duration(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in 0_u64..10_000_000_000) {
            let duration = Duration::from_secs(seconds);
            proptest::prop_assert_eq!(read_duration(&write_duration(duration)), Some(duration));
        }
    }
}
