//! What an attempt used, and what its engine told of it.

use data_runner_core::execution::{NetworkBytes, Preview, SqlReport, Statement, StorageBytes, Usage};

use super::proto;
use super::value::{FromWire, NotUnderstood, duration, required};

impl From<Usage> for proto::Usage {
    fn from(usage: Usage) -> Self {
        let Usage { peak_memory_bytes, cpu_time, storage, peak_folder_bytes, peak_spill_bytes, network } =
            usage;
        Self {
            peak_memory_bytes,
            cpu_time: duration(cpu_time),
            storage: storage.map(|StorageBytes { read, written }| proto::StorageBytes { read, written }),
            peak_folder_bytes,
            peak_spill_bytes,
            network: network.map(|NetworkBytes { received, sent }| proto::NetworkBytes { received, sent }),
        }
    }
}

impl FromWire<proto::Usage> for Usage {
    fn from_wire(wire: proto::Usage) -> Result<Self, NotUnderstood> {
        let storage = |proto::StorageBytes { read, written }| StorageBytes { read, written };
        let network = |proto::NetworkBytes { received, sent }| NetworkBytes { received, sent };
        Ok(Self {
            peak_memory_bytes: wire.peak_memory_bytes,
            cpu_time: required(wire.cpu_time, "Usage.cpu_time")?,
            storage: wire.storage.map(storage),
            peak_folder_bytes: wire.peak_folder_bytes,
            peak_spill_bytes: wire.peak_spill_bytes,
            network: wire.network.map(network),
        })
    }
}

impl From<&SqlReport> for proto::SqlReport {
    fn from(report: &SqlReport) -> Self {
        let statement = |it: &Statement| proto::SqlStatement {
            text: it.text.clone(),
            took: duration(it.took),
            cpu_time: duration(it.cpu_time),
            rows: it.rows,
            rows_read: it.rows_read,
            bytes_read: it.bytes_read,
            result_bytes: it.result_bytes,
        };
        let preview = |it: &Preview| proto::SqlPreview { text: it.text.clone(), cut: it.cut };
        Self {
            statements: report.statements.iter().map(statement).collect(),
            left_out: report.left_out,
            preview: report.preview.as_ref().map(preview),
        }
    }
}

impl FromWire<proto::SqlReport> for SqlReport {
    fn from_wire(wire: proto::SqlReport) -> Result<Self, NotUnderstood> {
        Ok(Self {
            statements: wire.statements.into_iter().map(Statement::from_wire).collect::<Result<_, _>>()?,
            left_out: wire.left_out,
            preview: wire.preview.map(|it| Preview { text: it.text, cut: it.cut }),
        })
    }
}

impl FromWire<proto::SqlStatement> for Statement {
    fn from_wire(wire: proto::SqlStatement) -> Result<Self, NotUnderstood> {
        Ok(Self {
            took: required(wire.took, "SqlStatement.took")?,
            cpu_time: required(wire.cpu_time, "SqlStatement.cpu_time")?,
            text: wire.text,
            rows: wire.rows,
            rows_read: wire.rows_read,
            bytes_read: wire.bytes_read,
            result_bytes: wire.result_bytes,
        })
    }
}
