//! Reading chunks: segments as they were written, lines as people count them.

use bytes::{Buf, Bytes};

use super::chunk::{MAX_PAYLOAD, gap_reason};
use super::{Codec, Gap, LogChunk, Stream};
use crate::time::Timestamp;

/// A chunk whose payload is not what it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("corrupt log chunk: {0}")]
pub struct CorruptChunk(pub &'static str);

/// One record of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Bytes of one read.
    Output {
        /// The stream.
        stream: Stream,
        /// When they were read.
        at: Timestamp,
        /// The bytes.
        bytes: Bytes,
    },
    /// Bytes that are missing here.
    Missing {
        /// When that was found.
        at: Timestamp,
        /// How many, and why.
        gap: Gap,
    },
}

/// A part of one line, or a whole one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinePiece {
    /// The line's number, from 1; of a gap, the number that the next line to start will get.
    pub line: u64,
    /// When it was read.
    pub at: Timestamp,
    /// What it is.
    pub kind: PieceKind,
}

/// What a piece holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PieceKind {
    /// Bytes of a line, the newline included if `ends`.
    Text {
        /// The stream.
        stream: Stream,
        /// The bytes.
        bytes: Bytes,
        /// Whether the line ends here.
        ends: bool,
    },
    /// Bytes that are missing here.
    Missing(Gap),
}

impl LogChunk {
    /// The chunk's records in order. The output of one stream, put together over all chunks, is exactly what the job
    /// wrote there (gaps apart).
    pub fn segments(&self) -> Result<Vec<Segment>, CorruptChunk> {
        let mut rest = self.records()?;
        let mut at = self.first_at;
        let mut segments = Vec::new();
        while rest.has_remaining() {
            let tag = rest.get_u8();
            at = Timestamp::from_micros(
                at.micros().saturating_add(i64::try_from(varint(&mut rest)?).map_err(|_| TOO_LARGE)?),
            );
            segments.push(match tag {
                0 => output(Stream::Stdout, at, &mut rest)?,
                1 => output(Stream::Stderr, at, &mut rest)?,
                2 => missing(at, &mut rest)?,
                _ => return Err(CorruptChunk("unknown record tag")),
            });
        }
        Ok(segments)
    }

    /// The chunk's content cut into lines, in the order in which it was read.
    pub fn pieces(&self) -> Result<Vec<LinePiece>, CorruptChunk> {
        let mut here = self.start;
        let mut pieces = Vec::new();
        for segment in self.segments()? {
            match segment {
                Segment::Missing { at, gap } => {
                    pieces.push(LinePiece { line: here.next_line, at, kind: PieceKind::Missing(gap) });
                    here.pass_gap(gap);
                }
                Segment::Output { stream, at, mut bytes } => {
                    while !bytes.is_empty() {
                        let newline = memchr::memchr(b'\n', &bytes);
                        let piece = bytes.split_to(newline.map_or(bytes.len(), |at| at + 1));
                        let line = match here.open(stream).take() {
                            Some(open) => open,
                            None => {
                                here.next_line += 1;
                                here.next_line - 1
                            }
                        };
                        let ends = newline.is_some();
                        if !ends {
                            *here.open(stream) = Some(line);
                        }
                        pieces.push(LinePiece {
                            line,
                            at,
                            kind: PieceKind::Text { stream, bytes: piece, ends },
                        });
                    }
                }
            }
        }
        Ok(pieces)
    }

    fn records(&self) -> Result<Bytes, CorruptChunk> {
        match self.codec {
            Codec::Plain => Ok(self.payload.clone()),
            Codec::Zstd => zstd::bulk::decompress(&self.payload, MAX_PAYLOAD)
                .map(Bytes::from)
                .map_err(|_| CorruptChunk("not a Zstandard frame, or one that is too large")),
        }
    }
}

const TOO_LARGE: CorruptChunk = CorruptChunk("number too large");
const CUT_SHORT: CorruptChunk = CorruptChunk("cut short");

fn output(stream: Stream, at: Timestamp, rest: &mut Bytes) -> Result<Segment, CorruptChunk> {
    let length = usize::try_from(varint(rest)?).map_err(|_| TOO_LARGE)?;
    if length > rest.len() {
        return Err(CUT_SHORT);
    }
    Ok(Segment::Output { stream, at, bytes: rest.split_to(length) })
}

fn missing(at: Timestamp, rest: &mut Bytes) -> Result<Segment, CorruptChunk> {
    if rest.is_empty() {
        return Err(CUT_SHORT);
    }
    let reason = gap_reason(rest.get_u8())?;
    let bytes = varint(rest)?.checked_sub(1);
    Ok(Segment::Missing { at, gap: Gap { bytes, reason } })
}

