//! `plan` and `cost`: what a run would cost, and what runs did.

use std::fmt::Write as _;
use std::time::Duration;

use data_runner_rest::api::{Budget, CostGroup, Costs, Plan, PlannedMachine};

use super::context::Context;
use crate::args::{CostArgs, CostsBy, PlanArgs};
use crate::client::encode;
use crate::error::Error;
use crate::output::{Field, Table, cut, money, style, time, whole};

/// Shows the machines that a run would be given.
pub async fn plan(args: &PlanArgs, context: &Context) -> Result<u8, Error> {
    let mut query = Vec::new();
    query.extend(args.reference.as_deref().map(|it| format!("ref={}", encode(it))));
    query.extend(args.instance_size.as_deref().map(|it| format!("instance_size={}", encode(it))));
    let path = format!("/workflows/{}/plan?{}", encode(&args.workflow), query.join("&"));
    let plan: Plan = context.client.get(path.trim_end_matches('?')).await?;
    context.output.one(
        &plan,
        |plan| plan.candidates.iter().map(|it| it.label.clone()).collect::<Vec<_>>().join("\n"),
        |plan| planned(plan, |table| context.output.draw(table)),
    )?;
    Ok(0)
}

fn planned(plan: &Plan, draw: impl FnOnce(&Table) -> String) -> String {
    let mut text =
        format!("{}  {} on {}\n", style::bold(&plan.workflow), plan.worker_type, plan.instance_size);
    let timeout = time::duration(Duration::from_secs_f64(plan.timeout_seconds));
    let usual = plan.median_seconds.map(|seconds| time::duration(Duration::from_secs_f64(seconds)));
    let _ = match &usual {
        Some(usual) => writeln!(text, "  takes {usual} (of {} runs), at most {timeout}", plan.past_runs),
        None => writeln!(text, "  has not run to a good end yet; at most {timeout}"),
    };
    if let Some(budget) = &plan.budget {
        let _ = writeln!(text, "  budget: {}", allowed(budget));
    }
    if plan.candidates.is_empty() {
        text.push_str("\nnobody starts machines here; it runs on agents that join by themselves");
        return text;
    }
    let mut table = Table::new([
        whole("TRY"),
        whole("MACHINE"),
        whole("ZONE"),
        whole("MARKET"),
        whole("PER HOUR"),
        whole("USUAL RUN"),
        whole("WHOLE TIMEOUT"),
    ]);
    for (number, machine) in (1..).zip(&plan.candidates) {
        table.row([
            Field::new(format!("{number}")),
            Field::new(machine.instance_type.clone()),
            Field::new(machine.zone.clone().unwrap_or_else(|| "-".to_owned())),
            Field::new(machine.market.clone()),
            Field::new(money::known(machine.price_per_hour.map(|price| price.total_usd))),
            Field::new(money::known(machine.cost_at_median_usd)),
            Field::new(money::known(machine.cost_at_timeout_usd)),
        ]);
    }
    let _ = write!(text, "\n{}\n\n", draw(&table));
    let notes = included(&plan.candidates).map(|included| format!("{included}; ")).unwrap_or_default();
    let _ =
        write!(text, "{}", style::dim(&format!("{notes}they are tried in this order; nothing was launched")));
    text
}

/// What an hour holds beside the instance, which is the same for every machine.
fn included(machines: &[PlannedMachine]) -> Option<String> {
    let price = machines.iter().find_map(|machine| machine.price_per_hour)?;
    let named = [("its volume", price.volume_usd), ("its public address", price.address_usd)];
    let paid: Vec<String> = named
        .into_iter()
        .filter(|(_, amount)| *amount > 0.0)
        .map(|(name, amount)| format!("{} for {name}", money::usd(amount)))
        .collect();
    (!paid.is_empty()).then(|| format!("an hour includes {}", paid.join(" and ")))
}

/// Shows what runs have cost.
pub async fn cost(args: &CostArgs, context: &Context) -> Result<u8, Error> {
    let mut query = vec![format!("group_by={}", args.by.as_str())];
    query.extend(args.since.as_deref().map(|it| format!("since={}", encode(it))));
    query.extend(args.until.as_deref().map(|it| format!("until={}", encode(it))));
    let costs: Costs = context.client.get(&format!("/costs?{}", query.join("&"))).await?;
    context.output.one(
        &costs,
        |costs| costs.items.iter().map(|it| it.key.clone()).collect::<Vec<_>>().join("\n"),
        |costs| spent(costs, args.by, |table| context.output.draw(table)),
    )?;
    Ok(0)
}

