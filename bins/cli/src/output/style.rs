//! Colours: only what a terminal that wants them gets to see (anstream removes them for all others).

use anstyle::{AnsiColor, Style};
use data_runner_core::execution::StateName;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HELP: Style = AnsiColor::Cyan.on_default();
const GOOD: Style = AnsiColor::Green.on_default();
/// What deserves a look.
pub const WARN: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// What went wrong.
pub fn error(text: &str) -> String {
    paint(ERROR, text)
}

/// What to do.
pub fn help(text: &str) -> String {
    paint(HELP, text)
}

/// What went well.
pub fn good(text: &str) -> String {
    paint(GOOD, text)
}

/// What deserves a look.
pub fn warn(text: &str) -> String {
    paint(WARN, text)
}

/// What stands behind.
pub fn dim(text: &str) -> String {
    paint(DIM, text)
}

/// What stands out.
pub fn bold(text: &str) -> String {
    paint(BOLD, text)
}

/// The name of an execution's state in its colour.
pub fn state(state: StateName) -> String {
    let style = match state {
        StateName::Queued => DIM,
        StateName::Provisioning | StateName::Starting => HELP,
        StateName::Running => AnsiColor::Blue.on_default(),
        StateName::Success => GOOD,
        StateName::Failed => ERROR,
        StateName::Cancelled => WARN,
    };
    paint(style, state.as_str())
}
