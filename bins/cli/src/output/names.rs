//! Ids as a list shows them.

use std::fmt::Display;

/// A terminal of this width has room for whole ids.
const ROOMY: u16 = 120;
/// The digits that say when an id was made, to the millisecond; fewer tell nobody anything.
const LEAST: usize = 13;

/// Ids as text: whole where there is room, else as short as they are still told apart.
pub fn ids<T: Display>(ids: impl Iterator<Item = T>, width: Option<u16>) -> Vec<String> {
    let mut texts: Vec<String> = ids.map(|id| id.to_string()).collect();
    if width.is_none_or(|width| width >= ROOMY) {
        return texts;
    }
    let mut sorted: Vec<&str> = texts.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let common = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let neighbours = sorted.windows(2).filter_map(|pair| Some(common(pair.first()?, pair.last()?) + 1));
    let length = neighbours.fold(LEAST, usize::max);
    texts.iter_mut().for_each(|text| text.truncate(length));
    texts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const A: &str = "01a20a5c-39a4-7d75-8914-476861c83e5f";
    const B: &str = "01a20a5c-39a4-7d75-8914-4744a8645d69";
    const C: &str = "01a20a5d-0000-7000-8000-000000000000";

    #[test]
    fn ids_are_as_short_as_they_are_told_apart() {
        assert_eq!(ids([A, C].iter(), Some(80)), ["01a20a5c-39a4", "01a20a5d-0000"]);
        assert_eq!(ids([A, B, C].iter(), Some(80)), [&A[..27], &B[..27], &C[..27]]);
    }

    #[test]
    fn where_there_is_room_or_no_terminal_they_are_whole() {
        assert_eq!(ids([A, B].iter(), Some(120)), [A, B]);
        assert_eq!(ids([A].iter(), None), [A]);
    }
}
