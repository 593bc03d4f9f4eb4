//! How far an attempt is, and how it ended.

use std::sync::Arc;
use std::time::Duration;

use data_runner_core::execution::{
    Ending, Failure, FailureCause, FinishReport, Phase, SqlReport, StopReason,
};
use data_runner_core::id::Claim;
use data_runner_core::log::LogOffset;
use data_runner_core::message::{AttemptStatus, WorkerStatus};
use data_runner_core::workflow::PackageLock;

use super::proto;
use super::value::{FromWire, NotUnderstood, Numbered as _, duration, required};

/// An attempt's status with its claim: the same message in Hello and by itself.
pub(super) fn status(
    claim: Claim,
    status: &AttemptStatus,
    packages: Option<&Arc<PackageLock>>,
) -> proto::WorkerStatus {
    use proto::worker_status::Status;
    let status = match status {
        AttemptStatus::Reached { phase, ago } => {
            Status::Reached(proto::Reached { phase: phase.number(), ago: duration(*ago) })
        }
        AttemptStatus::Finished(report) => Status::Finished(report.as_ref().into()),
    };
    let packages = packages.map(|packages| packages.as_ref().into());
    proto::WorkerStatus { claim: Some(claim.into()), status: Some(status), packages }
}

/// The way back.
pub(super) fn read_status(wire: proto::WorkerStatus) -> Result<WorkerStatus, NotUnderstood> {
    use proto::worker_status::Status;
    let claim = required(wire.claim, "WorkerStatus.claim")?;
    let status = match wire.status.ok_or_else(|| NotUnderstood::missing("WorkerStatus.status"))? {
        Status::Reached(reached) => AttemptStatus::Reached {
            phase: Phase::numbered(reached.phase)?,
            ago: required(reached.ago, "Reached.ago")?,
        },
        Status::Finished(report) => AttemptStatus::Finished(Box::new(FinishReport::from_wire(report)?)),
    };
    let packages = wire.packages.map(PackageLock::from_wire).transpose()?.map(Arc::new);
    Ok(WorkerStatus { claim, status, packages })
}

impl From<&FinishReport> for proto::FinishReport {
    fn from(report: &FinishReport) -> Self {
        Self {
            ending: Some((&report.ending).into()),
            usage: Some(report.usage.into()),
            output_json: report.output.as_ref().map(ToString::to_string),
            warnings: report.warnings.clone(),
            log_end: report.log_end.0,
            ran_for: duration(report.ran_for),
            sql: report.sql.as_deref().map(Into::into),
        }
    }
}

impl FromWire<proto::FinishReport> for FinishReport {
    fn from_wire(wire: proto::FinishReport) -> Result<Self, NotUnderstood> {
        let output = wire.output_json.map(|json| serde_json::from_str(&json)).transpose();
        Ok(Self {
            ending: required(wire.ending, "FinishReport.ending")?,
            usage: required(wire.usage, "FinishReport.usage")?,
            output: output
                .map_err(|error| NotUnderstood::new(format!("FinishReport.output_json: {error}")))?,
            warnings: wire.warnings,
            log_end: LogOffset(wire.log_end),
            ran_for: required::<_, Duration>(wire.ran_for, "FinishReport.ran_for")?,
            sql: wire.sql.map(SqlReport::from_wire).transpose()?.map(Box::new),
        })
    }
}

impl From<&Ending> for proto::Ending {
    fn from(ending: &Ending) -> Self {
        use proto::ending::Kind;
        let kind = match ending {
            Ending::Exited { code } => Kind::Exited(u32::from(*code)),
            Ending::Signalled { signal } => Kind::Signalled(u32::from(*signal)),
            Ending::OutOfMemory { limit_bytes } => {
                Kind::OutOfMemory(proto::OutOfMemory { limit_bytes: *limit_bytes })
            }
            Ending::Stopped { reason } => Kind::Stopped(reason.number()),
            Ending::NeverStarted { failure } => Kind::NeverStarted(failure.into()),
            Ending::Vanished { message } => Kind::Vanished(message.clone()),
        };
        Self { kind: Some(kind) }
    }
}

impl FromWire<proto::Ending> for Ending {
    fn from_wire(wire: proto::Ending) -> Result<Self, NotUnderstood> {
        use proto::ending::Kind;
        Ok(match wire.kind.ok_or_else(|| NotUnderstood::missing("Ending.kind"))? {
            Kind::Exited(code) => Self::Exited { code: byte(code, "Ending.exited")? },
            Kind::Signalled(signal) => Self::Signalled { signal: byte(signal, "Ending.signalled")? },
            Kind::OutOfMemory(proto::OutOfMemory { limit_bytes }) => Self::OutOfMemory { limit_bytes },
            Kind::Stopped(reason) => Self::Stopped { reason: StopReason::numbered(reason)? },
            Kind::NeverStarted(failure) => Self::NeverStarted { failure: Failure::from_wire(failure)? },
            Kind::Vanished(message) => Self::Vanished { message },
        })
    }
}

fn byte(number: u32, field: &str) -> Result<u8, NotUnderstood> {
    u8::try_from(number).map_err(|_| NotUnderstood::new(format!("{field}: {number} is above 255")))
}

impl From<&Failure> for proto::Failure {
    fn from(failure: &Failure) -> Self {
        Self { cause: failure.cause.number(), message: failure.message.clone(), hint: failure.hint.clone() }
    }
}

impl FromWire<proto::Failure> for Failure {
    fn from_wire(wire: proto::Failure) -> Result<Self, NotUnderstood> {
        Ok(Self { cause: FailureCause::numbered(wire.cause)?, message: wire.message, hint: wire.hint })
    }
}
