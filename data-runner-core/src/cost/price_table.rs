//! The prices that come with the program. They are dated; where AWS can be asked, its own are better.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What a public IPv4 address costs, in every region, in millionths of a US dollar an hour. Source: "Amazon VPC pricing",
/// since February 2024.
pub const PUBLIC_IPV4: u64 = 5_000;

/// A family in a region.
struct Family {
    /// What its size `large` costs, in millionths of a US dollar an hour, where sizes follow from each other.
    large: Option<u64>,
    /// Sizes with a price of their own.
    sizes: BTreeMap<&'static str, u64>,
}

/// By region and family. A line that cannot be read is left out; a test reads every line.
static TABLE: LazyLock<BTreeMap<(&str, &str), Family>> =
    LazyLock::new(|| lines().filter_map(read_line).collect());

fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("on_demand.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn read_line(line: &'static str) -> Option<((&'static str, &'static str), Family)> {
    let mut words = line.split(' ');
    let key = (words.next()?, words.next()?);
    let large = match words.next()? {
        "-" => None,
        price => Some(micro_dollars(price)?),
    };
    let size = |word: &'static str| {
        let (size, price) = word.split_once('=')?;
        Some((size, micro_dollars(price)?))
    };
    Some((key, Family { large, sizes: words.map(size).collect::<Option<_>>()? }))
}

/// The on-demand price of a type, in millionths of a US dollar an hour.
pub fn on_demand(region: &str, instance_type: &str) -> Option<u64> {
    let (family, size) = instance_type.split_once('.')?;
    let family = TABLE.get(&(region, family))?;
    if let Some(price) = family.sizes.get(size) {
        return Some(*price);
    }
    Some(family.large? * sixteenths(size)? / 16)
}

/// A GiB of gp3 volume, in millionths of a US dollar a month.
pub fn gp3(region: &str) -> Option<u64> {
    TABLE.get(&(region, "gp3"))?.large
}

/// A price as AWS writes it, in US dollars, in millionths of a dollar. Digits beyond that are rounded.
pub fn micro_dollars(price: &str) -> Option<u64> {
    let (whole, part) = price.trim().split_once('.').unwrap_or((price.trim(), ""));
    if !part.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let digits: String = part.chars().chain("0000000".chars()).take(7).collect();
    let tenths: u64 = digits.parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add((tenths + 5) / 10)
}

/// How a size's price compares with that of `large`.
fn sixteenths(size: &str) -> Option<u64> {
    match size {
        "nano" => Some(1),
        "micro" => Some(2),
        "small" => Some(4),
        "medium" => Some(8),
        "large" => Some(16),
        "xlarge" => Some(32),
        _ => Some(32 * size.strip_suffix("xlarge")?.parse::<u64>().ok()?),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn every_line_of_the_table_is_read_and_none_stands_twice() {
        let read: Vec<_> = lines().map(|line| read_line(line).unwrap_or_else(|| panic!("{line}"))).collect();
        assert_eq!(read.len(), TABLE.len());
    }

    #[test]
    fn a_price_is_read_to_the_millionth_and_rounded() {
        assert_eq!(micro_dollars("0.0416000000"), Some(41_600));
        assert_eq!(micro_dollars("12"), Some(12_000_000));
        assert_eq!(micro_dollars("0.0000005"), Some(1));
        for not in ["", "1,5", "-1", "0.1e3", "free"] {
            assert_eq!(micro_dollars(not), None, "{not}");
        }
    }

    #[test]
    fn prices_are_what_aws_publishes() {
        for (region, instance_type, micro_dollars) in [
            ("us-east-1", "t3.nano", 5_200),
            ("us-east-1", "t3.medium", 41_600),
            ("us-east-1", "t2.small", 23_000),
            ("us-east-1", "t2.medium", 46_400),
            ("us-east-1", "m5.24xlarge", 4_608_000),
            ("us-east-1", "c5.18xlarge", 3_060_000),
            ("us-east-1", "g4dn.xlarge", 526_000),
            ("us-east-1", "r8g.48xlarge", 11_310_720),
            ("eu-west-1", "t3.medium", 45_600),
            ("eu-west-1", "m5.large", 107_000),
        ] {
            assert_eq!(on_demand(region, instance_type), Some(micro_dollars), "{region} {instance_type}");
        }
        assert_eq!((gp3("us-east-1"), gp3("eu-west-1")), (Some(80_000), Some(88_000)));
    }

    #[test]
    fn what_is_not_known_has_no_price() {
        for (region, instance_type) in [
            ("eu-west-1", "m9g.large"),
            ("sa-east-1", "t3.medium"),
            ("us-east-1", "g4dn.9xlarge"),
            ("us-east-1", "t3"),
            ("us-east-1", "t3.metal"),
        ] {
            assert_eq!(on_demand(region, instance_type), None, "{region} {instance_type}");
        }
        assert_eq!(gp3("sa-east-1"), None);
    }
}
