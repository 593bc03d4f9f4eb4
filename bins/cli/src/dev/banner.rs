//! What a person sees when the server is up: what listens where, what can be run, and what is wrong.

use std::path::Path;

use data_runner_core::workflow::config::render;
use data_runner_core::workflow::{DefinitionState, Workflow};
use data_runner_server::{Registration, Running};

use crate::output::{Field, Output, Table, cut, say, style, whole};

/// Shows the banner, on stderr: it is no data.
pub fn show(running: &Running, state_dir: &Path, registrations: &[Registration], output: Output) {
    say(&format!("{} {}", style::bold("Data Runner"), env!("CARGO_PKG_VERSION")));
    let line = |name: &str, value: &str| say(&format!("  {} {value}", style::dim(&format!("{name:<7}"))));
    line("REST", &running.url());
    line("agents", &running.grpc().to_string());
    line("state", &state_dir.display().to_string());
    for registration in registrations {
        repository(registration, output);
    }
    if registrations.is_empty() {
        say("\nNo repository yet. In another terminal: data-runner workflow register REPO_OR_DIR");
        say("Or try: data-runner dev --demo");
    }
    say("");
}

fn repository(registration: &Registration, output: Output) {
    let url = &registration.repository.url;
    match &registration.result {
        Ok(found) => {
            say(&format!("\n{} {}", style::bold("workflows of"), url));
            if !found.items.is_empty() {
                say(&indented(&output.draw(&table(&found.items))));
            }
            if !found.errors.is_empty() {
                say(&format!("\n{}", render(&found.errors, output.colours).trim_end()));
            }
        }
        Err(error) => {
            say(&format!("\n{} {url}: {error}", style::warn("not served yet, tried again every 30s:")));
            let mut cause = std::error::Error::source(error);
            while let Some(error) = cause {
                say(&format!("  {} {error}", style::dim("because:")));
                cause = error.source();
            }
        }
    }
}

fn table(workflows: &[Workflow]) -> Table {
    let mut table = Table::new([whole("NAME"), whole("TYPE"), cut("DESCRIPTION")]);
    for workflow in workflows {
        let DefinitionState::Valid(definition) = &workflow.definition else { continue };
        table.row([
            Field::new(workflow.name.as_str()),
            Field::new(definition.config.worker_type.as_str()),
            Field::new(definition.config.description.clone().unwrap_or_default()),
        ]);
    }
    table
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
