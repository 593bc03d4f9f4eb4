//! The supervisor: one task that decides and commits, and the tasks around it that bring events and do what was decided.

mod actor;
mod advice;
mod artifacts;
mod builder;
mod deliveries;
mod effects;
mod gate;
mod grouping;
mod handle;
mod history;
mod log_intake;
mod news_message;
mod plan;
mod preparation;
mod pump;
mod repos;
mod request;
mod watch;
mod watcher;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use data_runner_core::event::{Answer, Event, Request};
use data_runner_core::id::RepoName;
use data_runner_core::orchestrator::Policy;
use data_runner_core::port::{BlobStore, Catalog, LogStore, Provisioner, SourceOpener, WorkflowSource};
use data_runner_core::workflow::WorkerTypes;
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use builder::{StartError, Supervisor, SupervisorBuilder};
pub use deliveries::Notifications;
pub use gate::Gate;
pub use handle::{Handle, Published, Stage};
pub use history::CodeDiff;
pub use request::{
    BackfillOrder, IdempotencyKey, MachinePlan, Order, PastRuns, Registered, Registration, Repeat,
    RequestError, Started, SyncOutcome,
};
pub use watch::Watch;

use crate::Clock;
use artifacts::Artifacts;
use preparation::{Bundles, Preparation};
use repos::Repos;
use watch::Announcer;

/// A question that waits for the answer of core.
pub(crate) struct Ask {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Result<Answer, RequestError>>,
}

/// What the handles and the tasks around the loop share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) logs: Arc<dyn LogStore>,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) artifacts: Artifacts,
    pub(crate) opener: Arc<dyn SourceOpener>,
    pub(crate) worker_types: WorkerTypes,
    pub(crate) provisioner: Option<Arc<dyn Provisioner>>,
    pub(crate) policy: Policy,
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) published: tokio::sync::watch::Sender<Published>,
    pub(crate) executions: Announcer,
    pub(crate) log_growth: Announcer,
    /// Opened sources, by repository and URL.
    pub(crate) sources: std::sync::Mutex<BTreeMap<(RepoName, String), Arc<dyn WorkflowSource>>>,
    pub(crate) bundles: Bundles,
    /// How many executions that start by themselves may be prepared at one time.
    pub(crate) starts: Semaphore,
    /// Repositories that are to be looked at now, for the watcher.
    pub(crate) looks: mpsc::UnboundedSender<RepoName>,
    /// When the loop turned last, in microseconds of the monotonic clock.
    pub(crate) turned: AtomicU64,
    /// To the loop, past its bounded inbox.
    pub(crate) reports: mpsc::UnboundedSender<Event>,
}

impl Shared {
    /// Asks core. Answered after the commit.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask { request, reply }).await.map_err(|_| RequestError::Unavailable)?;
        answer.await.map_err(|_| RequestError::Unavailable)?
    }

    /// Tells core of something, without waiting for an answer.
    pub(crate) fn report(&self, event: Event) {
        // The loop has ended if nobody listens; the next start looks again.
        drop(self.reports.send(event));
    }

    /// Has a repository looked at, without waiting for its turn.
    pub(crate) fn look_now(&self, repo: RepoName) {
        // Nobody watches any more when the supervisor ends; the next one begins with a look at each.
        drop(self.looks.send(repo));
    }

    /// Today, in UTC.
    pub(crate) fn today(&self) -> jiff::civil::Date {
        let now = jiff::Timestamp::from_microsecond(self.clock.now().wall.micros()).unwrap_or_default();
        now.to_zoned(jiff::tz::TimeZone::UTC).date()
    }

    pub(crate) fn preparation(&self) -> Preparation<'_> {
        Preparation { shared: self }
    }

    pub(crate) fn repos(&self) -> Repos<'_> {
        Repos { shared: self }
    }
}
