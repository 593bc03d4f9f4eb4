//! Flags of `backfill` and `group`.

use std::num::NonZeroU16;

use clap::{Args, Subcommand};
use jiff::civil::Date;

use super::execution::name_and_value;

const ID: &str = "Its id, a prefix of it that is unambiguous, or `latest`";

/// Flags of `backfill`.
#[derive(Debug, Args)]
pub struct BackfillArgs {
    /// The workflow: its name, repository/name, or its id
    pub workflow: String,
    /// The first date, such as 2026-08-01
    #[arg(long, value_name = "DATE")]
    pub from: Date,
    /// The last date
    #[arg(long, value_name = "DATE")]
    pub to: Date,
    /// Print what would run, and start nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How many executions may be active at one time; default: what the matrix says, else one
    #[arg(long, value_name = "N")]
    pub max_parallel: Option<NonZeroU16>,
    /// A parameter for all of them; may be repeated
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub param: Vec<(String, String)>,
    /// Start only: print the group's id and leave
    #[arg(long, short)]
    pub detach: bool,
}

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List groups, the newest first
    #[command(visible_alias = "ls")]
    List {
        /// At most so many
        #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
        limit: u32,
    },
    /// Show a group and its executions
    Show {
        #[arg(default_value = "latest", help = ID)]
        /// Which group.
        group: String,
    },
    /// Start no further execution; those that are active go on
    Pause {
        #[arg(help = ID)]
        /// Which group.
        group: String,
    },
    /// Start executions of a paused group again
    Resume {
        #[arg(help = ID)]
        /// Which group.
        group: String,
    },
    /// End a group: what is active is told to stop, the rest never starts
    Cancel {
        #[arg(help = ID)]
        /// Which group.
        group: String,
    },
}
