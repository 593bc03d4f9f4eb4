//! Prices and costs as REST shows them, in US dollars.

use data_runner_core::cost::{self as core, Market};
use data_runner_core::id::WorkflowId;
use data_runner_core::worker::Candidate;
use data_runner_engine::supervisor::MachinePlan;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What something cost, by what the money was for. `boot` and `idle` are waste.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Cost {
    /// While an attempt had the machine: code and environment were made ready, and it ran.
    pub work_usd: f64,
    /// From the launch until the first attempt had the machine.
    pub boot_usd: f64,
    /// While no attempt had it: kept warm, draining, ending, and what the least billed minute adds.
    pub idle_usd: f64,
}

/// The price of a machine for an hour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HourlyPrice {
    /// All of it.
    pub total_usd: f64,
    /// The instance.
    pub instance_usd: f64,
    /// Its root volume.
    pub volume_usd: f64,
    /// Its public IPv4 address.
    pub address_usd: f64,
}

/// What a workflow may cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Budget {
    /// One execution, all its attempts together.
    pub per_run_usd: Option<f64>,
    /// All machines of the workflow in a calendar month of UTC.
    pub per_month_usd: Option<f64>,
    /// What happens beyond: `cancel`, `block` or `notify`.
    pub on_exceed: String,
    /// What its machines have cost since the month began; null in a listing.
    pub month_usd: Option<f64>,
}

/// What a run would get. Nothing was launched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// The workflow's full name, `repo/name`.
    pub workflow: String,
    /// The workflow's id.
    #[schema(value_type = uuid::Uuid)]
    pub workflow_id: WorkflowId,
    /// The revision that would run.
    pub revision: String,
    /// Its worker type.
    pub worker_type: String,
    /// The instance size that it asks for.
    pub instance_size: String,
    /// How long it may run, in seconds.
    pub timeout_seconds: f64,
    /// How many of the newest runs that went well `median_seconds` is taken from.
    pub past_runs: u64,
    /// The usual time of a run, in seconds; null: it has never run to a good end.
    pub median_seconds: Option<f64>,
    /// What the workflow may cost, and what it has cost this month.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// The machines, in the order in which they would be tried; empty where nobody starts machines.
    pub candidates: Vec<PlannedMachine>,
}

/// One machine that a run may get.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedMachine {
    /// The same for people.
    pub label: String,
    /// Its type.
    pub instance_type: String,
    /// Its availability zone, where there are any.
    pub zone: Option<String>,
    /// `on-demand` or `spot`.
    pub market: String,
    /// Its price for an hour, where one is known.
    pub price_per_hour: Option<HourlyPrice>,
    /// What it costs for the usual time of a run, where both are known.
    pub cost_at_median_usd: Option<f64>,
    /// What it costs when the run uses its whole timeout.
    pub cost_at_timeout_usd: Option<f64>,
}

/// What was spent, by workflow or by day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Costs {
    /// Of executions that were created at or after.
    pub since: Timestamp,
    /// Of executions that were created before.
    pub until: Timestamp,
    /// The groups: by workflow the dearest first, by day in order.
    pub items: Vec<CostGroup>,
    /// All of them together.
    pub total: CostGroup,
}

/// What was spent for one workflow or on one day.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct CostGroup {
    /// The workflow's full name, the day (in UTC, by when the execution was created), or `total`.
    pub key: String,
    /// How many executions.
    pub executions: u64,
    /// Of how many of them the cost is not known, such as those on this machine.
    pub without_price: u64,
    /// What the others cost.
    pub cost_usd: f64,
    /// By what the money was for.
    pub cost: Cost,
    /// What the workflow may cost, and what it has cost this month; grouped by workflow only.
    #[serde(default)]
    pub budget: Option<Budget>,
}

impl From<core::Cost> for Cost {
    fn from(cost: core::Cost) -> Self {
        Self { work_usd: cost.work.usd(), boot_usd: cost.boot.usd(), idle_usd: cost.idle.usd() }
    }
}

impl Budget {
    pub(crate) fn new(budget: &core::Budget, month: Option<core::Money>) -> Self {
        Self {
            per_run_usd: budget.per_run.map(core::Money::usd),
            per_month_usd: budget.per_month.map(core::Money::usd),
            on_exceed: budget.on_exceed.as_str().to_owned(),
            month_usd: month.map(core::Money::usd),
        }
    }
}

impl From<core::MachinePrice> for HourlyPrice {
    fn from(price: core::MachinePrice) -> Self {
        let usd = |millionths| core::Money(millionths).usd();
        Self {
            total_usd: usd(price.total()),
            instance_usd: usd(price.instance),
            volume_usd: usd(price.volume),
            address_usd: usd(price.address),
        }
    }
}

impl From<&MachinePlan> for Plan {
    fn from(plan: &MachinePlan) -> Self {
        Self {
            workflow: plan.workflow.qualified_name().to_string(),
            workflow_id: plan.workflow.id,
            revision: plan.revision.to_string(),
            worker_type: plan.worker_type.to_string(),
            instance_size: plan.instance_size.clone(),
            timeout_seconds: plan.timeout.as_secs_f64(),
            past_runs: plan.past.map_or(0, |past| past.count as u64),
            median_seconds: plan.past.map(|past| past.median.as_secs_f64()),
            budget: None,
            candidates: plan
                .candidates
                .iter()
                .map(|candidate| PlannedMachine::new(candidate, plan))
                .collect(),
        }
    }
}

impl PlannedMachine {
    fn new(candidate: &Candidate, plan: &MachinePlan) -> Self {
        let bill = |time| candidate.price.map(|price| price.bill(time).usd());
        Self {
            label: candidate.label.clone(),
            instance_type: candidate.instance_type.clone(),
            zone: candidate.zone.clone(),
            market: Market::as_str(candidate.market).to_owned(),
            price_per_hour: candidate.price.map(HourlyPrice::from),
            cost_at_median_usd: plan.past.and_then(|past| bill(past.median)),
            cost_at_timeout_usd: bill(plan.timeout),
        }
    }
}

impl CostGroup {
    pub(crate) fn new(key: impl Into<String>, executions: u64, without_price: u64, cost: core::Cost) -> Self {
        Self {
            key: key.into(),
            executions,
            without_price,
            cost_usd: cost.total().usd(),
            cost: cost.into(),
            budget: None,
        }
    }
}
