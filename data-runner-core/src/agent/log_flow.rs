//! How much of a log was sent, and what is sent next. The supervisor's offset rules.

use super::{AgentPolicy, LogTurn};
use crate::log::LogOffset;
use crate::message::LogOutcome;
use crate::time::Mono;

/// The way of one attempt's log from its spool to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogFlow {
    /// How far the spool is known to reach.
    end: LogOffset,
    sent: LogOffset,
    acked: LogOffset,
    gate: Gate,
    turn: LogTurn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// There is no session, or it has not said where to begin.
    Shut,
    /// It may flow. `progress`: when an acknowledgement went on last, or the flow began.
    Open { reader: Reader, progress: Mono },
    /// The supervisor wants no more of it.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Free,
    /// A piece is being read and sent, from this place on.
    Busy(LogOffset),
    /// Nothing could be read or sent; not again before that time.
    Resting(Mono),
}

/// The next piece to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) turn: LogTurn,
    pub(super) from: LogOffset,
    pub(super) max_bytes: u64,
}

impl LogFlow {
    pub(super) const fn new() -> Self {
        let start = LogOffset(0);
        Self { end: start, sent: start, acked: start, gate: Gate::Shut, turn: LogTurn(0) }
    }

    pub(super) const fn end(&self) -> LogOffset {
        self.end
    }

    /// The spool reaches this far now.
    pub(super) fn grown_to(&mut self, end: LogOffset) {
        self.end = self.end.max(end);
    }

    /// A session begins, or says anew where to go on.
    pub(super) fn open(&mut self, from: LogOffset, now: Mono) {
        self.jump(from);
        self.gate = Gate::Open { reader: Reader::Free, progress: now };
    }

    /// The session is gone.
    pub(super) fn shut(&mut self) {
        match self.gate {
            Gate::Open { .. } => {
                self.jump(self.acked);
                self.gate = Gate::Shut;
            }
            // A refusal holds for the attempt, not for the session.
            Gate::Shut | Gate::Refused => {}
        }
    }

    fn jump(&mut self, to: LogOffset) {
        self.sent = to;
        self.acked = to;
        self.turn.0 += 1;
    }

    pub(super) fn on_ack(&mut self, outcome: LogOutcome, now: Mono) {
        let Gate::Open { progress, .. } = &mut self.gate else {
            return;
        };
        match outcome {
            LogOutcome::Refused => self.gate = Gate::Refused,
            LogOutcome::Stored { upto } if upto > self.acked => {
                *progress = now;
                self.acked = upto;
                self.sent = self.sent.max(upto);
            }
            // The supervisor has less than it said before: it is right.
            LogOutcome::Stored { upto } if upto < self.acked => self.open(upto, now),
            LogOutcome::Stored { .. } => {}
        }
    }

    pub(super) fn on_sent(&mut self, turn: LogTurn, upto: LogOffset, now: Mono, policy: &AgentPolicy) {
        let Gate::Open { reader, .. } = &mut self.gate else {
            return;
        };
        if turn != self.turn {
            return;
        }
        *reader = match *reader {
            Reader::Busy(from) if upto <= from => Reader::Resting(now.after(policy.pause)),
            Reader::Busy(_) | Reader::Free => Reader::Free,
            Reader::Resting(until) => Reader::Resting(until),
        };
        self.sent = self.sent.max(upto);
        self.end = self.end.max(upto);
    }

    /// What to send now, if anything: never more under way than the window, one piece at a time.
    pub(super) fn next(&mut self, now: Mono, policy: &AgentPolicy) -> Option<Piece> {
        let Gate::Open { reader, progress } = &mut self.gate else {
            return None;
        };
        match *reader {
            Reader::Free => {}
            Reader::Resting(until) if now >= until => {}
            // While the line takes nothing, more of the same would not help.
            Reader::Resting(_) | Reader::Busy(_) => return None,
        }
        if self.sent > self.acked && now >= progress.after(policy.log_patience) {
            let from = self.acked;
            self.open(from, now);
            return self.next(now, policy);
        }
        let under_way = self.sent.0 - self.acked.0;
        let room = policy.log_window.saturating_sub(under_way);
        if self.sent >= self.end || room == 0 {
            *reader = Reader::Free;
            return None;
        }
        if under_way == 0 {
            *progress = now;
        }
        *reader = Reader::Busy(self.sent);
        let max_bytes = room.min(policy.log_batch).min(self.end.0 - self.sent.0);
        Some(Piece { turn: self.turn, from: self.sent, max_bytes })
    }

    pub(super) fn deadline(&self, policy: &AgentPolicy) -> Option<Mono> {
        let Gate::Open { reader, progress } = self.gate else {
            return None;
        };
        match reader {
            Reader::Free => (self.sent > self.acked).then(|| progress.after(policy.log_patience)),
            Reader::Resting(until) => Some(until),
            Reader::Busy(_) => None,
        }
    }

    /// Whether nothing of a log that ends at `log_end` is owed any more.
    pub(super) fn settled(&self, log_end: LogOffset) -> bool {
        match self.gate {
            Gate::Refused => true,
            Gate::Open { .. } | Gate::Shut => self.acked >= log_end,
        }
    }

