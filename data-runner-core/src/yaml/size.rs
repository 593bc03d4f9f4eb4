//! Sizes as people write them: `50GiB`, `1TiB`.

const UNITS: [(&str, u64); 3] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)];

/// Reads a size in bytes: a whole number with one of the units MiB, GiB and TiB.
pub(crate) fn read_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes a size so that it reads back the same; below a MiB is cut off.
pub(crate) fn write_size(bytes: u64) -> String {
    let even = UNITS.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    let (unit, factor) = even.unwrap_or(&UNITS[2]);
    format!("{}{unit}", bytes / factor)
}

/// The same size in its right unit, for somebody who wrote GB or Gi: what was most likely meant.
pub(crate) fn meant_size(text: &str) -> Option<String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "m" | "mb" | "mi" | "mib" => "MiB",
        "" | "g" | "gb" | "gi" | "gib" => "GiB",
        "t" | "tb" | "ti" | "tib" => "TiB",
        _ => return None,
    };
    (!number.is_empty()).then(|| format!("{number}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_they_are_documented() {
        for (text, bytes) in [("50GiB", 50 << 30), ("1TiB", 1 << 40), ("512MiB", 512 << 20), ("0MiB", 0)] {
            assert_eq!(read_size(text), Some(bytes), "{text}");
        }
        for text in
            ["", "50", "GiB", "50 GiB", "50GB", "50gib", "1.5GiB", "-1GiB", "99999999999999TiB", "5éiB"]
        {
            assert_eq!(read_size(text), None, "{text}");
        }
    }

    #[test]
    fn who_writes_another_unit_is_told_the_right_one() {
        for (text, meant) in [("50GB", "50GiB"), ("50", "50GiB"), ("1 t", "1TiB"), ("512Mi", "512MiB")] {
            assert_eq!(meant_size(text).as_deref(), Some(meant));
        }
        assert_eq!(meant_size("big"), None);
        assert_eq!(meant_size("50KiB"), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(mebibytes in 1_u64..20_000_000) {
            proptest::prop_assert_eq!(read_size(&write_size(mebibytes << 20)), Some(mebibytes << 20));
        }
    }
}
