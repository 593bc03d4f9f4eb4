//! The shim's side: appends what a job prints, keeps head and tail of what is too much, and outlives a full disk.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use data_runner_core::log::{
    ChunkBuilder, Gap, GapReason, LogChunk, LogOffset, LogPosition, Segment, Stream,
};
use data_runner_core::time::Timestamp;

use super::{SPOOL_FILE, decode, encode};

/// Records that fill a chunk: large ones compress better and cost fewer writes when a job floods.
const FULL_CHUNK: usize = 256 << 10;

/// How much of a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes from the beginning that are kept, and as many from the end.
    pub(crate) half: u64,
}

/// Writes one job's log.
///
/// The first half of the quota goes into the spool as it comes. What follows goes into two files in turn, each of a
/// quarter of the quota; the older one is dropped when the newer one is full. At the end a gap record and the files
/// are appended to the spool: so the end of a flood can be read, and the disk never holds more than the quota.
pub(crate) struct SpoolWriter {
    folder: PathBuf,
    spool: Appender,
    builder: ChunkBuilder,
    limits: Limits,
    tail: Option<Tail>,
    /// Bytes that the disk did not take and that no gap record in the spool tells of yet.
    lost: u64,
}

impl SpoolWriter {
    /// A new log in `folder`. A job that prints nothing makes no file.
    pub(crate) fn new(folder: &Path, limits: Limits) -> Self {
        Self {
            folder: folder.to_owned(),
            spool: Appender::new(folder.join(SPOOL_FILE)),
            builder: ChunkBuilder::resume(LogPosition::START),
            limits,
            tail: None,
            lost: 0,
        }
    }

    /// Adds bytes of one read; true if a chunk was written.
    pub(crate) fn push(&mut self, stream: Stream, at: Timestamp, bytes: &[u8]) -> bool {
        let room = self.limits.half.saturating_sub(self.builder.position().offset.0 + self.lost);
        let (head, rest) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        if self.tail.is_none() {
            self.builder.push(stream, at, head);
        }
        if !rest.is_empty() {
            let (folder, half) = (&self.folder, self.limits.half);
            self.tail.get_or_insert_with(|| Tail::new(folder, half / 2)).push(stream, at, rest);
        }
        self.builder.pending() >= FULL_CHUNK && self.flush()
    }

    /// Whether something waits to be written that a reader could see.
    pub(crate) fn has_pending(&self) -> bool {
        self.builder.pending() > 0
    }

    /// Writes what is pending; true if there is more to read than before. What the disk does not take is counted,
    /// and told by a gap record as soon as it takes something again.
    pub(crate) fn flush(&mut self) -> bool {
        let Some(chunk) = self.builder.finish() else {
            return false;
        };
        let chunk = if self.lost == 0 { chunk } else { behind_gap(self.lost, chunk) };
        let written = self.spool.append(&chunk).is_ok();
        let here = if written { chunk.end } else { chunk.start };
        self.lost = chunk.end.offset.0 - here.offset.0;
        self.builder = ChunkBuilder::resume(here);
        written
    }

    /// Writes everything that is left, and says where the log ends.
    pub(crate) fn finish(&mut self, at: Timestamp) -> LogOffset {
        self.flush();
        if let Some(tail) = self.tail.take() {
            self.append_tail(tail, at);
        }
        if self.lost > 0 {
            let gap = Gap { bytes: Some(std::mem::take(&mut self.lost)), reason: GapReason::DiskFull };
            self.builder.push_gap(at, gap);
            self.flush();
        }
        self.builder.position().offset
    }

    fn append_tail(&mut self, mut tail: Tail, at: Timestamp) {
        let missing = tail.missing();
        if missing > 0 {
            self.builder.push_gap(at, Gap { bytes: Some(missing), reason: GapReason::Quota });
        }
        for file in tail.files {
            file.replay(|stream, at, bytes| {
                self.builder.push(stream, at, bytes);
                if self.builder.pending() >= FULL_CHUNK {
                    self.flush();
                }
            });
        }
        self.flush();
    }
}

/// `chunk` again, with a gap of `lost` bytes before it: its lines were numbered as if nothing was missing.
fn behind_gap(lost: u64, chunk: LogChunk) -> LogChunk {
    let mut builder = ChunkBuilder::resume(chunk.start);
    builder.push_gap(chunk.first_at, Gap { bytes: Some(lost), reason: GapReason::DiskFull });
    // A chunk that was made a moment ago can be read.
    for segment in chunk.segments().unwrap_or_default() {
        match segment {
            Segment::Output { stream, at, bytes } => builder.push(stream, at, &bytes),
            Segment::Missing { at, gap } => builder.push_gap(at, gap),
        }
    }
    builder.finish().unwrap_or(chunk)
}

/// A file of whole frames, made with the first one.
struct Appender {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    frame: Vec<u8>,
}

impl Appender {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None, length: 0, frame: Vec::new() }
    }

    fn append(&mut self, chunk: &LogChunk) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::options().read(true).write(true).create(true).truncate(true).open(&self.path)?,
        };
        let file = self.file.insert(file);
        self.frame.clear();
        encode(chunk, &mut self.frame);
        match file.write_all(&self.frame) {
            Ok(()) => {
                self.length += self.frame.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a frame must not stand before the next one. To shorten a file takes no space.
                file.set_len(self.length)?;
                file.seek(SeekFrom::Start(self.length))?;
                Err(error)
            }
        }
    }
}

