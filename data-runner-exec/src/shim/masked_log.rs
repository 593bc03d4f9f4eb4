//! What a job says, on its way to disk: its log, its output and the reason why it never started, with its secrets
//! masked before the first byte is written.

use std::path::Path;

use data_runner_core::execution::{Preview, SqlReport};
use data_runner_core::log::{LogOffset, Stream};
use data_runner_core::time::Timestamp;

use super::preview::Tables;
use super::record::{OUTPUT_FILE, OUTPUT_LIMIT};
use crate::mask::{MaskedStream, Secrets};
use crate::spool::{Limits, SpoolWriter};

/// The log of a job.
pub(super) struct MaskedLog {
    spool: SpoolWriter,
    /// Standard output and standard error; without secrets there is nothing to look for.
    streams: Option<[MaskedStream; 2]>,
    masked: Vec<u8>,
    /// What looks for tables in standard output, if anybody wants them.
    tables: Option<Tables>,
}

impl MaskedLog {
    /// A new log in `folder` of which `quota` bytes are kept.
    pub(super) fn new(folder: &Path, quota: u64, secrets: Option<&Secrets>, tables: Option<Tables>) -> Self {
        let spool = SpoolWriter::new(folder, Limits { half: quota / 2 });
        let streams = secrets.map(|secrets| [(); 2].map(|()| MaskedStream::new(secrets.clone())));
        Self { spool, streams, masked: Vec::new(), tables }
    }

    /// Adds bytes of one read; true if there is more to read than before.
    pub(super) fn push(&mut self, stream: Stream, at: Timestamp, bytes: &[u8]) -> bool {
        let Some([stdout, stderr]) = &mut self.streams else {
            look_for_tables(&mut self.tables, stream, bytes);
            return self.spool.push(stream, at, bytes);
        };
        let through = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        self.masked.clear();
        through.push(bytes, &mut self.masked);
        look_for_tables(&mut self.tables, stream, &self.masked);
        self.spool.push(stream, at, &self.masked)
    }

    /// Whether something waits to be written that a reader could see. What may be the beginning of a secret could not.
    pub(super) fn has_pending(&self) -> bool {
        self.spool.has_pending()
    }

    /// Writes what is pending; true if there is more to read than before.
    pub(super) fn flush(&mut self) -> bool {
        self.spool.flush()
    }

    /// Writes everything that is left, and says where the log ends and what the last table began with.
    pub(super) fn finish(&mut self, at: Timestamp) -> (LogOffset, Option<Preview>) {
        for (through, stream) in self.streams.iter_mut().flatten().zip([Stream::Stdout, Stream::Stderr]) {
            self.masked.clear();
            through.finish(&mut self.masked);
            look_for_tables(&mut self.tables, stream, &self.masked);
            self.spool.push(stream, at, &self.masked);
        }
        (self.spool.finish(at), self.tables.take().and_then(Tables::finish))
    }
}

fn look_for_tables(tables: &mut Option<Tables>, stream: Stream, bytes: &[u8]) {
    match (tables, stream) {
        (Some(tables), Stream::Stdout) => tables.push(bytes),
        (Some(_), Stream::Stderr) | (None, Stream::Stdout | Stream::Stderr) => {}
    }
}

/// The same account of a script without secrets in its statements; its preview has none.
pub(super) fn masked_statements(mut sql: Box<SqlReport>, secrets: &Secrets) -> Box<SqlReport> {
    for statement in &mut sql.statements {
        statement.text = secrets.mask_text(&statement.text);
    }
    sql
}

/// Masks what the job wrote to `DATA_RUNNER_OUTPUT`, in its place. What cannot be masked is removed; what nobody reads
/// (too large, or no JSON) is left alone.
pub(super) fn mask_output(folder: &Path, secrets: &Secrets) {
    let path = folder.join(OUTPUT_FILE);
    if std::fs::metadata(&path).map_or(true, |file| file.len() > OUTPUT_LIMIT) {
        return;
    }
    let output = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let Some(output) = output else { return };
    let masked = secrets.mask_json(output).to_string();
    if std::fs::write(&path, masked).is_err() {
        // It lies in the run's folder only, which the agent owns; there is nobody to tell.
        let _ = std::fs::remove_file(&path);
    }
}
