//! Files that a job leaves and that are kept: which, and for how long.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::ArtifactName;

/// Files of a job's folder that are kept under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRule {
    /// The name.
    pub name: ArtifactName,
    /// Which files.
    pub path: PathPattern,
    /// How long they are kept, from when they have come.
    pub retain: Duration,
}

/// A pattern of paths, relative to the job's folder: `*` stands for any characters of one part, `?` for one of them,
/// and a part `**` for any number of folders.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern(String);

/// A text that is no such pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}")]
pub struct NotAPattern {
    /// What is wrong with it.
    pub wrong: &'static str,
}

impl PathPattern {
    /// The longest, in bytes.
    pub const MAX_LENGTH: usize = 1_024;

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder that all matches are in: the parts before the first with a `*` or `?`, and before the last.
    pub fn folder(&self) -> String {
        let parts: Vec<&str> = self.0.split('/').collect();
        let folders = parts.iter().take(parts.len().saturating_sub(1));
        folders.take_while(|part| !part.contains(['*', '?'])).copied().collect::<Vec<_>>().join("/")
    }

    /// Whether a path, with `/` between its parts, is meant.
    pub fn matches(&self, path: &str) -> bool {
        let (pattern, path): (Vec<&str>, Vec<&str>) =
            (self.0.split('/').collect(), path.split('/').collect());
        // Whether the first parts of the pattern, so many as were looked at, match the first parts of the path.
        let mut reach = vec![false; path.len() + 1];
        if let Some(start) = reach.first_mut() {
            *start = true;
        }
        for part in pattern {
            let mut next = vec![false; reach.len()];
            let mut before = false;
            for (index, there) in reach.iter().enumerate() {
                let reached = if part == "**" {
                    before |= *there;
                    before
                } else {
                    let previous = index.checked_sub(1);
                    previous.is_some_and(|at| {
                        reach.get(at).copied().unwrap_or_default()
                            && path.get(at).is_some_and(|name| part_matches(part, name))
                    })
                };
                if let Some(slot) = next.get_mut(index) {
                    *slot = reached;
                }
            }
            reach = next;
        }
        reach.last().copied().unwrap_or_default()
    }
}

/// The same within one part.
fn part_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut of) = (0, 0);
    // Where the last `*` stood, and what it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while let Some(character) = name.get(at) {
        match (pattern.get(of), star) {
            (Some('*'), _) => {
                star = Some((of, at));
                of += 1;
            }
            (Some(wanted), _) if *wanted == '?' || wanted == character => {
                at += 1;
                of += 1;
            }
            (_, Some((star_at, taken))) => {
                star = Some((star_at, taken + 1));
                at = taken + 1;
                of = star_at + 1;
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(of).all(|rest| *rest == '*')
}

/// What is wrong with a path within a folder, if anything is.
pub fn wrong_in_folder(text: &str) -> Option<&'static str> {
    if text.starts_with('/') || text.starts_with('\\') || text.get(1..3) == Some(":\\") {
        Some("it is absolute")
    } else if text.split('/').any(|part| part == "..") {
        Some("`..` leaves it")
    } else if text.contains('\\') {
        Some("`\\` does not separate folders here")
    } else if text.chars().any(char::is_control) {
        Some("it holds a control character")
    } else if text.split('/').any(|part| part.is_empty() || part == ".") {
        Some("it has an empty part or `.`")
    } else {
        None
    }
}

impl FromStr for PathPattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let wrong = if text.len() > Self::MAX_LENGTH {
            Some("it is longer than 1024 bytes")
        } else if let Some(wrong) = wrong_in_folder(text) {
            Some(wrong)
        } else if text.contains(['[', ']', '{', '}', '!']) {
            Some("of patterns only `*`, `?` and `**` are known")
        } else if text.split('/').any(|part| part != "**" && part.contains("**")) {
            Some("`**` stands for whole folders, between slashes")
        } else if text.ends_with("**") {
            Some("it names folders: write `/*` after `**` for the files in them")
        } else {
            None
        };
        wrong.map_or_else(|| Ok(Self(text.to_owned())), |wrong| Err(NotAPattern { wrong }))
    }
}

impl TryFrom<String> for PathPattern {
    type Error = NotAPattern;

    fn try_from(text: String) -> Result<Self, NotAPattern> {
        text.parse()
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pattern(text: &str) -> PathPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_stays_in_its_part_and_two_stand_for_any_number_of_folders() {
        for (given, yes, no) in [
            ("a.csv", &["a.csv"][..], &["b.csv", "x/a.csv", "a.csvx"][..]),
            ("out/*.csv", &["out/a.csv", "out/.csv"], &["out/a/b.csv", "a.csv", "out/a.csv.gz"]),
            ("out/?.csv", &["out/ä.csv"], &["out/.csv", "out/ab.csv"]),
            ("**/*.csv", &["a.csv", "x/a.csv", "x/y/a.csv"], &["a.txt"]),
            ("out/**/*", &["out/a", "out/x/y/a"], &["out", "other/a"]),
            ("out/**/b/**/c", &["out/b/c", "out/x/b/y/z/c", "out/b/b/c"], &["out/c", "out/b"]),
            ("*a*b*", &["ab", "xaxbx", "aab", "abab"], &["ba", "a"]),
        ] {
            for path in yes {
                assert!(pattern(given).matches(path), "{given} {path}");
            }
            for path in no {
                assert!(!pattern(given).matches(path), "{given} {path}");
            }
        }
    }

    #[test]
    fn a_pattern_that_is_hard_to_match_takes_no_time() {
        let hard = pattern(&format!("{}x", "**/a*a*a*b/".repeat(80)));
        assert!(!hard.matches(&["aaaaaaaaaaaaaaaaaaaa"; 200].join("/")));
    }

    #[test]
    fn all_matches_are_in_the_folder_that_it_names() {
        for (given, folder) in
            [("a.csv", ""), ("out/a.csv", "out"), ("out/x/*.csv", "out/x"), ("**/x/a", ""), ("o?t/x/a", "")]
        {
            assert_eq!(pattern(given).folder(), folder);
        }
    }

    #[test]
    fn what_leaves_the_folder_or_means_something_else_elsewhere_is_refused() {
        for bad in [
            "", "/a", "../a", "a/../b", "a//b", "./a", "a/", "a\\b", "C:\\a", "a\nb", "a[0-9]", "{a,b}",
            "!a", "a**/b", "out/**", "**",
        ] {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(1_025).parse::<PathPattern>().is_err());
    }
}
