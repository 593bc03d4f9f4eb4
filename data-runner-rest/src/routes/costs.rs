//! `/costs`: what was spent.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use data_runner_core::cost::Cost;
use data_runner_core::execution::Execution as CoreExecution;
use data_runner_core::port::ExecutionQuery;
use data_runner_core::time::Timestamp;
use data_runner_core::workflow::{Presence, Workflow};
use jiff::tz::TimeZone;

use super::costed;
use crate::api::{CostGroup, Costs, Problem, moment};
use crate::app::App;
use crate::http::query::Params;
use crate::http::refusal::Refusal;
use crate::http::time;

/// How far back it looks unless told.
const USUAL: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many executions are read at a time.
const BATCH: u32 = 500;

/// Sums what the machines of executions have cost until now. Machines that were kept warm count for the executions that
/// had them; boot and idle time stand apart as waste.
#[utoipa::path(
    get, path = "/costs", tag = "costs", security(("token" = ["read"])),
    params(
        ("since" = Option<String>, Query, description = "Created at or after: RFC 3339, or a length of time before now such as `7d`; default `30d`"),
        ("until" = Option<String>, Query, description = "Created before: the same; default now"),
        ("group_by" = Option<String>, Query, description = "`workflow` (default) or `day`"),
    ),
    responses((status = 200, body = Costs), (status = 400, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn sum(State(app): State<App>, mut query: Params) -> Result<Json<Costs>, Refusal> {
    let now = jiff::Timestamp::now();
    let expected = "RFC 3339, or a length of time before now such as 7d";
    let until = query.read("until", expected, |text| time::moment(text, now))?;
    let until = until.unwrap_or(Timestamp::from_micros(now.as_microsecond()));
    let since = query.read("since", expected, |text| time::moment(text, now))?;
    let since = since.unwrap_or(until.before(USUAL));
    let by = query.read("group_by", "workflow or day", |text| match text {
        "workflow" => Some(By::Workflow),
        "day" => Some(By::Day),
        _ => None,
    })?;
    query.finish()?;
    let by = by.unwrap_or(By::Workflow);
    let groups = groups(&app, since, until, by).await?;
    let total = groups.values().fold(Group::default(), |sum, group| sum.plus(group)).show("total");
    let mut items: Vec<CostGroup> = groups.iter().map(|(key, group)| group.show(key)).collect();
    match by {
        By::Workflow => {
            items.sort_by(|a, b| b.cost_usd.total_cmp(&a.cost_usd));
            let published = app.handle.published();
            let alive = published.workflows.values().map(AsRef::as_ref);
            let alive = alive.filter(|it: &&Workflow| !matches!(it.presence, Presence::Deleted { .. }));
            let mut budgets = costed::budgets(&app.handle, alive).await?;
            for item in &mut items {
                item.budget = budgets.remove(&item.key);
            }
        }
        By::Day => {}
    }
    Ok(Json(Costs { since: moment(since), until: moment(until), items, total }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Workflow,
    Day,
}

impl By {
    fn key(self, execution: &CoreExecution) -> String {
        match self {
            Self::Workflow => execution.workflow().to_string(),
            Self::Day => moment(execution.created_at).to_zoned(TimeZone::UTC).date().to_string(),
        }
    }
}

#[derive(Default)]
struct Group {
    executions: u64,
    without_price: u64,
    cost: Cost,
}

impl Group {
    fn add(&mut self, cost: Option<Cost>) {
        self.executions += 1;
        match cost {
            Some(cost) => self.cost = self.cost + cost,
            None => self.without_price += 1,
        }
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            executions: self.executions + other.executions,
            without_price: self.without_price + other.without_price,
            cost: self.cost + other.cost,
        }
    }

    fn show(&self, key: &str) -> CostGroup {
        CostGroup::new(key, self.executions, self.without_price, self.cost)
    }
}

async fn groups(
    app: &App,
    since: Timestamp,
    until: Timestamp,
    by: By,
) -> Result<BTreeMap<String, Group>, Refusal> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut before = None;
    loop {
        let query = ExecutionQuery {
            since: Some(since),
            until: Some(until),
            before,
            limit: BATCH,
            ..ExecutionQuery::default()
        };
        let found = app.handle.catalog().executions(query).await?;
        let machines = costed::machines(&app.handle, &found).await?;
        for execution in &found {
            groups.entry(by.key(execution)).or_default().add(machines.cost(execution));
        }
        match found.last() {
            Some(last) => before = Some(last.id),
            None => return Ok(groups),
        }
    }
}
