//! What machines cost.

use serde::{Deserialize, Serialize};

/// The price of a machine, in millionths of a US dollar an hour. Billed by the second, at least a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MachinePrice {
    /// The instance.
    pub instance: u64,
    /// Its root volume.
    pub volume: u64,
    /// Its public IPv4 address, if it has one.
    pub address: u64,
}

impl MachinePrice {
    /// All of it, in millionths of a US dollar an hour.
    pub const fn total(self) -> u64 {
        self.instance.saturating_add(self.volume).saturating_add(self.address)
    }
}

/// How capacity is bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Market {
    /// At the list price, until it is given back.
    #[default]
    OnDemand,
    /// Spare capacity: cheaper, and taken away with two minutes' notice.
    Spot,
}

impl Market {
    /// The name as REST and CLI show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
        }
    }
}
