//! What it may cost.

use crate::cost::{Budget, Money, OnExceed};
use crate::yaml::{Object, Place, Report};

pub(super) fn budget(mut given: Object, at: &Place, report: &mut Report<'_>) -> Option<Budget> {
    let named = ["per_run_usd", "per_month_usd"];
    if named.iter().all(|key| given.place(key).is_none()) {
        let message = "the budget says neither what a run nor what a month may cost";
        report.error(at, "missing_key", message).help("add per_run_usd, per_month_usd or both");
        return None;
    }
    let [per_run, per_month] = named.map(|key| given.number(key).map(dollars));
    let on_exceed = given.text("on_exceed");
    let on_exceed = on_exceed.and_then(|name| OnExceed::ALL.into_iter().find(|it| it.as_str() == name.value));
    Some(Budget { per_run, per_month, on_exceed: on_exceed.unwrap_or_default() })
}

fn dollars(amount: f64) -> Money {
    // The table of keys lets only positive amounts up to a million through.
    Money((amount * 1e6).round() as u64)
}
