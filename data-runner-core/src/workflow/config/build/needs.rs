//! Workflows whose success starts it.

use std::time::Duration;

use crate::workflow::{Need, WorkflowRef};
use crate::yaml::{Placed, Report, Value};

const DEFAULT_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// Reads the needs; those that are refused are missing in the answer. Whether the workflows exist is not known here.
pub(super) fn needs(given: Vec<Placed<Value>>, file: &str, report: &mut Report<'_>) -> Vec<Need> {
    let own = file.rsplit_once('/').map_or("", |(folder, _)| folder.rsplit('/').next().unwrap_or(folder));
    let mut needs: Vec<Need> = Vec::new();
    for mut item in given.into_iter().filter_map(Placed::into_object).map(|item| item.value) {
        let Some(name) = item.text("workflow") else {
            continue;
        };
        let workflow: WorkflowRef = match name.value.parse() {
            Ok(workflow) => workflow,
            Err(error) => {
                let message = format!("`{}` cannot be the name of a workflow", name.value);
                report
                    .error(&name.at, "invalid_value", message)
                    .help(format!("it is {}, or repo/name", error.expected));
                continue;
            }
        };
        if needs.iter().any(|known| known.workflow.name == workflow.name) {
            let message = format!("`{}` stands twice", workflow.name);
            report.error(&name.at, "duplicate_value", message).help("remove one of them");
        } else if workflow.repo.is_none() && workflow.name.as_str() == own {
            let message = format!("`{own}` needs itself");
            report.error(&name.at, "needs_cycle", message).help("remove it");
        } else {
            let within = item.duration("within").unwrap_or(DEFAULT_WITHIN);
            needs.push(Need { workflow, within });
        }
    }
    needs
}
