//! Which part of a log is wanted.

use data_runner_core::log::{LinePiece, PieceKind, Stream};
use regex::bytes::{Regex, RegexBuilder};

use super::lines::{End, Line, Place};

/// Which lines of an attempt's log are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// Of this stream only.
    pub(crate) stream: Option<Stream>,
    /// Lines from this number on, and the open one that a reader who comes back has not seen whole.
    pub(crate) from: u64,
    pub(crate) open: Option<u64>,
    /// Lines up to this number.
    pub(crate) to: u64,
    /// Lines that match.
    pub(crate) pattern: Option<Regex>,
}

impl Default for Selection {
    /// Everything.
    fn default() -> Self {
        Self { stream: None, from: 1, open: None, to: u64::MAX, pattern: None }
    }
}

impl Selection {
    /// What a reader who has seen so much still wants.
    pub(crate) fn resume(&mut self, place: Place) {
        let next = place.upto.saturating_add(1);
        if next > self.from {
            self.open = place.open.filter(|open| *open >= self.from);
            self.from = next;
        }
    }

    /// The same for an attempt that follows: all its lines.
    #[must_use]
    pub(crate) fn of_next_attempt(self) -> Self {
        Self { from: 1, open: None, to: u64::MAX, ..self }
    }

    /// The lowest line that is wanted.
    pub(crate) fn lowest(&self) -> u64 {
        self.open.unwrap_or(self.from).min(self.from)
    }

    /// Whether all bytes are wanted, so that lines need not be looked for.
    pub(crate) fn is_everything(&self) -> bool {
        self.from <= 1 && self.to == u64::MAX
    }

    /// Whether a piece is of a wanted line of a wanted stream.
    pub(crate) fn wants(&self, piece: &LinePiece) -> bool {
        let line = (self.from..=self.to).contains(&piece.line) || self.open == Some(piece.line);
        match piece.kind {
            PieceKind::Missing(_) => line,
            PieceKind::Text { stream, .. } => line && self.wants_stream(stream),
        }
    }

    /// Whether a stream is wanted.
    pub(crate) fn wants_stream(&self, stream: Stream) -> bool {
        self.stream.is_none_or(|wanted| wanted == stream)
    }
}

/// Which lines match. Of a line that leaves in parts the first part decides.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    stdout: Option<bool>,
    stderr: Option<bool>,
}

impl Matching {
    pub(crate) fn matches(&mut self, pattern: Option<&Regex>, line: &Line) -> bool {
        let Some(pattern) = pattern else { return true };
        let begun = match line.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let matches = begun.take().unwrap_or_else(|| pattern.is_match(&line.bytes));
        if line.end == End::Continues {
            *begun = Some(matches);
        }
        matches
    }
}

/// A pattern from outside, with bounds on what it may cost to build and to run; matching is linear in any case.
pub(crate) fn pattern(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(1 << 20).dfa_size_limit(4 << 20).nest_limit(64).build()
}
