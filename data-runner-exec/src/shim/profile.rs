//! What DuckDB tells of each statement, by a named pipe.
//!
//! DuckDB overwrites the file that `profiling_output` names with each statement. When that is a pipe, what would be
//! overwritten comes out of it, one JSON document a statement. This process holds both ends, so DuckDB never waits for
//! somebody who reads, and nothing is lost between two statements.

use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_runner_core::execution::{SqlReport, Statement};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use serde::Deserialize;

/// The pipe's name in the run's folder. DuckDB wants the ending.
pub(crate) const PROFILE_PIPE: &str = "profile.json";

/// A longer document is not read.
const LONGEST: usize = 8 << 20;

/// Reads the profiles of one job.
pub(super) struct Profiles {
    path: PathBuf,
    pipe: std::fs::File,
    unread: Vec<u8>,
    report: SqlReport,
    peak_spill: Option<u64>,
}

impl Profiles {
    /// Makes the pipe in the run's folder. `None` where that cannot be: the job runs without it.
    pub(super) fn listen(folder: &Path) -> Option<Self> {
        let path = folder.join(PROFILE_PIPE);
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).ok()?;
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).ok()?;
        let pipe =
            std::fs::File::options().read(true).write(true).custom_flags(nonblocking).open(&path).ok()?;
        Some(Self { path, pipe, unread: Vec::new(), report: SqlReport::default(), peak_spill: None })
    }

    /// Takes what is there.
    pub(super) fn read(&mut self) {
        let mut block = [0; 16 << 10];
        loop {
            match self.pipe.read(&mut block) {
                Ok(0) => break,
                Ok(read) => self.unread.extend_from_slice(&block[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nothing more at present; whatever else it is, a job is not failed for it.
                Err(_) => break,
            }
            if self.unread.len() > LONGEST {
                self.unread.clear();
            }
        }
        self.parse();
    }

    /// What was told in all, and how much DuckDB had on disk for want of memory at most, by its own word.
    pub(super) fn finish(mut self) -> (SqlReport, Option<u64>) {
        self.read();
        // Whoever would open it now would wait for ever.
        let _ = std::fs::remove_file(&self.path);
        (self.report, self.peak_spill)
    }

    fn parse(&mut self) {
        let mut documents = serde_json::Deserializer::from_slice(&self.unread).into_iter::<Document>();
        let mut told = Vec::new();
        let mut rest = loop {
            let read = documents.byte_offset();
            match documents.next() {
                Some(Ok(document)) => told.push(document),
                Some(Err(error)) if error.is_eof() => break read,
                // Not what we know: another version's, or somebody else's. What follows is read again.
                Some(Err(_)) => break self.unread.len(),
                None => break self.unread.len(),
            }
        };
        rest = rest.min(self.unread.len());
        self.unread.drain(..rest);
        for document in told {
            self.peak_spill = self.peak_spill.max(Some(whole(document.system_peak_temp_dir_size)));
            self.report.add(document.statement());
        }
    }
}

impl AsFd for Profiles {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// One statement's profile, as far as it is used. Plans may be deep; what lies deeper than this is skipped unread.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    query_name: String,
    latency: f64,
    cpu_time: f64,
    rows_returned: f64,
    cumulative_rows_scanned: f64,
    total_bytes_read: f64,
    result_set_size: f64,
    system_peak_temp_dir_size: f64,
    children: Vec<Top>,
}

/// The operator whose rows are the result.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Top {
    operator_type: String,
    children: Vec<Below>,
}

/// An operator that the topmost one gets its rows from.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Below {
    operator_cardinality: f64,
}

/// Operators that write what they get, and whose own result is only a count.
const WRITERS: [&str; 11] = [
    "INSERT",
    "BATCH_INSERT",
    "UPDATE",
    "DELETE",
    "DELETE_OPERATOR",
    "MERGE_INTO",
    "CREATE_TABLE_AS",
    "BATCH_CREATE_TABLE_AS",
    "COPY_TO_FILE",
    "BATCH_COPY_TO_FILE",
    "COPY_DATABASE",
];

impl Document {
    fn statement(&self) -> Statement {
        Statement {
            text: Statement::shortened(&self.query_name),
            took: seconds(self.latency),
            cpu_time: seconds(self.cpu_time),
            rows: whole(self.written().unwrap_or(self.rows_returned)),
            rows_read: whole(self.cumulative_rows_scanned),
            bytes_read: whole(self.total_bytes_read),
            result_bytes: whole(self.result_set_size),
        }
    }

    /// Rows that it wrote, if that is what it did.
    fn written(&self) -> Option<f64> {
        let top = self.children.first()?;
        let writes = WRITERS.contains(&top.operator_type.as_str());
        writes.then(|| top.children.first().map(|below| below.operator_cardinality))?
    }
}

fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

fn whole(number: f64) -> u64 {
    // What is negative or no number is 0, what is too large the largest: that is what the cast is for.
    number.round() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use super::*;

    const SELECT: &str = r#"{"query_name": "SELECT 1;", "latency": 0.5, "rows_returned": 3, "children": [{"operator_type": "PROJECTION", "children": [{"operator_cardinality": 9, "children": []}]}]}"#;
    const INSERT: &str = r#"{"query_name": "INSERT INTO t SELECT 5;", "latency": 0.25, "rows_returned": 1, "system_peak_temp_dir_size": 7, "children": [{"operator_type": "INSERT", "children": [{"operator_cardinality": 9}]}]}"#;

    fn told(pieces: &[&[u8]]) -> (Vec<(String, u64)>, Option<u64>) {
        let folder = tempfile::tempdir().unwrap();
        let mut profiles = Profiles::listen(folder.path()).unwrap();
        let mut writer = std::fs::File::options().write(true).open(folder.path().join(PROFILE_PIPE)).unwrap();
        for piece in pieces {
            writer.write_all(piece).unwrap();
            profiles.read();
        }
        let (report, spill) = profiles.finish();
        assert!(!folder.path().join(PROFILE_PIPE).exists());
        (report.statements.into_iter().map(|it| (it.text, it.rows)).collect(), spill)
    }

    #[test]
    fn documents_are_read_however_they_are_cut() {
        let both = format!("{SELECT}\n{INSERT}");
        let expected = vec![("SELECT 1;".to_owned(), 3), ("INSERT INTO t SELECT 5;".to_owned(), 9)];
        for cut in [1, 20, SELECT.len(), SELECT.len() + 1, both.len() - 1] {
            let (head, tail) = both.as_bytes().split_at(cut);
            assert_eq!(told(&[head, tail]), (expected.clone(), Some(7)), "{cut}");
        }
    }

    #[test]
    fn what_is_no_profile_is_passed_over() {
        let (statements, _) = told(&[b"no profile at all", SELECT.as_bytes()]);
        assert_eq!(statements, [("SELECT 1;".to_owned(), 3)]);
        assert_eq!(told(&[b"{\"query_name\": 3}"]), (Vec::new(), None));
    }

    #[test]
    fn a_plan_that_is_too_deep_for_recursion_is_skipped_in_its_depth() {
        let deep = format!("{}{}", r#"{"children": ["#.repeat(500), "]}".repeat(500));
        assert_eq!(told(&[deep.as_bytes()]).0.len(), 1);
    }
}
