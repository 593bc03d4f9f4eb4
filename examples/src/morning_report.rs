//! A service of an imaginary embedder. It knows ports and nothing of who stands behind them, so that its tests
//! (`tests/mocked_service.rs`) need no supervisor, no database and no machine.

use std::fmt::Write as _;
use std::sync::Arc;

use data_runner_core::execution::{Execution, ExecutionState, StateName};
use data_runner_core::port::{Catalog, ExecutionQuery, ProvisionError, Provisioner, StateError};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::MachineState;

/// The most failures that a report names.
const MOST: u32 = 20;

/// What went wrong over night, and which machines still cost money.
pub struct MorningReport {
    catalog: Arc<dyn Catalog>,
    machines: Arc<dyn Provisioner>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The executions could not be read.
    #[error("the executions of the night cannot be read")]
    Executions(#[source] StateError),
    /// The machines could not be listed.
    #[error("the machines cannot be listed")]
    Machines(#[source] ProvisionError),
}

impl MorningReport {
    /// Reports on what these two know.
    pub fn new(catalog: Arc<dyn Catalog>, machines: Arc<dyn Provisioner>) -> Self {
        Self { catalog, machines }
    }

    /// The report of everything since then: a line for each failure, and one for the machines.
    pub async fn since(&self, since: Timestamp) -> Result<String, ReportError> {
        let query = ExecutionQuery {
            states: vec![StateName::Failed],
            since: Some(since),
            limit: MOST,
            ..ExecutionQuery::default()
        };
        let failed = self.catalog.executions(query).await.map_err(ReportError::Executions)?;
        let machines = self.machines.list().await.map_err(ReportError::Machines)?;
        let up = machines.iter().filter(|machine| !matches!(machine.state, MachineState::Terminated { .. }));
        let mut report = String::new();
        for execution in &failed {
            line(&mut report, execution);
        }
        // Writing to a string cannot fail.
        let _ = writeln!(report, "{} failed, {} machines are up", failed.len(), up.count());
        Ok(report)
    }
}

fn line(report: &mut String, execution: &Execution) {
    if let ExecutionState::Failed { failure, .. } = &execution.state {
        let _ = writeln!(report, "{}: {}: {}", execution.workflow(), failure.cause.as_str(), failure.message);
    }
}
