//! Prices as AWS says them, and what counts when it does not.

use serde_json::json;

use super::fake::{Fake, Fault};
use super::*;
use crate::prices::{Priced, Prices};

/// An answer of the price list with one product.
fn product(usd: &str) -> Fault {
    let terms = json!({"OnDemand": {"SKU.TERM": {"priceDimensions": {"SKU.TERM.RATE": {
        "unit": "Hrs", "pricePerUnit": {"USD": usd},
    }}}}});
    let product = json!({"product": {"sku": "SKU"}, "terms": terms}).to_string();
    Fault::Say(200, json!({"FormatVersion": "aws_v1", "PriceList": [product]}).to_string())
}

async fn price(prices: &Prices) -> Option<u64> {
    let list = prices.of(&["t3.medium"], false).await;
    let market = data_runner_core::cost::Market::OnDemand;
    let of = Priced { instance_type: "t3.medium", zone: "us-east-1a", market, disk_gib: 0, public_ip: false };
    list.price(&of).map(|price| price.instance)
}

#[tokio::test]
async fn a_live_price_counts_before_the_bundled_one_and_is_asked_for_once() {
    let fake = Fake::start().await;
    fake.fail("GetProducts", [product("0.0500000000")]);
    let prices = Prices::new(account(&fake).await);
    assert_eq!(price(&prices).await, Some(50_000));
    assert_eq!(price(&prices).await, Some(50_000));
    assert_eq!(fake.calls("GetProducts").len(), 1);
    let asked = &fake.calls("GetProducts")[0].body;
    for filter in ["t3.medium", "us-east-1", "Linux", "Shared"] {
        assert!(asked.contains(filter), "{asked}");
    }
}

#[tokio::test]
async fn without_an_answer_the_bundled_price_counts_and_nobody_asks_again_for_a_while() {
    let fake = Fake::start().await;
    fake.fail("GetProducts", [Fault::Refuse(403, "AccessDeniedException", "no".into())]);
    let prices = Prices::new(account(&fake).await);
    assert_eq!(price(&prices).await, Some(41_600));
    assert_eq!(price(&prices).await, Some(41_600));
    assert_eq!(fake.calls("GetProducts").len(), 1);
}
