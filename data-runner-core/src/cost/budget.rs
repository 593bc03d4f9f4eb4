//! What a workflow may cost, and how much of it is spent.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MachinePrice, Money};
use crate::time::Timestamp;
use crate::worker::{Purpose, Worker};
use crate::workflow::Workflow;

/// What a workflow may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// One execution, all its attempts together.
    pub per_run: Option<Money>,
    /// All machines of the workflow in one month of UTC.
    pub per_month: Option<Money>,
    /// What happens beyond.
    pub on_exceed: OnExceed,
}

/// What happens when a budget is exceeded, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExceed {
    /// The execution is stopped, or not started, and fails.
    #[default]
    Cancel,
    /// The execution waits for the next month. What runs goes on, and people are told.
    Block,
    /// People are told.
    Notify,
}

impl OnExceed {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cancel, Self::Block, Self::Notify];

    /// The name as it stands in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Block => "block",
            Self::Notify => "notify",
        }
    }
}

/// The budget of one execution; fixed at its submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunBudget {
    /// What its workflow may cost.
    pub budget: Budget,
    /// How long a run usually takes; `None`: nobody knows.
    pub usual: Option<Duration>,
}

impl RunBudget {
    /// What a run on such a machine is expected to cost; nothing where nobody knows how long it takes.
    pub fn estimate(&self, price: Option<MachinePrice>) -> Money {
        match (price, self.usual) {
            (Some(price), Some(usual)) => price.bill(usual),
            (None, _) | (_, None) => Money::default(),
        }
    }
}

/// What an execution has cost so far, counted for its budget: a machine that was launched for it from its launch on, a
/// warm one from the assignment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spending {
    /// What it does not have any more.
    #[serde(default)]
    spent: Money,
    /// The machine that it has now.
    #[serde(default)]
    machine: Option<Metered>,
    /// When it was found to cost more than it may, or its workflow to do so.
    #[serde(default)]
    pub over_since: Option<Timestamp>,
}

/// A machine whose time is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Metered {
    since: Timestamp,
    price: MachinePrice,
}

impl Spending {
    /// What it has cost until then.
    pub fn at(&self, now: Timestamp) -> Money {
        self.spent.plus(self.on_machine(now))
    }

    /// What the machine that it has now has cost until then.
    pub(crate) fn on_machine(&self, now: Timestamp) -> Money {
        self.machine.map_or(Money(0), |it| it.price.charge(now.since(it.since)))
    }

    /// It has a machine since then.
    pub fn begin(&mut self, since: Timestamp, price: Option<MachinePrice>) {
        if self.machine.is_none() {
            self.machine = price.map(|price| Metered { since, price });
        }
    }

    /// It does not have the machine any more.
    pub(crate) fn end(&mut self, now: Timestamp) {
        self.spent = self.at(now);
        self.machine = None;
    }

    /// When it will have cost more than that, if it goes on.
    pub(crate) fn passes(&self, limit: Money) -> Option<Timestamp> {
        const HOUR: u128 = Duration::from_secs(3600).as_micros();
        let Metered { since, price } = self.machine?;
        let left = limit.0.checked_sub(self.spent.0);
        let Some(left) = left else {
            return Some(since);
        };
        // The first microsecond at which the charge, rounded down, is more.
        let micros = (u128::from(left) + 1) * HOUR;
        let micros = micros.checked_div(u128::from(price.total()))? + 1;
        Some(since.after(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))))
    }
}

/// A month of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Month {
    year: i16,
    month: i8,
}

impl Month {
    /// The month in which that moment lies.
    pub fn of(at: Timestamp) -> Self {
        let at = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or_default();
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        Self { year: date.year(), month: date.month() }
    }

    /// Its first moment.
    pub fn begin(self) -> Timestamp {
        let first = jiff::civil::Date::new(self.year, self.month, 1);
        let at = first.and_then(|first| first.to_zoned(jiff::tz::TimeZone::UTC));
        Timestamp::from_micros(at.map_or(0, |at| at.timestamp().as_microsecond()))
    }

    /// The first moment after it.
    pub fn end(self) -> Timestamp {
        let (year, month) =
            if self.month < 12 { (self.year, self.month + 1) } else { (self.year.saturating_add(1), 1) };
        Self { year, month }.begin()
    }
}

/// What the machines of a workflow that are gone have cost in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MonthSpent {
    /// The newest month in which one ended.
    month: Month,
    amount: Money,
}

impl MonthSpent {
    /// A machine is gone.
    pub(crate) fn add(&mut self, worker: &Worker, now: Timestamp) {
        let month = Month::of(now);
        if self.month != month {
            *self = Self { month, amount: Money(0) };
        }
        self.amount = self.amount.plus(in_month(worker, month, now));
    }

    fn of(self, month: Month) -> Money {
        if self.month == month { self.amount } else { Money(0) }
    }
}

/// What the machines of a workflow have cost since the beginning of the month: those that are gone, and those of `workers`
/// that are its own and are not.
pub fn month_of<'a>(
    workflow: &Workflow,
    workers: impl IntoIterator<Item = &'a Worker>,
    now: Timestamp,
) -> Money {
    let month = Month::of(now);
    let own = |worker: &&Worker| match &worker.purpose {
        Purpose::Any => false,
        Purpose::Workflow { workflow: of, .. } => *of == workflow.id,
    };
    let alive = workers.into_iter().filter(own).filter(|worker| worker.gone_at().is_none());
    alive.fold(workflow.spent.of(month), |sum, worker| sum.plus(in_month(worker, month, now)))
}

/// The part of a machine's bill that falls into a month, until `now`.
fn in_month(worker: &Worker, month: Month, now: Timestamp) -> Money {
    let Some((launched, price)) = worker.launched.as_ref().and_then(|it| Some((it.at, it.price?))) else {
        return Money(0);
    };
    // By its deadline it has powered itself off.
    let until = worker.deadline().map_or(now, |deadline| deadline.min(now)).min(month.end());
    if launched >= month.begin() {
        price.bill(until.since(launched))
    } else {
        price.charge(until.since(month.begin()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn a_month_begins_and_ends_at_midnight_in_utc() {
        let december = Month::of(moment("2026-12-31T23:59:59.999999Z"));
        assert_eq!(december.begin(), moment("2026-12-01T00:00:00Z"));
        assert_eq!(december.end(), moment("2027-01-01T00:00:00Z"));
        assert_ne!(december, Month::of(december.end()));
    }

    proptest::proptest! {
        #[test]
        fn the_moment_at_which_a_limit_is_passed_is_the_first_one(
            price in 1_u64..100_000_000, limit in 0_u64..1_000_000_000, spent in 0_u64..1_000_000
        ) {
            let price = MachinePrice { instance: price, ..MachinePrice::default() };
            let mut spending = Spending { spent: Money(spent), ..Spending::default() };
            spending.begin(moment("2026-08-01T00:00:00Z"), Some(price));
            let at = spending.passes(Money(limit)).unwrap();
            proptest::prop_assert!(spending.at(at) > Money(limit));
            let before = at.before(Duration::from_micros(2));
            proptest::prop_assert!(spending.at(before) <= Money(limit) || spent > limit);
        }
    }
}
