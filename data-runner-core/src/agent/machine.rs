//! An agent whose machine goes: by a notice, or because its time is up.

use super::{Agent, DrainedBy, MachineNotice, Stage, Turn};
use crate::execution::StopReason;
use crate::message::AgentMessage;
use crate::time::Mono;

impl Agent {
    pub(super) fn on_notice(&mut self, notice: MachineNotice, turn: &mut Turn<'_>) {
        match notice {
            MachineNotice::AtRisk => {
                if self.stage == Stage::Serving {
                    self.stage = Stage::Draining(DrainedBy::Machine);
                    self.decline_waiting(turn);
                    self.say(AgentMessage::Draining, turn);
                }
            }
            MachineNotice::Going => self.part(turn.now.mono.after(self.policy.parting), turn),
        }
    }

    /// When jobs must be stopped because the machine's time is up, if that is still to come.
    pub(super) fn parting_at(&self) -> Option<Mono> {
        match self.stage {
            Stage::Serving | Stage::Draining(_) | Stage::Stopping { .. } => {
                self.end_of_machine.map(|(at, _)| at)
            }
            Stage::Parting { .. } | Stage::Abandoned | Stage::Ended => None,
        }
    }

    pub(super) fn settle_machine(&mut self, turn: &mut Turn<'_>) {
        if let (Some(at), Some((_, by))) = (self.parting_at(), self.end_of_machine)
            && turn.now.mono >= at
        {
            self.part(by, turn);
        }
    }

    /// Stops every job; the agent stays until all is delivered, and no longer than `by`.
    fn part(&mut self, by: Mono, turn: &mut Turn<'_>) {
        match self.stage {
            Stage::Serving | Stage::Draining(_) | Stage::Stopping { .. } => {
                if self.stage == Stage::Serving {
                    self.decline_waiting(turn);
                    self.say(AgentMessage::Draining, turn);
                }
                self.stage = Stage::Parting { by };
                self.stop_all(StopReason::Interrupted, turn);
            }
            Stage::Parting { .. } | Stage::Abandoned | Stage::Ended => {}
        }
    }
}
