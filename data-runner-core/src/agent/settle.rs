//! What is due, derived from everything that is held.

use super::run::{Delivery, Step};
use super::session::Link;
use super::{Agent, AgentEffect, EndReason, Stage, Turn};
use crate::execution::StopReason;
use crate::id::Claim;
use crate::message::AgentMessage;
use crate::time::{Deadline, Mono};

impl Agent {
    /// Looks at everything. Doing it twice at the same moment changes nothing the second time.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) {
        self.settle_dead_man(turn);
        self.settle_machine(turn);
        self.settle_link(turn);
        let claims: Vec<Claim> = self.runs.values().map(|run| run.claim).collect();
        for claim in claims {
            self.settle_run(claim, turn);
            self.settle_log(claim, turn);
            self.release(claim, turn);
        }
        self.take_waiting(turn);
        self.settle_stage(turn);
    }

    /// When to call `handle` with a `Tick`, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Deadline> {
        if self.stage == Stage::Ended {
            return None;
        }
        let mut earliest = match (self.stage, self.link) {
            (Stage::Abandoned, Link::Down { .. }) => None,
            _ => Some(self.link.deadline()),
        };
        let mut consider = |at: Option<Mono>, why| {
            earliest = Deadline::earliest(earliest, at.map(|at| Deadline { at, why }));
        };
        consider(self.dead_man_at(), "no supervisor for too long");
        consider(self.parting_at(), "the machine's time is nearly up");
        for run in self.runs.values() {
            match run.step {
                // Without a session these wait for one.
                Step::Fetching { .. } | Step::Ended { .. } if !self.is_up() => {}
                Step::Fetching { .. }
                | Step::Preparing
                | Step::Starting
                | Step::Adopting { .. }
                | Step::Running { .. }
                | Step::Ended { .. }
                | Step::Leaving => consider(run.deadline(), "an attempt is due"),
                Step::Keeping(ref keeping) => {
                    consider(self.keeping_deadline(keeping), "files are due");
                }
            }
            match run.step {
                Step::Running { .. } | Step::Keeping(_) | Step::Ended { .. } => {
                    consider(run.log.deadline(&self.policy), "a log is due")
                }
                Step::Fetching { .. }
                | Step::Preparing
                | Step::Starting
                | Step::Adopting { .. }
                | Step::Leaving => {}
            }
        }
        match self.stage {
            Stage::Stopping { leave_by } => consider(leave_by, "the last reports take too long"),
            Stage::Parting { by } => consider(Some(by), "the machine's time is up"),
            Stage::Serving | Stage::Draining(_) | Stage::Abandoned | Stage::Ended => {}
        }
        earliest
    }

    /// A machine that ends by itself needs no dead man once its agent had a supervisor: that one may come back, and
    /// results that are not delivered by then are lost.
    fn dead_man_at(&self) -> Option<Mono> {
        let after = self.dead_man();
        if self.end_of_machine.is_some() && self.identity.dead_man.is_some() {
            return None;
        }
        match self.stage {
            Stage::Serving | Stage::Draining(_) | Stage::Stopping { .. } => {
                (!self.is_up()).then(|| self.contact.after(after))
            }
            Stage::Parting { .. } | Stage::Abandoned | Stage::Ended => None,
        }
    }

    fn settle_dead_man(&mut self, turn: &mut Turn<'_>) {
        if self.dead_man_at().is_some_and(|at| turn.now.mono >= at) {
            self.hang_up(turn);
            self.stage = Stage::Abandoned;
            self.waiting.clear();
            self.stop_all(StopReason::Interrupted, turn);
        }
    }

    fn settle_log(&mut self, claim: Claim, turn: &mut Turn<'_>) {
        let (policy, connection) = (self.policy, self.connection);
        let Ok(run) = self.run_mut(claim, "its log") else {
            return;
        };
        match run.step {
            Step::Running { .. } | Step::Keeping(_) | Step::Ended { .. } => {
                if let Some(piece) = run.log.next(turn.now.mono, &policy) {
                    turn.effect(AgentEffect::SendLog {
                        connection,
                        claim,
                        turn: piece.turn,
                        from: piece.from,
                        max_bytes: piece.max_bytes,
                    });
                }
            }
            Step::Fetching { .. }
            | Step::Preparing
            | Step::Starting
            | Step::Adopting { .. }
            | Step::Leaving => {}
        }
    }

    /// Lets an attempt go of which nothing is owed any more.
    fn release(&mut self, claim: Claim, turn: &mut Turn<'_>) {
        let Ok(run) = self.run_mut(claim, "its end") else {
            return;
        };
        if let Step::Ended { report, delivery: Delivery::Acknowledged, .. } = &run.step
            && run.log.settled(report.log_end)
        {
            self.let_go(claim, turn);
        }
    }

    fn settle_stage(&mut self, turn: &mut Turn<'_>) {
        let live = self.runs.values().any(|run| run.takes_slot());
        let empty = self.runs.is_empty() && self.waiting.is_empty();
        match self.stage {
            Stage::Draining(_) if empty => self.leave(EndReason::Drained, turn),
            Stage::Stopping { .. } if empty => self.leave(EndReason::Drained, turn),
            Stage::Stopping { leave_by: None } if !live && self.is_up() => {
                self.stage = Stage::Stopping { leave_by: Some(turn.now.mono.after(self.policy.last_words)) };
            }
            Stage::Stopping { leave_by } if !live => {
                if !self.is_up() || leave_by.is_some_and(|at| turn.now.mono >= at) {
                    self.leave(EndReason::Stopped, turn);
                }
            }
            Stage::Parting { .. } if empty => self.leave(EndReason::Drained, turn),
            Stage::Parting { by } if turn.now.mono >= by => self.leave(EndReason::Stopped, turn),
            Stage::Abandoned if !live => self.leave(EndReason::Abandoned, turn),
            Stage::Serving
            | Stage::Draining(_)
            | Stage::Stopping { .. }
            | Stage::Parting { .. }
            | Stage::Abandoned
            | Stage::Ended => {}
        }
    }

    fn leave(&mut self, reason: EndReason, turn: &mut Turn<'_>) {
        if reason == EndReason::Drained {
            self.say(AgentMessage::Drained, turn);
        }
        self.stage = Stage::Ended;
        turn.effect(AgentEffect::End(reason));
    }
}