fn spent(costs: &Costs, by: CostsBy, draw: impl FnOnce(&Table) -> String) -> String {
    let span = format!("from {} to {}", time::moment(costs.since), time::moment(costs.until));
    if costs.items.is_empty() {
        return format!("no execution {span}");
    }
    let heading = match by {
        CostsBy::Workflow => "WORKFLOW",
        CostsBy::Day => "DAY",
    };
    let mut table = Table::new([
        cut(heading),
        whole("RUNS"),
        whole("COST"),
        whole("WORK"),
        whole("BOOT"),
        whole("IDLE"),
        whole("NO PRICE"),
    ]);
    for group in costs.items.iter().chain(std::iter::once(&costs.total)) {
        table.row(row(group));
    }
    let mut text = format!("{}\n\n{}", draw(&table), style::dim(&format!("{span}; boot and idle are waste")));
    for group in &costs.items {
        if let Some(budget) = &group.budget {
            let _ = write!(text, "\n{}: {}", group.key, allowed(budget));
        }
    }
    text
}

/// What a workflow may cost, and what it has cost this month.
pub(super) fn allowed(budget: &Budget) -> String {
    let run = budget.per_run_usd.map(|run| format!("{} a run", money::usd(run)));
    let month = budget.per_month_usd.map(|month| format!("{} a month", money::usd(month)));
    let limits: Vec<String> = [run, month].into_iter().flatten().collect();
    let used = budget.month_usd.map(|used| format!("; {} used this month", money::usd(used)));
    format!("{}, then {}{}", limits.join(" and "), budget.on_exceed, used.unwrap_or_default())
}

fn row(group: &CostGroup) -> [Field; 7] {
    let priced = group.executions > group.without_price;
    let amount = |amount| Field::new(money::known(priced.then_some(amount)));
    let without = if group.without_price == 0 { String::new() } else { group.without_price.to_string() };
    [
        Field::new(group.key.clone()),
        Field::new(group.executions.to_string()),
        amount(group.cost_usd),
        amount(group.cost.work_usd),
        amount(group.cost.boot_usd),
        amount(group.cost.idle_usd),
        Field::new(without),
    ]
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn drawn(table: &Table) -> String {
        table.render(Some(100), false)
    }

    #[test]
    fn a_plan_lists_machines_in_order_with_what_a_run_costs() {
        let machine = |kind: &str, zone: &str, market: &str, price: f64| {
            json!({
                "label": format!("{kind} {zone} {market}"), "instance_type": kind, "zone": zone, "market": market,
                "price_per_hour": {"total_usd": price + 0.0067, "instance_usd": price, "volume_usd": 0.0017, "address_usd": 0.005},
                "cost_at_median_usd": price / 12.0, "cost_at_timeout_usd": price * 6.0,
            })
        };
        let mut unpriced = machine("m6i.large", "eu-west-1a", "on-demand", 1.0);
        for field in ["price_per_hour", "cost_at_median_usd", "cost_at_timeout_usd"] {
            unpriced[field] = json!(null);
        }
        let plan = json!({
            "workflow": "etl/daily-sales", "workflow_id": "019863f1-0000-7000-8000-000000000001",
            "revision": "3f2c1ab09d8e7f6a5b4c3d2e1f0a9b8c7d6e5f40", "worker_type": "polars",
            "instance_size": "t3.medium", "timeout_seconds": 21600.0, "past_runs": 12, "median_seconds": 312.0,
            "candidates": [
                machine("t3.medium", "eu-west-1b", "spot", 0.0137),
                machine("t3.medium", "eu-west-1a", "on-demand", 0.0456), unpriced,
            ],
        });
        let mut plan: Plan = serde_json::from_value(plan).expect("a plan");
        plan.budget = Some(Budget {
            per_run_usd: Some(0.5),
            per_month_usd: Some(40.0),
            on_exceed: "block".to_owned(),
            month_usd: Some(39.8),
        });
        insta::assert_snapshot!("plan", plain(&planned(&plan, drawn)));
        (plan.candidates, plan.median_seconds) = (Vec::new(), None);
        insta::assert_snapshot!("plan_without_machines", plain(&planned(&plan, drawn)));
    }

    #[test]
    fn costs_are_a_table_with_a_total() {
        let group = |key: &str, executions: u64, without: u64, n: f64| {
            json!({
                "key": key, "executions": executions, "without_price": without, "cost_usd": 1.23 * n,
                "cost": {"work_usd": n, "boot_usd": 0.2 * n, "idle_usd": 0.03 * n},
            })
        };
        let costs = json!({
            "since": "2026-07-02T00:00:00Z", "until": "2026-08-01T00:00:00Z",
            "items": [group("etl/daily-sales", 30, 0, 3.0), group("etl/report", 4, 1, 0.01), group("here/only", 2, 2, 0.0)],
            "total": group("total", 36, 3, 3.01),
        });
        let mut costs: Costs = serde_json::from_value(costs).expect("costs");
        insta::assert_snapshot!("cost", plain(&spent(&costs, CostsBy::Workflow, drawn)));
        costs.items.clear();
        insta::assert_snapshot!("cost_of_nothing", plain(&spent(&costs, CostsBy::Day, drawn)));
    }
}
