//! Paths: of the script, and of what is included.

use super::TypeAt;
use crate::workflow::config::ParseContext;
use crate::workflow::wrong_in_folder;
use crate::yaml::{Placed, Report, nearest};

/// The script: what is given, or the worker type's default. It must be among the folder's files.
pub(super) fn entrypoint(
    given: Option<Placed<String>>,
    worker_type: TypeAt<'_>,
    context: &ParseContext<'_>,
    report: &mut Report<'_>,
) -> Option<String> {
    let (at, path, why) = match (given, worker_type) {
        (Some(given), _) => {
            if !stays_inside(&given, "the workflow's folder", report) {
                return None;
            }
            (given.at, given.value, String::new())
        }
        (None, Some((spec, at))) => {
            (at, spec.entrypoint.clone(), format!(", which {} runs when entrypoint is not given", spec.name))
        }
        (None, None) => return None,
    };
    if let Some(files) = context.files
        && !files.contains(&path)
    {
        let message = format!("there is no `{path}` in the workflow's folder{why}");
        let reported = report.error(&at, "missing_script", message);
        match nearest(&path, files.iter().map(String::as_str)) {
            Some(name) => reported.did_you_mean(Some(name)),
            None => reported.help("add the file, or name another one with `entrypoint`"),
        }
    }
    Some(path)
}

/// What is included, without trailing slashes and without what is there anyhow.
pub(super) fn include(given: Vec<Placed<String>>, folder: &str, report: &mut Report<'_>) -> Vec<String> {
    let mut include: Vec<String> = Vec::new();
    for mut path in given {
        path.value.truncate(path.value.trim_end_matches('/').len().max(1));
        if !stays_inside(&path, "the repository", report) {
            continue;
        }
        let within = |outer: &str| path.value == outer || path.value.starts_with(&format!("{outer}/"));
        if within(folder) {
            let message = format!("`{}` is the workflow's own folder, or in it", path.value);
            report
                .warning(&path.at, "redundant_include", message)
                .help("remove it: the folder is always there");
        } else if let Some(outer) = include.iter().find(|outer| within(outer)) {
            let message = format!("`{}` is included with `{outer}` already", path.value);
            report.warning(&path.at, "redundant_include", message).help("remove it");
        } else {
            include.push(path.value);
        }
    }
    include
}

/// Whether a path can only mean something within `base`; if not, that is reported.
pub(super) fn stays_inside(path: &Placed<String>, base: &str, report: &mut Report<'_>) -> bool {
    let text = &path.value;
    let Some(wrong) = wrong_in_folder(text) else {
        return true;
    };
    let message = format!("`{}` is not a path in {base}: {wrong}", text.escape_debug());
    report
        .error(&path.at, "invalid_path", message)
        .help(format!("write it relative to {base}, with `/` between"));
    false
}
