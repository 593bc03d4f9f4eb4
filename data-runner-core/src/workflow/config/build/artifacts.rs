//! Files that are kept.

use std::time::Duration;

use crate::id::ArtifactName;
use crate::workflow::{ArtifactRule, PathPattern};
use crate::yaml::{Placed, Report, Value};

const DEFAULT_RETAIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// Reads the rules; those that are refused are missing in the answer.
pub(super) fn artifacts(given: Vec<Placed<Value>>, report: &mut Report<'_>) -> Vec<ArtifactRule> {
    let mut rules: Vec<ArtifactRule> = Vec::new();
    for mut item in given.into_iter().filter_map(Placed::into_object).map(|item| item.value) {
        let (name, path) = (item.text("name"), item.text("path"));
        let retain = item.duration("retain").unwrap_or(DEFAULT_RETAIN);
        let name = name.and_then(|name| read_name(&name, &rules, report));
        let path = path.and_then(|path| read_path(&path, report));
        if let (Some(name), Some(path)) = (name, path) {
            rules.push(ArtifactRule { name, path, retain });
        }
    }
    rules
}

fn read_name(
    given: &Placed<String>,
    rules: &[ArtifactRule],
    report: &mut Report<'_>,
) -> Option<ArtifactName> {
    let name: ArtifactName = match given.value.parse() {
        Ok(name) => name,
        Err(error) => {
            let message = format!("`{}` cannot be the name of an artifact", given.value.escape_debug());
            report.error(&given.at, "invalid_value", message).help(format!("it is {}", error.expected));
            return None;
        }
    };
    if rules.iter().any(|known| known.name == name) {
        let message = format!("`{name}` stands twice");
        report.error(&given.at, "duplicate_value", message).help("rename one of them");
        return None;
    }
    Some(name)
}

fn read_path(given: &Placed<String>, report: &mut Report<'_>) -> Option<PathPattern> {
    let read = given.value.parse::<PathPattern>();
    read.map_err(|error| {
        let message = format!(
            "`{}` names no files in the workflow's folder: {}",
            given.value.escape_debug(),
            error.wrong
        );
        report
            .error(&given.at, "invalid_path", message)
            .help("write it relative to the folder, with `/` between, such as out/*.parquet or out/**/*.csv");
    })
    .ok()
}
