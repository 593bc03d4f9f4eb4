//! `validate`: the configurations of a repository, by the same parser as the server's, without one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use data_runner_core::id::WorkflowName;
use data_runner_core::workflow::WorkerTypes;
use data_runner_core::workflow::config::{
    self, NeedsOf, ParseContext, Parsed, Problem, Severity, WorkflowConfig,
};
use serde::Serialize;

use crate::args::{ValidateArgs, ValidateFormat};
use crate::error::Error;
use crate::output::{Output, say, style};

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    /// How many workflows were looked at.
    workflows: usize,
    problems: Vec<Problem>,
}

/// Checks everything at or below the paths: 1 if something is wrong with it.
pub fn validate(args: &ValidateArgs, output: Output) -> Result<u8, Error> {
    let mut configs = Vec::new();
    for path in &args.paths {
        configs.extend(configs_at(path)?);
    }
    configs.sort();
    configs.dedup();
    let mut findings = Findings { workflows: configs.len(), problems: Vec::new() };
    let mut folders_by_name: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut read = Vec::new();
    for path in &configs {
        let (text, parsed) = check(path)?;
        findings.problems.extend_from_slice(parsed.problems());
        read.push((path.display().to_string(), text, parsed));
        let folder = path.parent().unwrap_or(path);
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(other) = folders_by_name.insert(name.clone(), folder.to_owned()) {
            findings.problems.push(duplicate(&name, folder, &other));
        }
    }
    findings.problems.extend(check_graph(&read));
    print(&findings, args.format, output)?;
    let broken = findings.problems.iter().any(|problem| problem.severity == Severity::Error);
    Ok(u8::from(broken))
}

fn print(findings: &Findings, format: ValidateFormat, output: Output) -> Result<(), Error> {
    match format {
        ValidateFormat::Json => output.json(findings),
        ValidateFormat::Github => match config::render_github(&findings.problems).trim_end() {
            "" => Ok(()),
            text => output.line(text),
        },
        ValidateFormat::Human => {
            let rendered = config::render(&findings.problems, output.colours);
            if !rendered.is_empty() {
                output.line(rendered.trim_end())?;
            }
            if findings.problems.is_empty() {
                let noun = if findings.workflows == 1 { "workflow is" } else { "workflows are" };
                say(&style::good(&format!("{} {noun} valid", findings.workflows)));
            }
            Ok(())
        }
    }
}

/// How the workflows need each other. One alone says nothing of the others, so nothing is said of one.
fn check_graph(read: &[(String, Vec<u8>, Parsed<WorkflowConfig>)]) -> Vec<Problem> {
    let names = read.iter().map(|(file, _, _)| {
        let folder = Path::new(file).parent()?;
        folder.file_name()?.to_str()?.parse::<WorkflowName>().ok()
    });
    let names: Vec<Option<WorkflowName>> = names.collect();
    let workflows: Vec<NeedsOf<'_>> = read
        .iter()
        .zip(&names)
        .filter_map(|((file, text, parsed), name)| {
            let needs = parsed.value().map_or(&[][..], |config| &config.needs);
            Some(NeedsOf { name: name.as_ref()?, file, text, needs })
        })
        .collect();
    if workflows.len() < 2 {
        return Vec::new();
    }
    config::check_needs(None, &workflows).concat()
}

/// The text of a configuration, and what it says, with all that is wrong with it and with its script.
pub fn check(path: &Path) -> Result<(Vec<u8>, Parsed<WorkflowConfig>), Error> {
    let cannot = |source| Error::io(format!("cannot read {}", path.display()), source);
    let text = fs::read(path).map_err(cannot)?;
    let folder = path.parent().unwrap_or(path);
    let files = files_below(folder).map_err(cannot)?;
    let worker_types = WorkerTypes::default();
    let context = ParseContext { worker_types: &worker_types, files: Some(&files) };
    let shown = path.display().to_string();
    let parsed = config::parse(&shown, &text, &context);
    let known = |config: &WorkflowConfig| worker_types.get(config.worker_type.as_str()).cloned();
    let script =
        parsed.value().and_then(|config| known(config).map(|spec| (folder.join(&config.entrypoint), spec)));
    // A script that is not there is among the problems already.
    let script = script.and_then(|(path, spec)| fs::read(&path).ok().map(|text| (path, text, spec)));
    let more =
        script.map(|(path, text, spec)| config::check_script(&path.display().to_string(), &text, &spec));
    Ok((text, parsed.with_problems(more.unwrap_or_default())))
}

