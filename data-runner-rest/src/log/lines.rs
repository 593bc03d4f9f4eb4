//! From pieces to whole lines.
//!
//! Both streams write at the same time, so a line of one may be complete while an earlier one of the other is still
//! open. Lines leave when they are complete; each tells from where to go on after it.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};
use data_runner_core::log::{Gap, LinePiece, PieceKind, Stream};
use data_runner_core::time::Timestamp;

/// A line longer than this leaves in parts.
pub(crate) const LONGEST: usize = 64 << 10;

/// What leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// A line, or a part of one.
    Line(Line),
    /// Bytes that are missing.
    Missing {
        /// When that was found.
        at: Timestamp,
        /// How many, and why.
        gap: Gap,
    },
}

/// A line, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) stream: Stream,
    /// When its first byte was read.
    pub(crate) at: Timestamp,
    /// Its bytes, without the newline.
    pub(crate) bytes: Bytes,
    pub(crate) end: End,
}

/// How a line's record ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With the newline. A reader who has this record goes on from that place.
    Newline(Place),
    /// Without one: what follows is missing, or there is nothing more.
    Cut(Place),
    /// The line goes on in the next record of its stream.
    Continues,
}

/// How much of an attempt's log somebody has seen: everything up to a line, but for one that was still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// The highest line that was seen whole.
    pub(crate) upto: u64,
    /// A lower line that was not.
    pub(crate) open: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.upto)?;
        self.open.map_or(Ok(()), |open| write!(f, "~{open}"))
    }
}

impl std::str::FromStr for Place {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('~') {
            Some((upto, open)) => Ok(Self { upto: upto.parse()?, open: Some(open.parse()?) }),
            None => Ok(Self { upto: text.parse()?, open: None }),
        }
    }
}

/// Puts lines together.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    stdout: Option<Open>,
    stderr: Option<Open>,
    upto: u64,
    ready: VecDeque<Record>,
}

/// A line that has begun.
#[derive(Debug)]
struct Open {
    number: u64,
    at: Timestamp,
    bytes: BytesMut,
}

impl Lines {
    /// Goes on where somebody has seen everything up to `upto`.
    pub(crate) fn after(upto: u64) -> Self {
        Self { upto, ..Self::default() }
    }

    /// Takes a piece.
    pub(crate) fn push(&mut self, piece: LinePiece) {
        match piece.kind {
            PieceKind::Missing(gap) => {
                self.flush();
                self.ready.push_back(Record::Missing { at: piece.at, gap });
            }
            PieceKind::Text { stream, mut bytes, ends } => {
                if ends {
                    bytes.truncate(bytes.len().saturating_sub(1));
                }
                self.text(stream, piece.line, piece.at, bytes, ends);
            }
        }
    }

    /// Nothing more comes: what is open leaves as it is, the lower line first.
    pub(crate) fn flush(&mut self) {
        let mut open = [Stream::Stdout, Stream::Stderr].map(|stream| (stream, self.open(stream).take()));
        open.sort_by_key(|(_, open)| open.as_ref().map(|open| open.number));
        for (stream, open) in open {
            if let Some(Open { number, at, bytes }) = open {
                let end = End::Cut(self.saw(number));
                self.ready.push_back(Record::Line(Line { number, stream, at, bytes: bytes.freeze(), end }));
            }
        }
    }

    /// What is ready to leave.
    pub(crate) fn take(&mut self) -> Option<Record> {
        self.ready.pop_front()
    }

    fn text(&mut self, stream: Stream, number: u64, at: Timestamp, bytes: Bytes, ends: bool) {
        let open = self.open(stream).take();
        let at = open.as_ref().map_or(at, |open| open.at);
        // A line that is whole in one piece is not copied.
        let mut rest = match open {
            Some(mut open) => {
                open.bytes.extend_from_slice(&bytes);
                open.bytes.freeze()
            }
            None => bytes,
        };
        while rest.len() > LONGEST {
            let bytes = rest.split_to(part(&rest));
            self.ready.push_back(Record::Line(Line { number, stream, at, bytes, end: End::Continues }));
        }
        if ends {
            let end = End::Newline(self.saw(number));
            self.ready.push_back(Record::Line(Line { number, stream, at, bytes: rest, end }));
        } else {
            let bytes = rest.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            *self.open(stream) = Some(Open { number, at, bytes });
        }
    }

    fn open(&mut self, stream: Stream) -> &mut Option<Open> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// A line was whole.
    fn saw(&mut self, number: u64) -> Place {
        self.upto = self.upto.max(number);
        let open = [&self.stdout, &self.stderr].into_iter().flatten().map(|open| open.number);
        Place { upto: self.upto, open: open.filter(|open| *open < self.upto).min() }
    }
}

impl End {
    /// From where to go on for somebody who has this record; `None`: as before it.
    pub(crate) fn place(self) -> Option<Place> {
        match self {
            Self::Newline(place) | Self::Cut(place) => Some(place),
            Self::Continues => None,
        }
    }
}

