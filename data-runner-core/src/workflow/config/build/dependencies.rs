//! What the job's environment must hold.

use super::paths::stays_inside;
use crate::workflow::config::ParseContext;
use crate::workflow::{Dependencies, DuckdbDependency, PythonDependency, ScriptLanguage, WorkerTypeSpec};
use crate::yaml::{Object, Placed, Report, Value, nearest};

/// Reads `dependencies`. What makes no sense for the worker type is an error: it would be ignored.
pub(super) fn dependencies(
    mut given: Object,
    worker_type: Option<&WorkerTypeSpec>,
    context: &ParseContext<'_>,
    report: &mut Report<'_>,
) -> Dependencies {
    if let Some(spec) = worker_type {
        let foreign: &[&str] = match spec.language {
            ScriptLanguage::Python => &["duckdb"],
            ScriptLanguage::Sql => &["python", "requirements"],
            ScriptLanguage::Other => &[],
        };
        for key in foreign {
            if let Some(at) = given.place(key) {
                let message = format!("`{key}` has no meaning for a workflow of type {}", spec.name);
                report.error(&at, "misplaced_key", message).help("remove it");
            }
        }
    }
    let python = given.text("python").and_then(|version| numbered(version, &[2], "\"3.12\"", report));
    let requirements = match given.take("requirements") {
        None => PythonDependency::Default,
        Some(Placed { at, value: Value::Text(path) }) => {
            requirements_file(Placed { at, value: path }, context, report)
        }
        Some(list) => requirements_list(list, report),
    };
    let mut duckdb = given.object("duckdb");
    let version =
        duckdb.text("version").and_then(|version| numbered(version, &[2, 3], "\"1.4\" or \"1.4.4\"", report));
    let mut extensions: Vec<String> = Vec::new();
    for extension in duckdb.texts("extensions") {
        let valid = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        if !extension.value.bytes().all(valid) {
            let message = format!("`{}` cannot be the name of an extension", extension.value.escape_debug());
            let help = "a name has lower-case letters, digits and _, such as httpfs";
            report.error(&extension.at, "invalid_value", message).help(help);
        } else if !extensions.contains(&extension.value) {
            extensions.push(extension.value);
        }
    }
    Dependencies { python, requirements, duckdb: DuckdbDependency { version, extensions } }
}

/// A version of as many numbers as `parts` allows.
fn numbered(
    version: Placed<String>,
    parts: &[usize],
    example: &str,
    report: &mut Report<'_>,
) -> Option<String> {
    let numbers: Vec<&str> = version.value.split('.').collect();
    let number = |part: &&str| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if parts.contains(&numbers.len()) && numbers.iter().all(number) {
        return Some(version.value);
    }
    let message = format!("`{}` is not a version", version.value.escape_debug());
    report.error(&version.at, "invalid_value", message).help(format!("write it like {example}, in quotes"));
    None
}

fn requirements_file(
    path: Placed<String>,
    context: &ParseContext<'_>,
    report: &mut Report<'_>,
) -> PythonDependency {
    if stays_inside(&path, "the workflow's folder", report)
        && let Some(files) = context.files
        && !files.contains(&path.value)
    {
        let message = format!("there is no `{}` in the workflow's folder", path.value);
        let reported = report.error(&path.at, "missing_file", message);
        match nearest(&path.value, files.iter().map(String::as_str)) {
            Some(name) => reported.did_you_mean(Some(name)),
            None => reported.help("add the file, or write the requirements as a list"),
        }
    }
    PythonDependency::File(path.value)
}

fn requirements_list(list: Placed<Value>, report: &mut Report<'_>) -> PythonDependency {
    let Value::List(items) = list.value else {
        return PythonDependency::Default;
    };
    let mut lines = Vec::new();
    for line in items.into_iter().filter_map(Placed::into_text) {
        // Each one becomes a line of a requirements file: an option or a second line there would not be a requirement.
        let starts = line.value.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts && !line.value.contains(['\n', '\r']) {
            lines.push(line.value);
        } else {
            let message = format!("`{}` is not a requirement", line.value.escape_debug());
            let help = "write a package with its version (PEP 508), such as polars>=1.30";
            report.error(&line.at, "invalid_value", message).help(help);
        }
    }
    PythonDependency::List(lines)
}
