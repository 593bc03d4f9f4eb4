//! Flags of `schedule`.

use clap::Subcommand;

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// List schedules: when each is due next, and what came of the last time
    #[command(visible_alias = "ls")]
    List,
    /// Print the next times at which a workflow runs by itself
    Next {
        /// Its name, repository/name, or its id
        workflow: String,
        /// How many
        #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 5)]
        count: usize,
    },
}
