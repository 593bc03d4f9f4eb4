//! How often repositories are looked at, when nobody says that there is something new.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Repo, RepoKind};
use crate::id::RepoName;
use crate::time::Entropy;

/// However often a look failed, the next one does not wait longer, unless the repository is looked at more rarely anyway.
pub const MAX_BACK_OFF: Duration = Duration::from_secs(15 * 60);

/// Plain folders cost little to look at, and whoever edits one watches the screen.
const FOLDER: Duration = Duration::from_secs(2);

/// How often repositories are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polling {
    /// How often those that nothing else is said of.
    pub default: Duration,
    /// How often these.
    pub of: BTreeMap<RepoName, Duration>,
}

impl Polling {
    /// All alike.
    pub fn every(default: Duration) -> Self {
        Self { default, of: BTreeMap::new() }
    }

    /// How long to wait after a look at a repository, when the last `failures` of them failed: twice as long for each,
    /// up to [`MAX_BACK_OFF`]. A tenth is left to chance, so that many repositories of one host are not asked for at
    /// one time.
    pub fn pause(&self, repo: &Repo, failures: u32, entropy: &mut Entropy) -> Duration {
        let every = self.of.get(&repo.name).copied().unwrap_or(self.default);
        let every = match repo.kind() {
            RepoKind::Folder => every.min(FOLDER),
            RepoKind::Git | RepoKind::Unpushed => every,
        };
        let longest = every.max(MAX_BACK_OFF);
        let wait =
            2_u32.checked_pow(failures).map_or(longest, |times| every.saturating_mul(times)).min(longest);
        let tenth = u64::try_from(wait.as_millis() / 10).unwrap_or(u64::MAX);
        wait - Duration::from_millis(entropy.below(tenth.saturating_add(1)))
    }
}

impl Default for Polling {
    fn default() -> Self {
        Self::every(Duration::from_secs(60))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn repo(name: &str, url: &str) -> Repo {
        let name = name.parse().unwrap();
        let (url, reference) = (url.to_owned(), "main".to_owned());
        Repo { name, url, reference, only: Vec::new(), head: None, synced_at: None, error: None }
    }

    /// The shortest and the longest of many pauses, in seconds.
    fn between(polling: &Polling, repo: &Repo, failures: u32) -> (f64, f64) {
        let mut entropy = Entropy::from_number(1);
        let pauses = (0..2000).map(|_| polling.pause(repo, failures, &mut entropy).as_secs_f64());
        pauses.fold((f64::MAX, 0.0), |(low, high), it| (low.min(it), high.max(it)))
    }

    fn about(polling: &Polling, repo: &Repo, failures: u32, seconds: f64) {
        let (low, high) = between(polling, repo, failures);
        assert!(low >= seconds * 0.9 && low < seconds * 0.91, "{failures}: {low}");
        assert!(high <= seconds && high > seconds * 0.99, "{failures}: {high}");
    }

    #[test]
    fn each_repository_is_looked_at_as_often_as_was_said_of_it_give_or_take_a_tenth() {
        let of = BTreeMap::from([("often".parse().unwrap(), Duration::from_secs(10))]);
        let polling = Polling { default: Duration::from_secs(60), of };
        about(&polling, &repo("often", "https://host/a"), 0, 10.0);
        about(&polling, &repo("else", "https://host/b"), 0, 60.0);
        about(&polling, &repo("folder", "/srv/folder"), 0, 2.0);
    }

    #[test]
    fn a_repository_that_fails_is_asked_half_as_often_each_time_but_every_quarter_of_an_hour() {
        let polling = Polling::default();
        let repo = repo("etl", "https://host/a");
        for (failures, seconds) in
            [(1, 120.0), (2, 240.0), (3, 480.0), (4, 900.0), (5, 900.0), (31, 900.0), (u32::MAX, 900.0)]
        {
            about(&polling, &repo, failures, seconds);
        }
        let rarely = Polling::every(Duration::from_secs(3600));
        about(&rarely, &repo, 0, 3600.0);
        about(&rarely, &repo, 5, 3600.0);
    }
}
