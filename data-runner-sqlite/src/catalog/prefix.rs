//! The beginning of an id's text, as a range of ids.

use data_runner_core::id::ExecutionId;
use uuid::Uuid;

/// Digits of an id.
const DIGITS: usize = 32;

/// The lowest and the highest id whose text starts with `prefix`; `None` if no id's does.
pub(super) fn range(prefix: &str) -> Option<(ExecutionId, ExecutionId)> {
    let mut digits = String::with_capacity(DIGITS);
    for (place, c) in prefix.char_indices() {
        match (place, c) {
            (8 | 13 | 18 | 23, '-') => {}
            (8 | 13 | 18 | 23, _) | (36.., _) => return None,
            (_, '0'..='9' | 'a'..='f') => digits.push(c),
            (_, _) => return None,
        }
    }
    Some((filled(&digits, '0')?, filled(&digits, 'f')?))
}

fn filled(digits: &str, with: char) -> Option<ExecutionId> {
    let full: String = digits.chars().chain(std::iter::repeat(with)).take(DIGITS).collect();
    Uuid::try_parse(&full).ok().map(ExecutionId::from_uuid)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_prefix_is_the_range_of_all_ids_that_start_so() {
        let text = "01985f3a-7c2e-7d41-9a55-0123456789ab";
        let id: ExecutionId = text.parse().unwrap();
        for length in 0..=text.len() {
            let (lowest, highest) = range(&text[..length]).unwrap();
            assert!(lowest <= id && id <= highest);
            assert!(lowest.to_string().starts_with(&text[..length]));
            assert!(highest.to_string().starts_with(&text[..length]));
        }
        assert_eq!(range(text).unwrap(), (id, id));
    }

    #[test]
    fn what_no_id_starts_with_finds_nothing() {
        for nothing in ["x", "0198-", "01985f3a7", "01985F3A", "é", "01985f3a-7c2e-7d41-9a55-0123456789ab0"]
        {
            assert_eq!(range(nothing), None, "{nothing}");
        }
    }
}
