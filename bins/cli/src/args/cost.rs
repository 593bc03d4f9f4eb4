//! Flags of the commands about money.

use clap::{Args, ValueEnum};

/// Flags of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Its name, repository/name, or its id
    pub workflow: String,
    /// Another instance size than the configured one
    #[arg(long, value_name = "SIZE")]
    pub instance_size: Option<String>,
    /// Another branch, tag or commit than the newest synced one
    #[arg(long = "ref", value_name = "REF")]
    pub reference: Option<String>,
}

/// Flags of `advise`.
#[derive(Debug, Args)]
pub struct AdviseArgs {
    /// Its name, repository/name, or its id
    pub workflow: String,
}

/// Flags of `cost`.
#[derive(Debug, Args)]
pub struct CostArgs {
    /// Of runs from then on: a time (RFC 3339), or how long ago, such as 7d [default: 30d]
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Of runs before then [default: now]
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// What to sum by: workflow or day
    #[arg(long, value_enum, default_value_t, value_name = "WHAT", hide_possible_values = true)]
    pub by: CostsBy,
}

/// What costs are summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum CostsBy {
    /// A line a workflow, the dearest first.
    #[default]
    Workflow,
    /// A line a day.
    Day,
}

impl CostsBy {
    /// As the server calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Day => "day",
        }
    }
}
