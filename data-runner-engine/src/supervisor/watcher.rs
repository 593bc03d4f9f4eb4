//! Looks at every repository again and again: each at its own pace, and at once when somebody says that it has news.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::event::Event;
use data_runner_core::id::RepoName;
use data_runner_core::time::Entropy;
use data_runner_core::workflow::{Polling, Repo, RepoKind};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::repos::Look;

/// How many repositories are looked at at one time: one that does not answer holds up no other.
const AT_ONCE: usize = 8;

/// How soon a repository is noticed that was registered meanwhile. It was looked at then, so nothing waits for this.
const NOTICE: Duration = Duration::from_secs(2);

/// What is remembered of one repository.
struct Watched {
    due: Instant,
    /// How many looks failed since the last that went well.
    failures: u32,
    stage: LookStage,
}

/// Whether somebody has looked at a repository that is new here.
#[derive(Clone, Copy)]
enum Looked {
    /// Nobody, since the supervisor started.
    NotYet,
    /// Who registered it.
    WhenRegistered,
}

/// Whether it is being looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LookStage {
    /// It waits until it is due.
    Waiting,
    /// It is.
    Looking,
    /// It is, and somebody said meanwhile that it has news, which this look may have missed.
    LookingBehind,
}

pub(super) struct Watcher {
    shared: Arc<Shared>,
    polling: Polling,
    entropy: Entropy,
    watched: BTreeMap<RepoName, Watched>,
    looking: JoinSet<(RepoName, Look)>,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, polling: Polling, entropy: Entropy) -> Self {
        Self { shared, polling, entropy, watched: BTreeMap::new(), looking: JoinSet::new() }
    }

    /// Ends with `stop`; looks that are under way are given up.
    pub(super) async fn run(mut self, mut looks: mpsc::UnboundedReceiver<RepoName>, stop: CancellationToken) {
        self.notice(Looked::NotYet);
        loop {
            self.begin_due();
            let next = self.next_due();
            tokio::select! {
                () = stop.cancelled() => return,
                Some(name) = looks.recv() => self.hurry(&name),
                Some(looked) = self.looking.join_next(), if !self.looking.is_empty() => match looked {
                    Ok((name, look)) => self.looked(&name, look),
                    Err(error) => self.broke(&error),
                },
                () = sleep_until(next) => self.notice(Looked::WhenRegistered),
            }
        }
    }

    /// Takes up what is registered and drops what is not.
    fn notice(&mut self, looked: Looked) {
        let repos = Arc::clone(&self.shared.published.borrow().repos);
        self.watched.retain(|name, watched| repos.contains_key(name) || watched.stage != LookStage::Waiting);
        let now = Instant::now();
        for (name, repo) in repos.iter().filter(|(_, repo)| repo.kind() != RepoKind::Unpushed) {
            if self.watched.contains_key(name) {
                continue;
            }
            let due = match looked {
                Looked::NotYet => now,
                Looked::WhenRegistered => now + self.polling.pause(repo, 0, &mut self.entropy),
            };
            self.watched.insert(name.clone(), Watched { due, failures: 0, stage: LookStage::Waiting });
        }
    }

    /// Begins with what has been due for longest: a place that is free must not always be the same one's.
    fn begin_due(&mut self) {
        let now = Instant::now();
        let repos = Arc::clone(&self.shared.published.borrow().repos);
        let waiting = self.watched.iter().filter(|(_, it)| it.stage == LookStage::Waiting && it.due <= now);
        let mut due: Vec<(Instant, RepoName)> = waiting.map(|(name, it)| (it.due, name.clone())).collect();
        due.sort();
        for (_, name) in due.into_iter().take(AT_ONCE.saturating_sub(self.looking.len())) {
            let (Some(repo), Some(watched)) = (repos.get(&name).cloned(), self.watched.get_mut(&name)) else {
                continue;
            };
            watched.stage = LookStage::Looking;
            let shared = Arc::clone(&self.shared);
            self.looking.spawn(async move {
                let look = shared.repos().look(&repo).await;
                (name, look)
            });
        }
    }

    fn next_due(&self) -> Instant {
        let notice = Instant::now() + NOTICE;
        if self.looking.len() >= AT_ONCE {
            // A place becomes free first.
            return notice;
        }
        let waiting = self.watched.values().filter(|it| it.stage == LookStage::Waiting).map(|it| it.due);
        waiting.min().map_or(notice, |due| due.min(notice))
    }

    fn hurry(&mut self, name: &RepoName) {
        self.notice(Looked::WhenRegistered);
        let Some(watched) = self.watched.get_mut(name) else { return };
        watched.due = Instant::now();
        watched.stage = match watched.stage {
            LookStage::Waiting => LookStage::Waiting,
            LookStage::Looking | LookStage::LookingBehind => LookStage::LookingBehind,
        };
    }

    fn looked(&mut self, name: &RepoName, look: Look) {
        let repo = self.shared.repo(name);
        let Some(watched) = self.watched.get_mut(name) else { return };
        let result = match look {
            Look::Same(_) => None,
            Look::News(synced) => Some(Ok(synced)),
            Look::Failed(message) => Some(Err(message)),
        };
        watched.failures = match &result {
            Some(Err(_)) => watched.failures.saturating_add(1),
            None | Some(Ok(_)) => 0,
        };
        let behind = watched.stage == LookStage::LookingBehind;
        watched.stage = LookStage::Waiting;
        let pause = |repo: &Repo| self.polling.pause(repo, watched.failures, &mut self.entropy);
        let pause = repo.as_deref().map_or(NOTICE, pause);
        watched.due = if behind { Instant::now() } else { Instant::now() + pause };
        if let Some(result) = result {
            self.shared.report(Event::Synced { repo: name.clone(), result });
        }
    }

    /// A look that panicked says nothing of its repository; all that are not under way any more are tried again in turn.
    fn broke(&mut self, error: &tokio::task::JoinError) {
        tracing::error!(error = error as &dyn std::error::Error, "a look at a repository ended badly");
        self.looking.abort_all();
        let due = Instant::now() + self.polling.default;
        for watched in self.watched.values_mut() {
            *watched = Watched { due, failures: watched.failures, stage: LookStage::Waiting };
        }
    }
}
