//! Prices as AWS says them now, kept for a while.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::InstanceType;
use aws_sdk_pricing::types::{Filter, FilterType};
use data_runner_core::cost::price_table::micro_dollars;
use futures::future::join_all;
use tokio::time::Instant;

use super::PriceList;
use crate::call::{AwsAccount, CallError, in_words};

/// A list price changes a few times a year.
const LIST_PRICE_FOR: Duration = Duration::from_secs(24 * 3600);
/// A spot price changes a few times a day.
const SPOT_PRICE_FOR: Duration = Duration::from_secs(600);
/// After a failure, how long nobody asks again.
const FAILURE_FOR: Duration = Duration::from_secs(600);
/// A plan waits no longer than this for prices.
const PATIENCE: Duration = Duration::from_secs(3);
/// Where the price list is served.
const PRICE_LIST_REGION: &str = "us-east-1";

/// Prices of one region.
pub(crate) struct Prices {
    account: AwsAccount,
    pricing: aws_sdk_pricing::Client,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By type; `None`: AWS did not say.
    on_demand: BTreeMap<String, (Option<u64>, Instant)>,
    /// By type; prices by zone.
    spot: BTreeMap<String, (Option<BTreeMap<String, u64>>, Instant)>,
}

impl Prices {
    pub fn new(account: AwsAccount) -> Self {
        let config = aws_sdk_pricing::config::Builder::from(&account.config)
            .region(aws_sdk_pricing::config::Region::new(PRICE_LIST_REGION))
            .retry_config(RetryConfig::disabled());
        let pricing = aws_sdk_pricing::Client::from_conf(config.build());
        Self { account, pricing, kept: Mutex::default() }
    }

    /// What is known of these types within a few seconds: what AWS says, or said a short while ago.
    pub async fn of(&self, types: &[&str], spot: bool) -> PriceList {
        let lists = types.iter().map(|name| self.ask_on_demand(name));
        let spots = types.iter().filter(|_| spot).map(|name| self.ask_spot(name));
        let asked = async { tokio::join!(join_all(lists), join_all(spots)) };
        if tokio::time::timeout(PATIENCE, asked).await.is_err() {
            tracing::info!("AWS does not say its prices in time");
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = PriceList { region: self.account.region.clone(), ..PriceList::default() };
        for name in types {
            if let Some((Some(price), _)) = kept.on_demand.get(*name) {
                list.on_demand.insert((*name).to_owned(), *price);
            }
            if let Some((Some(zones), _)) = kept.spot.get(*name) {
                let zones = zones.iter().map(|(zone, price)| (((*name).to_owned(), zone.clone()), *price));
                list.spot.extend(zones);
            }
        }
        list
    }

    async fn ask_on_demand(&self, name: &str) {
        let until = |kept: &Kept| kept.on_demand.get(name).map(|(_, until)| *until);
        if self.is_fresh(until) {
            return;
        }
        // Noted first: if it takes too long, the next plan does not wait for it again.
        self.keep(|kept| {
            kept.on_demand.entry(name.to_owned()).or_insert((None, later(FAILURE_FOR))).1 = later(FAILURE_FOR)
        });
        match self.list_price(name).await {
            Ok(price) => {
                self.keep(|kept| {
                    kept.on_demand.insert(name.to_owned(), (price, later(LIST_PRICE_FOR)));
                });
            }
            Err(error) => {
                tracing::info!(name, error = in_words(&error), "no list price; the bundled one counts")
            }
        }
    }

    async fn ask_spot(&self, name: &str) {
        let until = |kept: &Kept| kept.spot.get(name).map(|(_, until)| *until);
        if self.is_fresh(until) {
            return;
        }
        self.keep(|kept| {
            kept.spot.entry(name.to_owned()).or_insert((None, later(FAILURE_FOR))).1 = later(FAILURE_FOR)
        });
        match self.spot_prices(name).await {
            Ok(zones) => {
                self.keep(|kept| {
                    kept.spot.insert(name.to_owned(), (Some(zones), later(SPOT_PRICE_FOR)));
                });
            }
            Err(error) => tracing::info!(name, error = in_words(&error), "no spot price"),
        }
    }

    fn is_fresh(&self, until: impl FnOnce(&Kept) -> Option<Instant>) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        until(&kept).is_some_and(|until| Instant::now() < until)
    }

    fn keep(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// By the Pricing API. Its products are JSON texts; the one offer of the one product has one price.
    pub async fn list_price(&self, name: &str) -> Result<Option<u64>, CallError> {
        let wanted = [
            ("instanceType", name),
            ("regionCode", self.account.region.as_str()),
            ("operatingSystem", "Linux"),
            ("preInstalledSw", "NA"),
            ("tenancy", "Shared"),
            ("capacitystatus", "Used"),
        ];
        let filters = wanted.into_iter().filter_map(|(field, value)| {
            Filter::builder().field(field).value(value).r#type(FilterType::TermMatch).build().ok()
        });
        let asked = self
            .pricing
            .get_products()
            .service_code("AmazonEC2")
            .set_filters(Some(filters.collect()))
            .max_results(10)
            .send()
            .await
            .map_err(|error| CallError::of("GetProducts", error))?;
        Ok(asked.price_list().iter().find_map(|product| hourly(product)))
    }

    async fn spot_prices(&self, name: &str) -> Result<BTreeMap<String, u64>, CallError> {
        self.account.throttle.describe.take().await;
        let asked = self
            .account
            .ec2
            .describe_spot_price_history()
            .instance_types(InstanceType::from(name))
            .product_descriptions("Linux/UNIX")
            // From now on: only what holds now.
            .start_time(DateTime::from(SystemTime::now()))
            .send()
            .await
            .map_err(|error| CallError::of("DescribeSpotPriceHistory", error))?;
        let mut newest: BTreeMap<String, (i64, u64)> = BTreeMap::new();
        for price in asked.spot_price_history() {
            let at = price.timestamp().map_or(0, DateTime::secs);
            let spot = price.spot_price().and_then(micro_dollars);
            if let (Some(zone), Some(spot)) = (price.availability_zone(), spot) {
                let kept = newest.entry(zone.to_owned()).or_insert((at, spot));
                if at >= kept.0 {
                    *kept = (at, spot);
                }
            }
        }
        Ok(newest.into_iter().map(|(zone, (_, price))| (zone, price)).collect())
    }
}

fn later(wait: Duration) -> Instant {
    Instant::now() + wait
}

/// The price an hour that a product of the price list has on demand.
fn hourly(product: &str) -> Option<u64> {
    let product: serde_json::Value = serde_json::from_str(product).ok()?;
    let offers = product.pointer("/terms/OnDemand")?.as_object()?;
    let dimensions = offers.values().next()?.get("priceDimensions")?.as_object()?;
    let hourly =
        dimensions.values().find(|dimension| dimension.get("unit").is_some_and(|unit| unit == "Hrs"))?;
    micro_dollars(hourly.pointer("/pricePerUnit/USD")?.as_str()?)
}
