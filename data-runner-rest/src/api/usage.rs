//! What an attempt used, and what its engine told, as REST shows it.

use data_runner_core::execution as core;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an attempt used beside memory and processors, in bytes. What could not be measured is null, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Read from disks; what the page cache held already does not count.
    pub disk_read_bytes: Option<u64>,
    /// Written to disks.
    pub disk_written_bytes: Option<u64>,
    /// The most that its code, what it wrote beside it, and its temporary files took of the disk.
    pub peak_folder_bytes: Option<u64>,
    /// The most that its engine put on disk for want of memory.
    pub peak_spill_bytes: Option<u64>,
    /// What the machine's interfaces received meanwhile, where the job had the machine to itself.
    pub received_bytes: Option<u64>,
    /// What they sent, the job's log included.
    pub sent_bytes: Option<u64>,
}

impl From<&core::Usage> for Usage {
    fn from(usage: &core::Usage) -> Self {
        Self {
            disk_read_bytes: usage.storage.map(|storage| storage.read),
            disk_written_bytes: usage.storage.map(|storage| storage.written),
            peak_folder_bytes: usage.peak_folder_bytes,
            peak_spill_bytes: usage.peak_spill_bytes,
            received_bytes: usage.network.map(|network| network.received),
            sent_bytes: usage.network.map(|network| network.sent),
        }
    }
}

/// What the engine told of an SQL script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SqlReport {
    /// Its statements, in the order in which they ran: those that the engine profiles, and that succeeded. Of more than
    /// 50 the slowest.
    pub statements: Vec<SqlStatement>,
    /// How many more there were.
    pub left_out: u64,
    /// The beginning of the last result that was printed as a table.
    pub preview: Option<Preview>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SqlStatement {
    /// Its text, or the first 400 characters of that.
    pub text: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How long its operators worked, all threads together, in seconds.
    pub cpu_seconds: f64,
    /// Rows of its result; of one that writes, rows that it wrote or changed.
    pub rows: u64,
    /// Rows that it read from tables and files.
    pub rows_read: u64,
    /// Bytes that it read from files.
    pub bytes_read: u64,
    /// How large its result was in memory, in bytes.
    pub result_bytes: u64,
}

/// The beginning of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// The table as it was printed: at most 20 rows, and about 8 KiB.
    pub text: String,
    /// Whether there was more of it.
    pub cut: bool,
}

impl From<&core::SqlReport> for SqlReport {
    fn from(report: &core::SqlReport) -> Self {
        let preview = |it: &core::Preview| Preview { text: it.text.clone(), cut: it.cut };
        Self {
            statements: report.statements.iter().map(SqlStatement::from).collect(),
            left_out: report.left_out,
            preview: report.preview.as_ref().map(preview),
        }
    }
}

impl From<&core::Statement> for SqlStatement {
    fn from(statement: &core::Statement) -> Self {
        Self {
            text: statement.text.clone(),
            seconds: statement.took.as_secs_f64(),
            cpu_seconds: statement.cpu_time.as_secs_f64(),
            rows: statement.rows,
            rows_read: statement.rows_read,
            bytes_read: statement.bytes_read,
            result_bytes: statement.result_bytes,
        }
    }
}