/// The newest of what came after the head.
struct Tail {
    folder: PathBuf,
    per_file: u64,
    files: Vec<TailFile>,
    made: u32,
    dropped: u64,
}

impl Tail {
    fn new(folder: &Path, per_file: u64) -> Self {
        Self { folder: folder.to_owned(), per_file, files: Vec::new(), made: 0, dropped: 0 }
    }

    fn push(&mut self, stream: Stream, at: Timestamp, bytes: &[u8]) {
        if self.files.last().is_none_or(|file| file.bytes >= self.per_file) {
            self.turn();
        }
        if let Some(file) = self.files.last_mut() {
            file.push(stream, at, bytes);
        }
    }

    /// Begins a new file, and drops the older one of two.
    fn turn(&mut self) {
        self.files.push(TailFile::new(self.folder.join(format!("log.tail.{}", self.made))));
        self.made += 1;
        if self.files.len() > 2 {
            let oldest = self.files.remove(0);
            self.dropped += oldest.bytes;
            oldest.remove();
        }
    }

    /// Puts everything on disk and says how many bytes are not there.
    fn missing(&mut self) -> u64 {
        self.files.iter_mut().for_each(TailFile::flush);
        self.dropped + self.files.iter().map(|file| file.bytes - file.kept).sum::<u64>()
    }
}

struct TailFile {
    appender: Appender,
    builder: ChunkBuilder,
    bytes: u64,
    kept: u64,
}

impl TailFile {
    fn new(path: PathBuf) -> Self {
        let builder = ChunkBuilder::resume(LogPosition::START);
        Self { appender: Appender::new(path), builder, bytes: 0, kept: 0 }
    }

    fn push(&mut self, stream: Stream, at: Timestamp, bytes: &[u8]) {
        self.builder.push(stream, at, bytes);
        self.bytes += bytes.len() as u64;
        if self.builder.pending() >= FULL_CHUNK {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let Some(chunk) = self.builder.finish()
            // What the disk does not take is missing here, and counted so.
            && self.appender.append(&chunk).is_ok()
        {
            self.kept += chunk.end.offset.0 - chunk.start.offset.0;
        }
    }

    /// Gives back all that was kept, in order, and removes the file.
    fn replay(mut self, mut each: impl FnMut(Stream, Timestamp, &[u8])) {
        let mut rest = Vec::new();
        let mut block = vec![0; 1 << 20];
        let Some(mut file) = self.appender.file.take() else { return };
        let mut at_end = file.rewind().is_err();
        while !at_end {
            let read = file.read(&mut block).unwrap_or(0);
            at_end = read == 0;
            rest.extend_from_slice(&block[..read]);
            let mut frames = Bytes::from(std::mem::take(&mut rest));
            while let Ok(Some(chunk)) = decode(&mut frames) {
                for segment in chunk.segments().unwrap_or_default() {
                    if let Segment::Output { stream, at, bytes } = segment {
                        each(stream, at, &bytes);
                    }
                }
            }
            rest.extend_from_slice(&frames);
        }
        self.remove();
    }

    fn remove(self) {
        // The run folder goes as a whole; a file that stays until then does no harm.
        let _ = std::fs::remove_file(&self.appender.path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::SpoolReader;
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn read_back(folder: &Path) -> Vec<Segment> {
        let reader = SpoolReader::open(folder);
        let chunks = reader.read(LogOffset(0), usize::MAX).unwrap();
        chunks.iter().flat_map(|chunk| chunk.segments().unwrap()).collect()
    }

    #[test]
    fn head_and_tail_are_kept_with_a_marker_between() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = SpoolWriter::new(folder.path(), Limits { half: 1000 });
        let printed: Vec<u8> = (0..100_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        for (n, block) in printed.chunks(100).enumerate() {
            log.push(Stream::Stdout, at(n as i64), block);
        }
        let end = log.finish(at(1 << 30));
        assert_eq!(end, LogOffset(printed.len() as u64), "missing bytes count");

        let (mut before, mut missing, mut after) = (Vec::new(), 0, Vec::new());
        for segment in read_back(folder.path()) {
            match segment {
                Segment::Output { bytes, .. } if missing == 0 => before.extend_from_slice(&bytes),
                Segment::Output { bytes, .. } => after.extend_from_slice(&bytes),
                Segment::Missing { gap, .. } => {
                    assert_eq!(gap.reason, GapReason::Quota);
                    missing = gap.bytes.unwrap();
                }
            }
        }
        assert_eq!(before, printed[..1000]);
        assert!((500..=1100).contains(&after.len()), "{}", after.len());
        assert!(printed.ends_with(&after));
        assert_eq!(before.len() as u64 + missing + after.len() as u64, printed.len() as u64);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "only the spool stays");
    }

    #[test]
    fn a_log_within_its_quota_has_no_gap_even_when_it_used_the_tail() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = SpoolWriter::new(folder.path(), Limits { half: 1000 });
        log.push(Stream::Stdout, at(1), &[b'x'; 1500]);
        assert_eq!(log.finish(at(2)), LogOffset(1500));
        let segments = read_back(folder.path());
        assert!(segments.iter().all(|segment| matches!(segment, Segment::Output { .. })));
    }
}