/// Where to part a line that is too long: not within a character.
fn part(bytes: &[u8]) -> usize {
    let is_inside = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    // A character has four bytes at most; what is longer is none.
    (LONGEST - 3..=LONGEST).rev().find(|at| !is_inside(at)).unwrap_or(LONGEST)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use data_runner_core::log::{ChunkBuilder, GapReason, LogPosition};

    use super::*;

    fn shown(writes: &[(Stream, &[u8])]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut builder = ChunkBuilder::resume(LogPosition::START);
        for (at, (stream, bytes)) in writes.iter().enumerate() {
            builder.push(*stream, Timestamp::from_micros(at as i64), bytes);
            // Each write is a chunk of its own, so that lines span chunks.
            builder.finish().unwrap().pieces().unwrap().into_iter().for_each(|piece| lines.push(piece));
        }
        lines.flush();
        std::iter::from_fn(|| lines.take()).map(|record| show(&record)).collect()
    }

    fn show(record: &Record) -> String {
        match record {
            Record::Missing { gap, .. } => format!("missing {:?}", gap.bytes),
            Record::Line(line) => {
                let place = line.end.place().map_or_else(|| "-".to_owned(), |place| place.to_string());
                format!("{} {:?} at {} id {place}", line.number, line.bytes, line.at.micros())
            }
        }
    }

    #[test]
    fn a_line_leaves_when_it_is_complete_and_tells_what_is_still_open() {
        let written: [(Stream, &[u8]); 4] = [
            (Stream::Stdout, b"waiting"),
            (Stream::Stderr, b"warn 1\nwarn 2\n"),
            (Stream::Stdout, b" done\n"),
            (Stream::Stdout, b"end"),
        ];
        assert_eq!(
            shown(&written),
            [
                "2 b\"warn 1\" at 1 id 2~1",
                "3 b\"warn 2\" at 1 id 3~1",
                "1 b\"waiting done\" at 0 id 3",
                "4 b\"end\" at 3 id 4",
            ]
        );
    }

    #[test]
    fn a_line_of_ten_megabytes_leaves_in_parts_and_never_lies_in_memory_whole() {
        let mut lines = Lines::default();
        let mut builder = ChunkBuilder::resume(LogPosition::START);
        let (mut length, mut parts) = (0, 0);
        for _ in 0..160 {
            builder.push(Stream::Stdout, Timestamp::default(), &[b'x'; LONGEST]);
            builder.finish().unwrap().pieces().unwrap().into_iter().for_each(|piece| lines.push(piece));
            while let Some(Record::Line(line)) = lines.take() {
                assert!(line.bytes.len() <= LONGEST && line.end == End::Continues);
                (length, parts) = (length + line.bytes.len(), parts + 1);
            }
            assert!(lines.stdout.as_ref().unwrap().bytes.len() <= LONGEST);
        }
        lines.flush();
        let Some(Record::Line(last)) = lines.take() else { panic!("the rest is missing") };
        assert_eq!((length + last.bytes.len(), parts), (160 * LONGEST, 159));
    }

    #[test]
    fn a_long_line_is_not_parted_within_a_character() {
        let text = "ä".repeat(LONGEST);
        let mut lines = Lines::default();
        let mut builder = ChunkBuilder::resume(LogPosition::START);
        builder.push(Stream::Stdout, Timestamp::default(), b"x");
        builder.push(Stream::Stdout, Timestamp::default(), text.as_bytes());
        builder.finish().unwrap().pieces().unwrap().into_iter().for_each(|piece| lines.push(piece));
        lines.flush();
        let mut whole = String::new();
        while let Some(Record::Line(line)) = lines.take() {
            whole.push_str(std::str::from_utf8(&line.bytes).unwrap());
        }
        assert_eq!(whole, format!("x{text}"));
    }

    #[test]
    fn a_gap_ends_the_lines_that_were_open_the_lower_first() {
        let mut builder = ChunkBuilder::resume(LogPosition::START);
        builder.push(Stream::Stderr, Timestamp::default(), b"e");
        builder.push(Stream::Stdout, Timestamp::default(), b"o");
        builder.push_gap(Timestamp::default(), Gap { bytes: None, reason: GapReason::DiskFull });
        let mut lines = Lines::default();
        builder.finish().unwrap().pieces().unwrap().into_iter().for_each(|piece| lines.push(piece));
        let shown: Vec<String> = std::iter::from_fn(|| lines.take()).map(|record| show(&record)).collect();
        assert_eq!(shown, ["1 b\"e\" at 0 id 1", "2 b\"o\" at 0 id 2", "missing None"]);
    }

    #[test]
    fn a_carriage_return_and_bytes_that_are_no_text_stay_in_the_line() {
        let written: [(Stream, &[u8]); 1] = [(Stream::Stdout, b"10%\r20%\n\n\xff\x00\n")];
        assert_eq!(
            shown(&written),
            ["1 b\"10%\\r20%\" at 0 id 1", "2 b\"\" at 0 id 2", "3 b\"\\xff\\0\" at 0 id 3",]
        );
    }

    #[test]
    fn a_place_comes_back_from_its_text() {
        for text in ["0", "17", "17~3"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for wrong in ["", "x", "1~", "~1", "-1"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
