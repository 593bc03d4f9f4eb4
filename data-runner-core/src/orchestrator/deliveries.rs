//! Who is told of a failure, and what comes of telling.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Orchestrator, Turn};
use crate::delivery::{Delivery, DeliveryResult, DeliveryState};
use crate::event::{Change, EventKind, EventRecord};
use crate::execution::Execution;
use crate::id::DeliveryId;
use crate::workflow::{NotifyOn, Webhook};

impl Orchestrator {
    /// Deliveries that are tried still.
    pub fn deliveries(&self) -> &BTreeMap<DeliveryId, Arc<Delivery>> {
        &self.deliveries
    }

    /// An execution has failed for good: in the same commit, a message for each address that wants to know.
    pub(super) fn notify_failure(&mut self, execution: &Execution, turn: &mut Turn<'_>) {
        let wants = execution.notifications.iter().filter(|rule| rule.on.contains(&NotifyOn::Failure));
        let addresses: BTreeSet<&Webhook> = wants.map(|rule| &rule.webhook).collect();
        for webhook in addresses {
            let now = turn.now.wall;
            let delivery = Arc::new(Delivery {
                id: DeliveryId::generate(now, turn.entropy),
                execution: execution.id,
                workflow: execution.workflow_id,
                webhook: webhook.clone(),
                created_at: now,
                state: DeliveryState::Pending { attempts: 0, next_at: now },
            });
            self.deliveries.insert(delivery.id, Arc::clone(&delivery));
            turn.change(Change::PutDelivery(delivery));
        }
    }

    pub(super) fn on_delivery_tried(&mut self, id: DeliveryId, result: &DeliveryResult, turn: &mut Turn<'_>) {
        let Some(before) = self.deliveries.get(&id) else {
            return;
        };
        let delivery = Arc::new(before.after(result, turn.now.wall));
        let to = called(&delivery.webhook);
        let told = match (&delivery.state, result) {
            (DeliveryState::Delivered { status, .. }, _) => {
                Some((EventKind::NotificationDelivered, format!("{to} was told of the failure ({status})")))
            }
            (DeliveryState::GivenUp { error, .. }, _) => Some((
                EventKind::NotificationFailed,
                format!("{to} could not be told of the failure, and is not tried again: {error}"),
            )),
            // The first failure is news; those that follow are not.
            (DeliveryState::Pending { attempts: 1, .. }, DeliveryResult::Failed(error)) => Some((
                EventKind::NotificationFailed,
                format!("{to} could not be told of the failure yet: {error}; it is tried again"),
            )),
            (DeliveryState::Pending { .. }, _) => None,
        };
        if let Some((kind, message)) = told {
            turn.change(Change::Record(EventRecord {
                at: turn.now.wall,
                kind,
                execution: Some(delivery.execution),
                workflow: Some(delivery.workflow),
                worker: None,
                message,
            }));
        }
        if delivery.is_pending() {
            self.deliveries.insert(id, Arc::clone(&delivery));
        } else {
            self.deliveries.remove(&id);
        }
        turn.change(Change::PutDelivery(delivery));
    }
}

/// An address as events may show it: who holds the whole of it may often write there.
fn called(webhook: &Webhook) -> String {
    match webhook {
        Webhook::Reference(reference) => reference.to_string(),
        Webhook::Url(url) => {
            let host = url.trim_start_matches("https://").split(['/', '?', '#']).next().unwrap_or_default();
            format!("https://{host}")
        }
    }
}
