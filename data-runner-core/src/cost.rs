//! What machines cost, and who that is put down to.
//!
//! Nothing here is stored: a cost follows from what is known of the worker ([`Worker::launched`], its end) and of the
//! attempts that it had, whenever it is asked for. The share of an attempt is a difference of two points on the
//! machine's own bill, so the shares of a machine always add up to that bill, whatever the rounding.

mod budget;
pub mod price_table;
mod share;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use budget::{Budget, Month, MonthSpent, OnExceed, RunBudget, Spending, month_of};
pub use share::{WorkerCost, of_execution, of_worker};

#[cfg(doc)]
use crate::worker::Worker;

/// What is billed at least for a machine.
const LEAST: Duration = Duration::from_secs(60);

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

    /// What a machine costs that lives for so long: whole seconds that have begun, at least a minute.
    pub fn bill(self, lived: Duration) -> Money {
        let seconds = lived.as_secs() + u64::from(lived.subsec_nanos() > 0);
        self.charge(Duration::from_secs(seconds).max(LEAST))
    }

    /// The part of a bill that is due after so long.
    fn charge(self, lived: Duration) -> Money {
        const HOUR: u128 = Duration::from_secs(3600).as_micros();
        let millionths = u128::from(self.total()) * lived.as_micros() / HOUR;
        Money(u64::try_from(millionths).unwrap_or(u64::MAX))
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

/// An amount of money: millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(pub u64);

impl Money {
    /// In US dollars, as people and REST read it.
    pub fn usd(self) -> f64 {
        // Exact up to some nine billion dollars.
        self.0 as f64 / 1e6
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(crate) const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// In US dollars, to the cent; small amounts to a hundredth of one.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.0 < 1_000_000 { 4 } else { 2 };
        write!(f, "${:.digits$}", self.usd())
    }
}

/// What something cost, by what the money was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// While an attempt had the machine: its code and environment were made ready, and it ran.
    pub work: Money,
    /// From the launch until the first attempt had the machine, or the end of a machine that never had one.
    pub boot: Money,
    /// While no attempt had it: kept warm, draining, ending; and what the least billed time adds.
    pub idle: Money,
}

impl Cost {
    /// All of it.
    pub const fn total(self) -> Money {
        self.work.plus(self.waste())
    }

    /// What was paid while no attempt had the machine.
    pub const fn waste(self) -> Money {
        self.boot.plus(self.idle)
    }
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            work: self.work.plus(other.work),
            boot: self.boot.plus(other.boot),
            idle: self.idle.plus(other.idle),
        }
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), std::ops::Add::add)
    }
}
