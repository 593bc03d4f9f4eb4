//! One turn of the agent: what it was given, and what it has decided so far.

use super::{AgentEffect, AgentOutcome, AgentRecord, AgentRejection};
use crate::time::{Entropy, Now};

pub(super) struct Turn<'a> {
    pub(super) now: Now,
    pub(super) entropy: &'a mut Entropy,
    outcome: AgentOutcome,
}

impl<'a> Turn<'a> {
    pub(super) fn new(now: Now, entropy: &'a mut Entropy) -> Self {
        Self { now, entropy, outcome: AgentOutcome::default() }
    }

    pub(super) fn finish(self) -> AgentOutcome {
        self.outcome
    }

    pub(super) fn record(&mut self, record: AgentRecord) {
        self.outcome.records.push(record);
    }

    pub(super) fn effect(&mut self, effect: AgentEffect) {
        self.outcome.effects.push(effect);
    }

    pub(super) fn reject(&mut self, rejection: AgentRejection) {
        self.outcome.rejections.push(rejection);
    }
}
