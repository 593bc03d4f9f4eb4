//! The agent's program for machines of a cloud.

use std::collections::BTreeMap;

use data_runner_core::workflow::Architecture;
use data_runner_rest::AgentBinary;

use crate::installation::Installation;
use crate::wiring::StartupError;

/// Opens the programs that machines fetch.
pub(crate) fn open(installation: &Installation) -> Result<BTreeMap<Architecture, AgentBinary>, StartupError> {
    let opened = installation.agents.iter().map(|(architecture, path)| {
        let binary = AgentBinary::open(path).map_err(|source| {
            StartupError::machine(format!("the agent's program {} cannot be read", path.display()), source)
        })?;
        Ok((*architecture, binary))
    });
    opened.collect()
}
