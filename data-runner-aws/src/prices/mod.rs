//! What machines cost: live where AWS can be asked, else from the table that comes with the program.

mod live;

use std::collections::BTreeMap;

use data_runner_core::cost::price_table as table;
use data_runner_core::cost::{MachinePrice, Market};

pub(crate) use live::Prices;

/// A month, as AWS counts it, in hours.
const MONTH: u64 = 730;

/// The prices for one plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct PriceList {
    region: String,
    /// Millionths of a US dollar an hour, by type.
    on_demand: BTreeMap<String, u64>,
    /// The same, by type and zone.
    spot: BTreeMap<(String, String), u64>,
}

impl PriceList {
    /// What such a machine costs; `None` when its own price is not known. An unknown price is never guessed. `t3` and `t4g`
    /// run in unlimited mode: what they use above their baseline for long costs more, and is not in here.
    pub fn price(&self, of: &Priced<'_>) -> Option<MachinePrice> {
        let instance = match of.market {
            Market::OnDemand => {
                let live = self.on_demand.get(of.instance_type).copied();
                live.or_else(|| table::on_demand(&self.region, of.instance_type))?
            }
            Market::Spot => *self.spot.get(&(of.instance_type.to_owned(), of.zone.to_owned()))?,
        };
        let month = table::gp3(&self.region).unwrap_or(0) * u64::from(of.disk_gib);
        let address = if of.public_ip { table::PUBLIC_IPV4 } else { 0 };
        Some(MachinePrice { instance, volume: month / MONTH, address })
    }
}

/// What is to be priced.
pub(crate) struct Priced<'a> {
    pub instance_type: &'a str,
    pub zone: &'a str,
    pub market: Market,
    pub disk_gib: u32,
    pub public_ip: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_costs_its_time_its_volume_and_its_address() {
        let list = PriceList { region: "us-east-1".into(), ..PriceList::default() };
        let of = |market, public_ip| Priced {
            instance_type: "t3.medium",
            zone: "us-east-1a",
            market,
            disk_gib: 50,
            public_ip,
        };
        let price = list.price(&of(Market::OnDemand, true));
        assert_eq!(price, Some(MachinePrice { instance: 41_600, volume: 5_479, address: 5_000 }));
        assert_eq!(list.price(&of(Market::Spot, false)), None, "nobody knows the spot price offline");
    }
}
