//! Who is told of what, and what comes of telling.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Orchestrator, Turn};
use crate::delivery::{Delivery, DeliveryResult, DeliveryState};
use crate::event::{Change, EventKind, EventRecord};
use crate::execution::{Execution, StateName};
use crate::id::DeliveryId;
use crate::workflow::{NotifyOn, Webhook, Workflow};

impl Orchestrator {
    /// Deliveries that are tried still.
    pub fn deliveries(&self) -> &BTreeMap<DeliveryId, Arc<Delivery>> {
        &self.deliveries
    }

    /// An execution has ended: whether its workflow fails, and who wants to know that it did or does not any more.
    pub(super) fn notify_end(&mut self, execution: &Execution, turn: &mut Turn<'_>) {
        let workflow = self.workflows.get(&execution.workflow_id).cloned();
        let failing = workflow.as_ref().and_then(|workflow| workflow.failing_since);
        let now_failing = match execution.state.name() {
            StateName::Failed => {
                self.notify(execution, NotifyOn::Failure, turn);
                failing.or(Some(turn.now.wall))
            }
            StateName::Success => {
                if failing.is_some() {
                    self.notify(execution, NotifyOn::Recovered, turn);
                }
                None
            }
            StateName::Cancelled
            | StateName::Queued
            | StateName::Provisioning
            | StateName::Starting
            | StateName::Running => return,
        };
        if let Some(workflow) = workflow.filter(|_| failing != now_failing) {
            let workflow = Workflow { failing_since: now_failing, ..Workflow::clone(&workflow) };
            self.put_workflow(workflow, turn);
        }
    }

    /// In the commit of what happened, a message for each address that wants to know.
    pub(super) fn notify(&mut self, execution: &Execution, on: NotifyOn, turn: &mut Turn<'_>) {
        let wants = execution.notifications.iter().filter(|rule| rule.on.contains(&on));
        let addresses: BTreeSet<_> = wants.map(|rule| (&rule.webhook, rule.format)).collect();
        for (webhook, format) in addresses {
            let now = turn.now.wall;
            let delivery = Arc::new(Delivery {
                id: DeliveryId::generate(now, turn.entropy),
                on,
                execution: execution.id,
                workflow: execution.workflow_id,
                webhook: webhook.clone(),
                format,
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
        let (to, what) = (called(&delivery.webhook), news(delivery.on));
        let told = match (&delivery.state, result) {
            (DeliveryState::Delivered { status, .. }, _) => {
                Some((EventKind::NotificationDelivered, format!("{to} was told {what} ({status})")))
            }
            (DeliveryState::GivenUp { error, .. }, _) => Some((
                EventKind::NotificationFailed,
                format!("{to} could not be told {what}, and is not tried again: {error}"),
            )),
            // The first failure is news; those that follow are not.
            (DeliveryState::Pending { attempts: 1, .. }, DeliveryResult::Failed(error)) => Some((
                EventKind::NotificationFailed,
                format!("{to} could not be told {what} yet: {error}; it is tried again"),
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

const fn news(on: NotifyOn) -> &'static str {
    match on {
        NotifyOn::Failure => "of the failure",
        NotifyOn::Recovered => "that it succeeds again",
        NotifyOn::Late => "that it is late",
        NotifyOn::OverBudget => "of the budget that is exceeded",
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
