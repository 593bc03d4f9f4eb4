//! What webhooks do: a push makes its repository be looked at, once a delivery.

use super::{Orchestrator, Turn};
use crate::event::{Answer, Change, Effect, Rejection};
use crate::hook::{HookDelivery, HookRecord, REMEMBERED};
use crate::id::RepoName;
use crate::workflow::same_remote;

impl Orchestrator {
    pub(super) fn hook(&mut self, delivery: HookDelivery, turn: &mut Turn<'_>) -> Result<Answer, Rejection> {
        let keys = delivery.keys();
        if delivery.known || keys.iter().any(|key| self.hooks.contains(key)) {
            return Ok(Answer::Repeated);
        }
        let repos: Vec<RepoName> = self
            .repos
            .values()
            .filter(|repo| delivery.urls.iter().any(|url| same_remote(url, &repo.url)))
            .map(|repo| repo.name.clone())
            .collect();
        if repos.is_empty() {
            // Not remembered: once the repository is registered, the sender may deliver it again.
            let url = delivery.urls.first().cloned().unwrap_or_default();
            return Err(Rejection::NoSuchRemote { url });
        }
        let at = turn.now.wall;
        for key in keys {
            self.hooks.insert(key.clone());
            turn.change(Change::PutHook(HookRecord { key, at }));
        }
        turn.change(Change::ForgetHooks { before: at.before(REMEMBERED) });
        for repo in &repos {
            turn.record_repo(format!("{} told of a push to repository {repo}", delivery.sender));
            turn.effect(Effect::Look { repo: repo.clone() });
        }
        Ok(Answer::Looking(repos))
    }
}
