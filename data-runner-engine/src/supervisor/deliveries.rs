//! Telling people outside of what happened. What has to be told is in the state; this loop looks at it, tells, and reports to
//! core what came of it. It stands beside the supervisor's own loop, so that no receiver can hold up a run.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::delivery::{Delivery, DeliveryResult, DeliveryState};
use data_runner_core::event::Event;
use data_runner_core::id::DeliveryId;
use data_runner_core::port::{
    Notifier, NotifyError, Retry, SecretError, SecretResolver, SecretValue, WebhookMessage,
};
use data_runner_core::workflow::Webhook;
use tokio::task::JoinSet;

use super::news_message::{MessageError, message};
use super::{Handle, Stage};
use crate::chain::chain;

/// How many messages are under way at one time.
const AT_ONCE: usize = 16;

/// The loop looks up at least so often.
const PULSE: Duration = Duration::from_secs(60);

/// No wait of core's is longer; a later moment was set by a clock that was wrong.
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 3600);

/// How long a try waits for the commit of its result before the delivery may be tried again.
const COMMIT: Duration = Duration::from_secs(30);

/// What is needed to tell somebody.
#[derive(Clone)]
pub struct Notifications {
    /// Hands over the messages.
    pub notifier: Arc<dyn Notifier>,
    /// Resolves references to addresses.
    pub secrets: Arc<dyn SecretResolver>,
    /// Where people find this supervisor, for the link in a message.
    pub public_url: Option<String>,
}

/// Why a message was not delivered.
#[derive(Debug, thiserror::Error)]
enum TryError {
    #[error(transparent)]
    Address(#[from] SecretError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Notify(#[from] NotifyError),
}

impl TryError {
    fn retry(&self) -> Retry {
        match self {
            Self::Address(error) => error.retry(),
            Self::Message(error) => error.retry(),
            Self::Notify(error) => error.retry(),
        }
    }
}

impl Handle {
    /// Delivers what has to be told, until the supervisor ends. Run it once beside a supervisor.
    pub async fn deliver(&self, notifications: Notifications) {
        let mut commits = self.commits();
        let mut tries = JoinSet::new();
        let mut under_way: HashMap<tokio::task::Id, DeliveryId> = HashMap::new();
        loop {
            let published = commits.borrow_and_update().clone();
            if published.stage == Stage::Ended {
                return;
            }
            let busy: BTreeSet<DeliveryId> = under_way.values().copied().collect();
            let now = self.shared.clock.now().wall;
            let mut pause = PULSE;
            for delivery in published.deliveries.values().filter(|it| !busy.contains(&it.id)) {
                let left = match delivery.state {
                    DeliveryState::Pending { next_at, .. } => next_at.since(now),
                    DeliveryState::Delivered { .. } | DeliveryState::GivenUp { .. } => continue,
                };
                if !left.is_zero() && left <= LONGEST_WAIT {
                    pause = pause.min(left);
                } else if tries.len() < AT_ONCE {
                    let (handle, notifications) = (self.clone(), notifications.clone());
                    let delivery = Arc::clone(delivery);
                    let id = delivery.id;
                    let task =
                        tries.spawn(async move { handle.try_delivery(&delivery, &notifications).await });
                    under_way.insert(task.id(), id);
                }
            }
            tokio::select! {
                changed = commits.changed() => if changed.is_err() { return },
                Some(ended) = tries.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(error) => {
                            tracing::error!(error = &error as &dyn std::error::Error, "a delivery ended badly");
                            error.id()
                        }
                    };
                    under_way.remove(&id);
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn try_delivery(&self, delivery: &Delivery, notifications: &Notifications) {
        let result = match self.send(delivery, notifications).await {
            Ok(status) => DeliveryResult::Taken(status),
            Err(error) => match error.retry() {
                Retry::Later => DeliveryResult::Failed(chain(&error)),
                Retry::Never => DeliveryResult::Refused(chain(&error)),
            },
        };
        self.shared.report(Event::DeliveryTried { delivery: delivery.id, result });
        // Before that commit it would look as if it had not been tried. Where the commit fails it is told again: the
        // receiver knows it by its id.
        let mut commits = self.commits();
        let committed = commits.wait_for(|published| {
            published.deliveries.get(&delivery.id).is_none_or(|now| now.as_ref() != delivery)
        });
        if tokio::time::timeout(COMMIT, committed).await.is_err() {
            tracing::warn!(delivery = %delivery.id, "what came of a delivery is not committed; it is tried again");
        }
    }

    async fn send(&self, delivery: &Delivery, notifications: &Notifications) -> Result<u16, TryError> {
        let url = match &delivery.webhook {
            Webhook::Url(url) => SecretValue::new(url.clone()),
            Webhook::Reference(reference) => notifications.secrets.resolve(reference).await?,
        };
        let link = notifications.public_url.as_deref();
        let body = message(self, delivery, link).await?;
        let at = self.shared.clock.now().wall;
        Ok(notifications.notifier.notify(WebhookMessage { id: delivery.id, url, at, body }).await?)
    }
}
