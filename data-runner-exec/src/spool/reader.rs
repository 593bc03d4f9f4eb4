//! The agent's side: reads chunks, from any place and as often as it likes, while the shim appends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use data_runner_core::log::{LogChunk, LogOffset};

use super::{OUTLINE, SPOOL_FILE, decode, outline};

/// How much is read from disk at a time; more than any frame that the writer makes.
const BLOCK: usize = 1 << 20;

/// Bytes of spool between two places that are remembered.
const MARK_EVERY: u64 = 256 << 10;

/// Reads one spool. What it remembers (places where frames begin) is only to be quick.
#[derive(Debug)]
pub struct SpoolReader {
    path: PathBuf,
    places: Mutex<Places>,
}

/// Where frames begin in the file.
#[derive(Debug, Default)]
struct Places {
    file: Option<File>,
    /// Sparse, in order; always behind `(0, 0)`.
    marks: Vec<(LogOffset, u64)>,
    /// The end of the last whole frame that was seen.
    end: (LogOffset, u64),
    /// Where the last read ended: the next one mostly goes on there.
    last: (LogOffset, u64),
}

impl SpoolReader {
    /// The spool in the run folder `folder`, which need not be there yet.
    pub fn open(folder: &Path) -> Self {
        Self { path: folder.join(SPOOL_FILE), places: Mutex::default() }
    }

    /// Where the log ends as of now.
    pub fn end(&self) -> io::Result<LogOffset> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.find_end(&self.path)?;
        Ok(places.end.0)
    }

    /// Chunks from `from` on, about `max_bytes` of payload and at least one, if there is one. The first is the one
    /// that holds the byte at `from`.
    pub fn read(&self, from: LogOffset, max_bytes: usize) -> io::Result<Vec<LogChunk>> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chunks: Vec<LogChunk> = Vec::new();
        let mut left = max_bytes;
        let at = places.before(from);
        let stopped_at = places.scan(&self.path, at, |chunk| {
            if chunk.end.offset <= from {
                return true;
            }
            let taken = chunks.is_empty() || chunk.payload.len() <= left;
            if taken {
                left = left.saturating_sub(chunk.payload.len());
                chunks.push(chunk);
            }
            taken
        })?;
        if let Some(chunk) = chunks.last() {
            places.last = (chunk.end.offset, stopped_at);
        }
        Ok(chunks)
    }
}

impl Places {
    /// The latest known place that is not behind `offset`.
    fn before(&self, offset: LogOffset) -> u64 {
        let marked = self.marks.partition_point(|(mark, _)| *mark <= offset);
        let mark = marked.checked_sub(1).and_then(|index| self.marks.get(index)).copied().unwrap_or_default();
        let known = [mark, self.last, self.end];
        known.into_iter().filter(|(place, _)| *place <= offset).map(|(_, at)| at).max().unwrap_or(0)
    }

    /// Goes through the whole frames from the place `at` on, until `take` refuses one; gives the place of that one,
    /// or the end.
    fn scan(&mut self, path: &Path, mut at: u64, mut take: impl FnMut(LogChunk) -> bool) -> io::Result<u64> {
        let mut block = BLOCK;
        loop {
            let mut rest = self.read_block(path, at, block)?;
            let (full, begin) = (rest.len() == block, at);
            loop {
                let before = rest.len();
                let Some(chunk) = decode(&mut rest).map_err(io::Error::other)? else {
                    break;
                };
                let next = at + (before - rest.len()) as u64;
                self.note((chunk.start.offset, at), (chunk.end.offset, next));
                if !take(chunk) {
                    return Ok(at);
                }
                at = next;
            }
            if !full {
                return Ok(at);
            }
            // A frame that is longer than a block needs a longer block.
            block = if at == begin { block * 2 } else { BLOCK };
        }
    }

    /// Follows the frames to the end without reading what is in them.
    fn find_end(&mut self, path: &Path) -> io::Result<()> {
        let Some(file) = opened(&mut self.file, path)? else {
            return Ok(());
        };
        let length = file.metadata()?.len();
        let mut passed = Vec::new();
        let mut at = self.end.1;
        while at + OUTLINE as u64 <= length {
            let mut head = [0; OUTLINE];
            file.read_exact_at(&mut head, at)?;
            let (start, end, frame) = outline(head).map_err(io::Error::other)?;
            if at + frame > length {
                break;
            }
            passed.push(((start, at), (end, at + frame)));
            at += frame;
        }
        passed.into_iter().for_each(|(begin, end)| self.note(begin, end));
        Ok(())
    }

    fn note(&mut self, begin: (LogOffset, u64), end: (LogOffset, u64)) {
        if end.1 > self.end.1 {
            self.end = end;
        }
        if begin.1 >= self.marks.last().map_or(0, |(_, at)| at + MARK_EVERY) {
            self.marks.push(begin);
        }
    }

    fn read_block(&mut self, path: &Path, at: u64, length: usize) -> io::Result<Bytes> {
        let Some(file) = opened(&mut self.file, path)? else {
            return Ok(Bytes::new());
        };
        let there = file.metadata()?.len().saturating_sub(at).min(length as u64);
        let mut bytes = vec![0; usize::try_from(there).unwrap_or(length)];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], at + filled as u64) {
                // The writer cut off what it could not finish.
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes.into())
    }
}

/// The file, once it is there.
fn opened<'a>(file: &'a mut Option<File>, path: &Path) -> io::Result<Option<&'a File>> {
    if file.is_none() {
        match File::open(path) {
            Ok(there) => *file = Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(file.as_ref())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use data_runner_core::log::Stream;
    use data_runner_core::time::Timestamp;

    use super::super::{Limits, SpoolWriter};
    use super::*;

    #[test]
    fn any_offset_can_be_read_again_and_again_while_the_log_grows() {
        let folder = tempfile::tempdir().unwrap();
        let reader = SpoolReader::open(folder.path());
        assert_eq!(reader.end().unwrap(), LogOffset(0), "a spool that is not there yet is empty");

        let mut log = SpoolWriter::new(folder.path(), Limits { half: 1 << 30 });
        for n in 0..2000_i64 {
            log.push(Stream::Stdout, Timestamp::from_micros(n), &n.to_le_bytes().repeat(200));
            log.flush();
            assert_eq!(reader.end().unwrap(), LogOffset((n as u64 + 1) * 1600));
        }
        for from in [0, 1, 1599, 1600, 1601, 1_000_000, 3_199_999] {
            for _ in 0..2 {
                let chunks = reader.read(LogOffset(from), 100_000).unwrap();
                assert!(chunks[0].start.offset.0 <= from && from < chunks[0].end.offset.0);
                assert!(chunks.windows(2).all(|pair| pair[0].end == pair[1].start));
            }
        }
        assert!(reader.read(LogOffset(3_200_000), 1).unwrap().is_empty());
        assert_eq!(reader.read(LogOffset(0), 0).unwrap().len(), 1, "at least one");
    }
}