/// The configurations that a path means: a config.yaml, a workflow's folder, or a repository.
pub fn configs_at(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let cannot = |source| Error::io(format!("cannot read {}", path.display()), source);
    let kind = fs::metadata(path).map_err(cannot)?;
    if kind.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let own = path.join("config.yaml");
    if own.is_file() {
        return Ok(vec![without_dot(own)]);
    }
    let workflows = path.join("workflows");
    let root = if workflows.is_dir() { workflows.as_path() } else { path };
    let mut found = Vec::new();
    collect(root, &mut found).map_err(cannot)?;
    if found.is_empty() {
        return Err(Error::failed(
            format!("there is no workflow at {}", path.display()),
            "a workflow is a folder below workflows/ with a config.yaml; `data-runner init` makes two",
        ));
    }
    Ok(found.into_iter().map(without_dot).collect())
}

/// `./workflows/…` reads as `workflows/…`.
fn without_dot(path: PathBuf) -> PathBuf {
    path.strip_prefix(".").map(Path::to_owned).unwrap_or(path)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let config = path.join("config.yaml");
        if config.is_file() {
            found.push(config);
        } else if path.is_dir() && !is_hidden(&path) {
            collect(&path, found)?;
        }
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// The names of all files in a workflow's folder, relative to it.
fn files_below(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(name) = path.strip_prefix(folder) {
                files.push(name.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    files.sort();
    Ok(files)
}

fn duplicate(name: &str, folder: &Path, other: &Path) -> Problem {
    Problem {
        code: "duplicate_workflow_name".to_owned(),
        severity: Severity::Error,
        message: format!("{} and {} are both named `{name}`", other.display(), folder.display()),
        help: Some("a workflow's name is its folder's, and unique in its repository: rename one".to_owned()),
        location: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::args::Format;

    const OUTPUT: Output = Output { format: Format::Table, width: None, colours: false };

    fn repository(workflows: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (name, config) in workflows {
            let folder = root.path().join("workflows").join(name);
            fs::create_dir_all(&folder).expect("made");
            fs::write(folder.join("config.yaml"), config).expect("written");
            fs::write(folder.join("workflow.sql"), "SELECT 1;").expect("written");
        }
        root
    }

    fn run(path: &Path) -> Result<u8, Error> {
        validate(&ValidateArgs { paths: vec![path.to_owned()], format: ValidateFormat::Json }, OUTPUT)
    }

    const GOOD: &str = "worker_type: duckdb\ninstance_size: t3.small\n";

    #[test]
    fn a_valid_repository_is_0_and_one_mistake_is_1() {
        assert_eq!(run(repository(&[("a", GOOD), ("deep/b", GOOD)]).path()).expect("checked"), 0);
        assert_eq!(run(repository(&[("a", GOOD), ("b", "worker_type: duck\n")]).path()).expect("checked"), 1);
    }

    #[test]
    fn two_folders_of_one_name_are_a_mistake() {
        assert_eq!(run(repository(&[("x/a", GOOD), ("y/a", GOOD)]).path()).expect("checked"), 1);
    }

    #[test]
    fn a_folder_without_workflows_is_an_error_and_says_what_to_do() {
        let empty = tempfile::tempdir().expect("a folder");
        let error = run(empty.path()).expect_err("nothing there");
        assert!(error.render().contains("data-runner init"), "{}", error.render());
    }

    #[test]
    fn what_init_and_the_samples_hold_is_valid() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(run(&manifest.join("templates/init")).expect("checked"), 0);
        assert_eq!(run(&manifest.join("../../examples")).expect("checked"), 0);
    }
}
