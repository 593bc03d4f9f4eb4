use data_runner_core::event::{Answer, Change, Effect, Event, Outcome, Rejection, ReplyTo, Request, Synced};
use data_runner_core::hook::{HookDelivery, HookSender};
use data_runner_core::workflow::Repo;
use data_runner_testkit::sample;

use crate::scene::{Scene, joined, seconds};

const WEEK: u64 = 7 * 24 * 3600;

fn push(id: &str) -> HookDelivery {
    HookDelivery {
        sender: HookSender::Github,
        names: vec![id.to_owned(), format!("body of {id}")],
        urls: vec!["https://github.com/acme/etl".to_owned(), "git@github.com:acme/etl.git".to_owned()],
        known: false,
    }
}

fn looks(outcome: &Outcome) -> Vec<String> {
    let looks = outcome.effects.iter().filter_map(|effect| match effect {
        Effect::Look { repo } => Some(repo.to_string()),
        _ => None,
    });
    looks.collect()
}

/// A scene that watches a repository under two names, and another one.
fn scene() -> Scene {
    let mut it = Scene::new(joined());
    for (name, url) in [
        ("etl", "git@github.com:acme/etl.git"),
        ("etl-next", "https://github.com/acme/etl.git"),
        ("other", "https://github.com/acme/other.git"),
    ] {
        let repo = Repo {
            name: name.parse().unwrap(),
            url: url.to_owned(),
            reference: "main".to_owned(),
            only: Vec::new(),
            head: None,
            synced_at: None,
            error: None,
        };
        let synced = Synced { revision: sample::revision(1), folders: Vec::new() };
        it.request(Request::Register { repo, synced });
    }
    it
}

impl Scene {
    /// Delivers as the loop does: with what the store knows.
    fn deliver(&mut self, delivery: HookDelivery) -> (Option<Answer>, Outcome) {
        let known = self.store.hook_known_now(&delivery.keys());
        self.request(Request::Hook(HookDelivery { known, ..delivery }))
    }
}

#[test]
fn a_push_has_its_repository_looked_at_under_all_its_names_once_its_names_are_kept() {
    let mut it = scene();
    let (answer, outcome) = it.deliver(push("1"));
    let repos = vec!["etl".parse().unwrap(), "etl-next".parse().unwrap()];
    assert_eq!(answer, Some(Answer::Looking(repos)));
    assert_eq!(looks(&outcome), ["etl", "etl-next"]);
    let kept = outcome.changes.iter().filter_map(|change| match change {
        Change::PutHook(record) => Some(record.key.as_str()),
        _ => None,
    });
    assert_eq!(kept.collect::<Vec<_>>(), ["github/1", "github/body of 1"]);
}

/// Invariant I10.
#[test]
fn a_delivery_that_comes_again_does_nothing_whichever_of_its_names_it_bears_also_after_a_restart() {
    let mut it = scene();
    it.deliver(push("1"));
    let (answer, outcome) = it.deliver(push("1"));
    assert_eq!((answer, looks(&outcome)), (Some(Answer::Repeated), vec![]));
    it.restart();
    for names in [["1", "another body"], ["another id", "body of 1"]] {
        let again = HookDelivery { names: names.map(ToOwned::to_owned).to_vec(), ..push("1") };
        let (answer, outcome) = it.deliver(again);
        assert_eq!((answer, looks(&outcome)), (Some(Answer::Repeated), vec![]), "{names:?}");
        assert!(outcome.changes.is_empty());
    }
    let other = HookDelivery { sender: HookSender::Gitlab, ..push("1") };
    assert!(matches!(it.deliver(other).0, Some(Answer::Looking(_))), "each sender has ids of its own");
}

/// Invariant I10.
#[test]
fn of_the_same_delivery_twice_in_one_batch_one_counts() {
    let mut it = scene();
    let request = |n| Event::Request { reply: ReplyTo(n), request: Box::new(Request::Hook(push("1"))) };
    let outcome = it.batch(vec![request(91), request(92)]);
    assert_eq!(looks(&outcome), ["etl", "etl-next"]);
    let answered = |n| {
        let to = |effect: &&Effect| matches!(effect, Effect::Reply { to, .. } if *to == ReplyTo(n));
        outcome.effects.iter().find(to).cloned()
    };
    assert!(matches!(answered(91), Some(Effect::Reply { answer: Answer::Looking(_), .. })));
    assert!(matches!(answered(92), Some(Effect::Reply { answer: Answer::Repeated, .. })));
}

#[test]
fn a_delivery_is_known_for_seven_days() {
    let mut it = scene();
    it.deliver(push("1"));
    it.pass(seconds(WEEK - 1));
    it.deliver(push("2"));
    assert_eq!(it.deliver(push("1")).0, Some(Answer::Repeated));
    it.pass(seconds(2));
    it.deliver(push("3"));
    assert!(matches!(it.deliver(push("1")).0, Some(Answer::Looking(_))), "after that it is as good as new");
    assert_eq!(it.deliver(push("2")).0, Some(Answer::Repeated));
}

#[test]
fn a_push_to_a_repository_that_nobody_watches_is_refused_and_not_remembered() {
    let mut it = scene();
    let urls = vec!["https://github.com/acme/elsewhere".to_owned()];
    let (answer, outcome) = it.deliver(HookDelivery { urls: urls.clone(), ..push("1") });
    let refused = Rejection::NoSuchRemote { url: urls[0].clone() };
    assert_eq!(answer, Some(Answer::Rejected(refused)));
    assert!(outcome.changes.is_empty() && looks(&outcome).is_empty());
    assert!(matches!(it.deliver(push("1")).0, Some(Answer::Looking(_))));
}
