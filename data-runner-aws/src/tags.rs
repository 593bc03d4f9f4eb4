//! Our marks on what we make, and whose a machine is.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Instance, Tag};
use data_runner_core::id::WorkerId;
use data_runner_core::time::Timestamp;

/// Whose it is: the name of the installation. Nothing without it is ever touched.
pub(crate) const INSTALLATION: &str = "data-runner:installation";
/// The worker that the machine was launched for.
pub(crate) const WORKER: &str = "data-runner:worker";
/// When it powers itself off, whatever happens.
pub(crate) const DEADLINE: &str = "data-runner:deadline";
/// What `image bake` makes: the key of its content.
pub(crate) const BAKED: &str = "data-runner:baked";
/// The worker type of what `image bake` makes.
pub(crate) const BAKED_FOR: &str = "data-runner:baked-for";
/// The architecture of what `image bake` makes.
pub(crate) const ARCHITECTURE: &str = "data-runner:architecture";
/// When `image bake` began it.
pub(crate) const BEGUN_AT: &str = "data-runner:begun-at";
/// What a person reads in the console.
pub(crate) const NAME: &str = "Name";

/// The prefix of everything that is ours; nobody else's tag may begin with it.
const OURS: &str = "data-runner:";
/// The prefix that AWS keeps for itself.
const RESERVED: &str = "aws:";

/// EC2's limits: tags of one thing, and UTF-16 units of a key and a value.
const MOST: usize = 50;
const KEY: usize = 128;
const VALUE: usize = 256;
/// How many of the limit are kept for the marks that are added at launch.
const KEPT: usize = 3;

/// The tags that are the same for every worker, within EC2's limits.
///
/// What the installation's settings say wins over what a workflow says. Beyond the limit the last in order go, and so
/// does what EC2 refuses (a name of its own, an empty or too long key); what is too long as a value is cut. A launch is
/// not refused for a label.
pub(crate) fn chosen(
    configured: &BTreeMap<String, String>,
    asked: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    let marks = asked.iter().filter(|(key, _)| is_a_mark(key));
    let labels = asked.iter().filter(|(key, _)| !key.starts_with(OURS));
    for (key, value) in marks.chain(configured).chain(labels) {
        if !fits(key) || tags.len() >= MOST - KEPT && !tags.contains_key(key) {
            tracing::warn!(key, "a tag is left out: EC2 would refuse it");
            continue;
        }
        tags.entry(key.clone()).or_insert_with(|| cut(value));
    }
    tags
}

/// What core says of the machine, such as its execution. The three that are ours alone are added at launch.
fn is_a_mark(key: &str) -> bool {
    key.starts_with(OURS) && ![INSTALLATION, WORKER, DEADLINE, BAKED].contains(&key)
}

/// All tags of a worker's machine, in order.
pub(crate) fn of_worker(
    installation: &str,
    worker: WorkerId,
    deadline: Timestamp,
    chosen: &BTreeMap<String, String>,
) -> Vec<Tag> {
    let mut tags = chosen.clone();
    if tags.len() < MOST - KEPT {
        tags.entry(NAME.to_owned()).or_insert_with(|| cut(&format!("data-runner {installation}")));
    }
    tags.insert(INSTALLATION.to_owned(), cut(installation));
    tags.insert(WORKER.to_owned(), worker.to_string());
    tags.insert(DEADLINE.to_owned(), deadline.to_string());
    tags.into_iter().map(|(key, value)| tag(key, value)).collect()
}

pub(crate) fn tag(key: impl Into<String>, value: impl Into<String>) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// The value of one of a machine's tags.
pub(crate) fn value<'a>(instance: &'a Instance, key: &str) -> Option<&'a str> {
    instance.tags().iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

fn fits(key: &str) -> bool {
    let units = key.encode_utf16().count();
    (1..=KEY).contains(&units) && !key.to_ascii_lowercase().starts_with(RESERVED)
}

fn cut(value: &str) -> String {
    let mut units = 0;
    value
        .chars()
        .take_while(|c| {
            units += c.len_utf16();
            units <= VALUE
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<const N: usize>(tags: [(&str, &str); N]) -> BTreeMap<String, String> {
        tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn the_settings_win_over_a_workflow_and_nobody_sets_our_marks() {
        let configured = map([("team", "platform")]);
        let asked = map([
            ("team", "mine"),
            ("tier", "gold"),
            ("data-runner:execution", "e1"),
            (INSTALLATION, "another"),
            (WORKER, "another"),
        ]);
        let expected = map([("team", "platform"), ("tier", "gold"), ("data-runner:execution", "e1")]);
        assert_eq!(chosen(&configured, &asked), expected);
    }

    #[test]
    fn a_launch_is_not_refused_for_a_label() {
        let long = "ä".repeat(300);
        let asked = map([("AWS:name", "x"), ("", "x"), (&long, "x"), ("note", &long)]);
        assert_eq!(chosen(&BTreeMap::new(), &asked), map([("note", &"ä".repeat(256))]));
    }

    #[test]
    fn there_are_never_more_than_fifty_and_the_marks_are_among_them() {
        let configured: BTreeMap<_, _> = (0..100).map(|n| (format!("k{n:03}"), String::new())).collect();
        let asked = map([("data-runner:execution", "e1"), ("a-label", "x")]);
        let worker = WorkerId::from_uuid(uuid::Uuid::from_u128(7));
        let tags = of_worker("prod", worker, Timestamp::from_micros(1_000_000), &chosen(&configured, &asked));
        assert_eq!(tags.len(), 50);
        let value = |key| tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value);
        assert_eq!(value(INSTALLATION), Some("prod"));
        assert_eq!(value(WORKER), Some("00000000-0000-0000-0000-000000000007"));
        assert_eq!(value(DEADLINE), Some("1970-01-01T00:00:01.000000Z"));
        assert_eq!(value("data-runner:execution"), Some("e1"));
    }
}
