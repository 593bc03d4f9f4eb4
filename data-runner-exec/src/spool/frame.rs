//! One chunk as bytes.

use bytes::{Buf, BufMut, Bytes};
use data_runner_core::log::{Codec, LogChunk, LogOffset, LogPosition};
use data_runner_core::time::Timestamp;

/// Bytes of a frame before the payload, the length apart.
const HEAD: usize = 2 * 32 + 2 * 8 + 1;

/// More than any chunk of ours takes; a longer claim is damage.
const MAX_FRAME: usize = 8 << 20;

/// Appends `chunk` as a frame to `out`.
pub(crate) fn encode(chunk: &LogChunk, out: &mut Vec<u8>) {
    // A chunk's payload is a few hundred KiB by construction (see the writer), so its length fits.
    out.put_u32_le(u32::try_from(HEAD + chunk.payload.len()).unwrap_or(u32::MAX));
    for position in [&chunk.start, &chunk.end] {
        out.put_u64_le(position.offset.0);
        out.put_u64_le(position.next_line);
        out.put_u64_le(position.open_stdout.unwrap_or(0));
        out.put_u64_le(position.open_stderr.unwrap_or(0));
    }
    out.put_i64_le(chunk.first_at.micros());
    out.put_i64_le(chunk.last_at.micros());
    out.put_u8(match chunk.codec {
        Codec::Plain => 0,
        Codec::Zstd => 1,
    });
    out.put_slice(&chunk.payload);
}

/// A frame that says something impossible.
#[derive(Debug, thiserror::Error)]
#[error("the log's spool is damaged: {0}")]
pub struct DamagedSpool(&'static str);

/// Bytes at the beginning of a frame that [`outline`] needs.
pub(crate) const OUTLINE: usize = 4 + HEAD;

/// Where a frame's chunk begins and ends, and how long the frame is, without its payload.
pub(crate) fn outline(head: [u8; OUTLINE]) -> Result<(LogOffset, LogOffset, u64), DamagedSpool> {
    let mut head = Bytes::copy_from_slice(&head);
    let length = frame_length(&mut head)?;
    let start = position(&mut head).offset;
    let end = position(&mut head).offset;
    Ok((start, end, 4 + length as u64))
}

fn frame_length(bytes: &mut Bytes) -> Result<usize, DamagedSpool> {
    let length = bytes.get_u32_le() as usize;
    if (HEAD..=MAX_FRAME).contains(&length) {
        Ok(length)
    } else {
        Err(DamagedSpool("impossible frame length"))
    }
}

/// Takes the first frame off `rest`; `None` if not all of it is there.
pub(crate) fn decode(rest: &mut Bytes) -> Result<Option<LogChunk>, DamagedSpool> {
    if rest.len() < 4 {
        return Ok(None);
    }
    let length = frame_length(&mut rest.slice(..4))?;
    if rest.len() < 4 + length {
        return Ok(None);
    }
    let mut frame = rest.split_to(4 + length).slice(4..);
    let start = position(&mut frame);
    let end = position(&mut frame);
    let first_at = Timestamp::from_micros(frame.get_i64_le());
    let last_at = Timestamp::from_micros(frame.get_i64_le());
    let codec = match frame.get_u8() {
        0 => Codec::Plain,
        1 => Codec::Zstd,
        _ => return Err(DamagedSpool("unknown codec")),
    };
    Ok(Some(LogChunk { start, end, first_at, last_at, codec, payload: frame }))
}

fn position(frame: &mut Bytes) -> LogPosition {
    LogPosition {
        offset: LogOffset(frame.get_u64_le()),
        next_line: frame.get_u64_le(),
        open_stdout: Some(frame.get_u64_le()).filter(|&line| line != 0),
        open_stderr: Some(frame.get_u64_le()).filter(|&line| line != 0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use data_runner_core::log::{ChunkBuilder, Stream};

    use super::*;

    #[test]
    fn a_frame_counts_from_the_moment_all_of_it_is_there() {
        let mut builder = ChunkBuilder::resume(LogPosition::START);
        builder.push(Stream::Stdout, Timestamp::from_micros(5), b"one\ntw");
        builder.push(Stream::Stderr, Timestamp::from_micros(9), b"x");
        let chunk = builder.finish().unwrap();
        let mut bytes = Vec::new();
        encode(&chunk, &mut bytes);
        for torn in 0..bytes.len() {
            assert!(decode(&mut Bytes::copy_from_slice(&bytes[..torn])).unwrap().is_none());
        }
        assert_eq!(decode(&mut bytes.into()).unwrap(), Some(chunk));
    }

    #[test]
    fn an_impossible_frame_is_an_error_and_never_a_panic() {
        assert!(decode(&mut Bytes::from_static(&[0xff; 64])).is_err());
        assert!(decode(&mut Bytes::from_static(&[1, 0, 0, 0, 9])).is_err());
    }
}