fn varint(rest: &mut Bytes) -> Result<u64, CorruptChunk> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        if rest.is_empty() {
            return Err(CUT_SHORT);
        }
        let byte = rest.get_u8();
        value |= u64::from(byte & 0x7f).checked_shl(shift).ok_or(TOO_LARGE)?;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(TOO_LARGE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::log::{ChunkBuilder, GapReason, LogOffset, LogPosition};

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn lines(chunks: &[LogChunk]) -> Vec<(u64, String)> {
        let pieces = chunks.iter().flat_map(|chunk| chunk.pieces().unwrap());
        pieces
            .map(|piece| match piece.kind {
                PieceKind::Text { bytes, .. } => (piece.line, String::from_utf8_lossy(&bytes).into_owned()),
                PieceKind::Missing(gap) => (piece.line, format!("missing {:?}", gap.bytes)),
            })
            .collect()
    }

    #[test]
    fn lines_are_numbered_by_where_they_start_over_both_streams() {
        let mut builder = ChunkBuilder::resume(LogPosition::START);
        builder.push(Stream::Stdout, at(1), b"one, ");
        builder.push(Stream::Stderr, at(2), b"two\n");
        builder.push(Stream::Stdout, at(3), b"still one\nthree\n");
        let chunk = builder.finish().unwrap();
        let expected = [(1, "one, "), (2, "two\n"), (1, "still one\n"), (3, "three\n")];
        assert_eq!(lines(&[chunk]), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn a_line_that_spans_chunks_keeps_its_number() {
        let mut builder = ChunkBuilder::resume(LogPosition::START);
        builder.push(Stream::Stdout, at(1), b"a\nlong");
        let first = builder.finish().unwrap();
        builder.push(Stream::Stdout, at(2), b" line\nb");
        let second = builder.finish().unwrap();
        assert_eq!((first.lowest_line(), second.lowest_line()), (1, 2));
        assert_eq!(second.start.offset, LogOffset(6));
        let expected = [(1, "a\n"), (2, "long"), (2, " line\n"), (3, "b")];
        assert_eq!(lines(&[first, second]), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn a_gap_counts_its_bytes_and_starts_a_new_line() {
        let mut builder = ChunkBuilder::resume(LogPosition::START);
        builder.push(Stream::Stdout, at(1), b"cut");
        builder.push_gap(at(2), Gap { bytes: Some(10), reason: GapReason::Quota });
        builder.push(Stream::Stdout, at(3), b"on");
        let chunk = builder.finish().unwrap();
        assert_eq!(chunk.end.offset, LogOffset(15));
        let expected = [(1, "cut"), (2, "missing Some(10)"), (2, "on")];
        assert_eq!(lines(&[chunk]), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn a_damaged_payload_is_an_error_and_never_a_panic() {
        let mut builder = ChunkBuilder::resume(LogPosition::START);
        builder.push(Stream::Stdout, at(1), &b"some text\n".repeat(100));
        let good = builder.finish().unwrap();
        assert_eq!(good.codec, Codec::Zstd);
        let torn = LogChunk { payload: good.payload.slice(..good.payload.len() / 2), ..good.clone() };
        assert!(torn.segments().is_err());
        let liar = LogChunk { codec: Codec::Plain, ..good };
        assert!(liar.segments().is_err());
    }

    proptest! {
        #[test]
        fn each_stream_comes_back_byte_for_byte_and_positions_agree(
            writes in prop::collection::vec((any::<bool>(), prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..40), any::<bool>()), 0..40)
        ) {
            let mut builder = ChunkBuilder::resume(LogPosition::START);
            let (mut out, mut err, mut chunks): (Vec<u8>, Vec<u8>, Vec<LogChunk>) = Default::default();
            for (i, (is_out, bytes, cut)) in writes.iter().enumerate() {
                let stream = if *is_out { Stream::Stdout } else { Stream::Stderr };
                if *is_out { out.extend(bytes) } else { err.extend(bytes) }
                builder.push(stream, at(i as i64), bytes);
                if *cut { chunks.extend(builder.finish()); }
            }
            chunks.extend(builder.finish());
            let (mut got_out, mut got_err): (Vec<u8>, Vec<u8>) = Default::default();
            let mut last_ended = std::collections::BTreeMap::new();
            let mut here = LogPosition::START;
            for chunk in &chunks {
                prop_assert_eq!(chunk.start, here);
                here = chunk.end;
                for piece in chunk.pieces().unwrap() {
                    prop_assert!(piece.line >= chunk.lowest_line() && piece.line < chunk.end.next_line);
                    let PieceKind::Text { stream, bytes, ends } = piece.kind else { continue };
                    prop_assert!(last_ended.insert(piece.line, ends) != Some(true), "a line went on after its end");
                    match stream { Stream::Stdout => got_out.extend_from_slice(&bytes), Stream::Stderr => got_err.extend_from_slice(&bytes) }
                }
            }
            prop_assert_eq!(last_ended.len() as u64, here.next_line - 1);
            prop_assert_eq!(got_out, out);
            prop_assert_eq!(got_err, err);
        }

        #[test]
        fn arbitrary_bytes_never_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let start = LogPosition::START;
            for codec in [Codec::Plain, Codec::Zstd] {
                let chunk = LogChunk { start, end: start, first_at: at(0), last_at: at(0), codec, payload: payload.clone().into() };
                let _outcome = chunk.pieces();
            }
        }
    }
}