    #[cfg(test)]
    pub(super) const fn offsets(&self) -> (LogOffset, LogOffset, LogOffset) {
        (self.acked, self.sent, self.end)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    const POLICY: AgentPolicy = AgentPolicy {
        slots: 1,
        first_backoff: Duration::from_millis(50),
        longest_backoff: Duration::from_secs(5),
        greeting: Duration::from_secs(10),
        dead_man: Duration::from_secs(900),
        repeat: Duration::from_secs(5),
        log_window: 100,
        log_batch: 40,
        log_patience: Duration::from_secs(10),
        pause: Duration::from_secs(1),
        fetch_tries: 5,
        keep_within: Duration::from_secs(600),
        last_words: Duration::from_secs(10),
        machine_ends_at: None,
        parting: Duration::ZERO,
    };

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    fn stored(upto: u64) -> LogOutcome {
        LogOutcome::Stored { upto: LogOffset(upto) }
    }

    fn flowing(end: u64) -> LogFlow {
        let mut flow = LogFlow::new();
        flow.grown_to(LogOffset(end));
        flow.open(LogOffset(0), at(0));
        flow
    }

    /// Sends everything that may be sent, and says which pieces those were.
    fn pump(flow: &mut LogFlow, now: Mono) -> Vec<(u64, u64)> {
        let mut pieces = Vec::new();
        while let Some(piece) = flow.next(now, &POLICY) {
            pieces.push((piece.from.0, piece.max_bytes));
            flow.on_sent(piece.turn, LogOffset(piece.from.0 + piece.max_bytes), now, &POLICY);
        }
        pieces
    }

    #[test]
    fn no_more_than_the_window_is_under_way() {
        let mut flow = flowing(1000);
        assert_eq!(pump(&mut flow, at(0)), [(0, 40), (40, 40), (80, 20)]);
        flow.on_ack(stored(40), at(1));
        assert_eq!(pump(&mut flow, at(1)), [(100, 40)]);
    }

    #[test]
    fn one_piece_is_read_at_a_time() {
        let mut flow = flowing(1000);
        assert!(flow.next(at(0), &POLICY).is_some());
        assert_eq!(flow.next(at(0), &POLICY), None);
    }

    #[test]
    fn nothing_flows_before_a_session_says_where_to_begin() {
        let mut flow = LogFlow::new();
        flow.grown_to(LogOffset(10));
        assert_eq!(flow.next(at(0), &POLICY), None);
        flow.open(LogOffset(4), at(0));
        assert_eq!(pump(&mut flow, at(0)), [(4, 6)]);
    }

    #[test]
    fn after_a_reconnect_the_supervisors_offset_rules() {
        let mut flow = flowing(90);
        assert_eq!(pump(&mut flow, at(0)), [(0, 40), (40, 40), (80, 10)]);
        flow.shut();
        flow.open(LogOffset(30), at(1));
        assert_eq!(pump(&mut flow, at(1)), [(30, 40), (70, 20)]);
    }

    #[test]
    fn an_answer_that_belongs_to_an_earlier_stretch_says_nothing() {
        let mut flow = flowing(90);
        let piece = flow.next(at(0), &POLICY).unwrap();
        flow.shut();
        flow.open(LogOffset(0), at(1));
        flow.on_sent(piece.turn, LogOffset(40), at(1), &POLICY);
        assert_eq!(flow.next(at(1), &POLICY).unwrap().from, LogOffset(0));
    }

    #[test]
    fn an_acknowledgement_below_the_last_one_goes_back() {
        let mut flow = flowing(80);
        assert_eq!(pump(&mut flow, at(0)).len(), 2);
        flow.on_ack(stored(80), at(1));
        flow.on_ack(stored(50), at(1));
        assert_eq!(pump(&mut flow, at(1)), [(50, 30)]);
    }

    #[test]
    fn a_log_without_acknowledgements_is_sent_again_from_the_last_one() {
        let mut flow = flowing(80);
        assert_eq!(pump(&mut flow, at(0)).len(), 2);
        flow.on_ack(stored(40), at(3));
        assert_eq!(flow.deadline(&POLICY), Some(at(13)));
        assert_eq!(pump(&mut flow, at(12)), []);
        assert_eq!(pump(&mut flow, at(13)), [(40, 40)]);
    }

    #[test]
    fn a_spool_that_gives_nothing_is_left_alone_for_a_while() {
        let mut flow = flowing(80);
        let piece = flow.next(at(0), &POLICY).unwrap();
        flow.on_sent(piece.turn, piece.from, at(0), &POLICY);
        assert_eq!(flow.next(at(0), &POLICY), None);
        assert_eq!(flow.deadline(&POLICY), Some(at(1)));
        assert!(flow.next(at(1), &POLICY).is_some());
    }

    #[test]
    fn a_refused_log_owes_nothing_and_stays_refused() {
        let mut flow = flowing(80);
        assert_eq!(pump(&mut flow, at(0)).len(), 2);
        assert!(!flow.settled(LogOffset(80)));
        flow.on_ack(LogOutcome::Refused, at(1));
        flow.shut();
        assert!(flow.settled(LogOffset(80)));
        assert_eq!(flow.next(at(1), &POLICY), None);
    }

    #[test]
    fn an_acknowledgement_may_be_faster_than_the_word_that_it_was_sent() {
        let mut flow = flowing(80);
        let piece = flow.next(at(0), &POLICY).unwrap();
        flow.on_ack(stored(40), at(0));
        flow.on_sent(piece.turn, LogOffset(40), at(0), &POLICY);
        assert_eq!(pump(&mut flow, at(0)), [(40, 40)]);
    }
}
