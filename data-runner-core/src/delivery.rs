//! Messages to addresses outside: one row each, written by the commit that makes them necessary, so that neither a crash
//! nor a receiver that is away loses one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{DeliveryId, ExecutionId, WorkflowId};
use crate::time::Timestamp;
use crate::workflow::{MessageFormat, NotifyOn, Webhook};

/// For how long a message is tried to be delivered.
const TRY_FOR: Duration = Duration::from_secs(24 * 3600);

/// The wait after the first try; each further one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The news of an execution, for one address. It is delivered at least once; its id tells repetitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// What happened.
    #[serde(default)]
    pub on: NotifyOn,
    /// The execution.
    pub execution: ExecutionId,
    /// Its workflow.
    pub workflow: WorkflowId,
    /// Where to.
    pub webhook: Webhook,
    /// In which form.
    #[serde(default)]
    pub format: MessageFormat,
    /// When it happened.
    pub created_at: Timestamp,
    /// How far it is.
    pub state: DeliveryState,
}

/// How far a delivery is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is tried.
    Pending {
        /// How often it was tried.
        attempts: u32,
        /// When it is tried next.
        next_at: Timestamp,
    },
    /// The receiver has it.
    Delivered {
        /// When.
        at: Timestamp,
        /// What the receiver answered.
        status: u16,
    },
    /// It will not be tried again.
    GivenUp {
        /// When.
        at: Timestamp,
        /// Why.
        error: String,
    },
}

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The receiver took it, with this status.
    Taken(u16),
    /// It did not work; it may later.
    Failed(String),
    /// It will never work without a person.
    Refused(String),
}

impl Delivery {
    /// The delivery after a try.
    #[must_use]
    pub fn after(&self, result: &DeliveryResult, now: Timestamp) -> Self {
        let attempts = match self.state {
            DeliveryState::Pending { attempts, .. } => attempts,
            DeliveryState::Delivered { .. } | DeliveryState::GivenUp { .. } => return self.clone(),
        };
        let give_up = |error: &String| DeliveryState::GivenUp { at: now, error: error.clone() };
        let state = match result {
            DeliveryResult::Taken(status) => DeliveryState::Delivered { at: now, status: *status },
            DeliveryResult::Refused(error) => give_up(error),
            DeliveryResult::Failed(error) if now.since(self.created_at) >= TRY_FOR => give_up(error),
            DeliveryResult::Failed(_) => {
                let wait = FIRST_WAIT.saturating_mul(1 << attempts.min(10)).min(LONGEST_WAIT);
                DeliveryState::Pending { attempts: attempts.saturating_add(1), next_at: now.after(wait) }
            }
        };
        Self { state, ..self.clone() }
    }

    /// Whether it is tried, or tried again.
    pub const fn is_pending(&self) -> bool {
        match self.state {
            DeliveryState::Pending { .. } => true,
            DeliveryState::Delivered { .. } | DeliveryState::GivenUp { .. } => false,
        }
    }
}
