//! What to try once the demo has run.

use std::path::Path;

use crate::args::DEFAULT_SERVER;
use crate::contexts::Contexts;
use crate::output::{say, style};

/// Says what to try; the server goes on.
pub fn suggest(server: &str, samples: &Path) {
    let commands = [
        ("data-runner ps -a", "what has run"),
        ("data-runner show latest", "timeline, failure, end of the log"),
        ("data-runner run daily-sales -p day=2026-08-02 -p region=eu", "with parameters"),
        ("data-runner run check-customers -p file=customers-mended.csv", "now it is well"),
        ("data-runner run sensor-progress --detach", "go on without waiting"),
        ("data-runner worker list", "the agents of this machine"),
    ];
    say(&format!("\n{} in another terminal:", style::bold("Try")));
    // On another address than the usual one, or with a context in use, a second terminal must be told.
    let elsewhere =
        Contexts::file().and_then(|file| Contexts::read(&file)).is_ok_and(|all| all.current.is_some());
    if server != DEFAULT_SERVER || elsewhere {
        say(&format!("  export DATA_RUNNER_SERVER={server}"));
    }
    for (command, what) in commands {
        say(&format!("  {command:<64} {}", style::dim(what)));
    }
    say(&format!("\nChange a sample in {}/workflows and run it again.", samples.display()));
    say("Ctrl-C ends the server and its agents.");
}
