//! Where a job says what packages it needs. What is most exact wins: a `uv.lock`, then the script's own block
//! (PEP 723), then the configuration, then what the worker type brings.

use std::fs;
use std::path::{Path, PathBuf};

use data_runner_core::execution::{Failure, FailureCause};
use data_runner_core::port::RunRequest;
use data_runner_core::workflow::{PackageChoice, PackageLock, PythonDependency};

use super::EnvironmentError;

/// What packages an environment needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Requirements {
    /// A `uv.lock`, beside its `pyproject.toml`.
    Locked { project: PathBuf, identity: String },
    /// A script with a block of its own.
    Script { script: PathBuf, block: String },
    /// Lines as pip takes them.
    Lines { lines: String, origin: &'static str, exactly: bool },
}

impl Requirements {
    /// These packages and no others.
    pub(crate) fn exactly(lines: impl Into<String>) -> Self {
        Self::Lines { lines: lines.into(), origin: "what Data Runner pins", exactly: true }
    }

    /// These packages of an earlier attempt, and no others.
    fn again(lock: &PackageLock) -> Self {
        let origin = "the lock of the execution";
        Self::Lines { lines: lock.requirements(), origin, exactly: true }
    }

    /// What decides on the result.
    pub(super) fn identity(&self) -> &str {
        match self {
            Self::Locked { identity, .. } => identity,
            Self::Script { block, .. } => block,
            Self::Lines { lines, .. } => lines,
        }
    }

    /// Where they come from, for people.
    pub(super) fn origin(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "uv.lock",
            Self::Script { .. } => "the script's own block",
            Self::Lines { origin, .. } => origin,
        }
    }
}

/// What the job needs; `brought` is what its worker type brings, a requirement such as `polars==2.1.0`. A list or file
/// of the configuration adds to that, unless it names the same package itself.
fn of_job(run: &RunRequest, brought: &str) -> Result<Requirements, Failure> {
    let folder = run.working_directory();
    if let Some(locked) = locked(&folder)? {
        return Ok(locked);
    }
    let script = folder.join(&run.job.entrypoint);
    let text = fs::read(&script).map_err(|error| unreadable(&run.job.entrypoint, &error))?;
    // A script may name another encoding than UTF-8; what a block of requirements is made of is ASCII in all of them.
    if let Some(block) = script_block(&String::from_utf8_lossy(&text)) {
        return Ok(Requirements::Script { script, block });
    }
    let (lines, origin) = match &run.job.dependencies.requirements {
        PythonDependency::Default => (String::new(), "what Data Runner pins"),
        PythonDependency::List(list) => (list.join("\n"), "config.yaml"),
        PythonDependency::File(file) => {
            let path = folder.join(file);
            (fs::read_to_string(path).map_err(|error| unreadable(file, &error))?, "the requirements file")
        }
    };
    Ok(Requirements::Lines { lines: with_brought(lines, brought), origin, exactly: false })
}

/// What the job needs, and with which Python: an earlier attempt's packages, if it is to have those. A `uv.lock` is as
/// exact, and knows the hashes too.
pub(crate) fn wanted_by(run: &RunRequest, brought: &str) -> Result<(Requirements, Option<String>), Failure> {
    let requirements = of_job(run, brought)?;
    let python = run.job.dependencies.python.clone();
    Ok(match (&run.job.packages, &requirements) {
        (PackageChoice::Lock(lock), Requirements::Script { .. } | Requirements::Lines { .. }) => {
            (Requirements::again(lock), lock.python_series().or(python))
        }
        (PackageChoice::Lock(_), Requirements::Locked { .. })
        | (PackageChoice::Worker | PackageChoice::Anew, _) => (requirements, python),
    })
}

/// Says what to do when an earlier attempt's packages are not to be had.
pub(crate) fn hinting(error: EnvironmentError, packages: &PackageChoice) -> EnvironmentError {
    match (error, packages) {
        (EnvironmentError::Failed(failure), PackageChoice::Lock(_)) if failure.hint.is_none() => {
            let hint =
                "exactly the packages of the earlier attempt were asked for; `rerun` resolves them anew";
            failure.hinting(hint).into()
        }
        (error, _) => error,
    }
}

fn unreadable(file: &str, error: &std::io::Error) -> Failure {
    Failure::new(FailureCause::Source, format!("{file} cannot be read: {error}"))
}

fn locked(folder: &Path) -> Result<Option<Requirements>, Failure> {
    let Ok(lock) = fs::read_to_string(folder.join("uv.lock")) else { return Ok(None) };
    let project = fs::read_to_string(folder.join("pyproject.toml")).map_err(|_| {
        Failure::new(FailureCause::Source, "there is a uv.lock and no pyproject.toml beside it")
            .hinting("commit the pyproject.toml that the uv.lock was made from")
    })?;
    Ok(Some(Requirements::Locked { project: folder.to_owned(), identity: format!("{project}\0{lock}") }))
}

/// The block of a script that names its packages, by PEP 723: lines of comment from `# /// script` to `# ///`.
fn script_block(text: &str) -> Option<String> {
    let lines = text.lines().skip_while(|line| line.trim_end() != "# /// script");
    let block: Vec<_> = lines.skip(1).take_while(|line| line.starts_with('#')).collect();
    let end = block.iter().rposition(|line| line.trim_end() == "# ///")?;
    Some(block.get(..end)?.join("\n"))
}

fn with_brought(lines: String, brought: &str) -> String {
    let name = |requirement: &str| -> String {
        requirement.trim().chars().take_while(|c| c.is_alphanumeric() || "-_.".contains(*c)).collect()
    };
    let names_it = lines.lines().any(|line| name(line).eq_ignore_ascii_case(&name(brought)));
    if names_it { lines } else { format!("{brought}\n{lines}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_scripts_block_ends_where_its_comment_does() {
        let script =
            "#!/usr/bin/env python\n# /// script\n# dependencies = [\"humanize\"]\n# ///\n\nprint(1)\n";
        assert_eq!(script_block(script).unwrap(), "# dependencies = [\"humanize\"]");
        assert_eq!(script_block("# /// script\n# never closed\nprint(1)"), None);
        assert_eq!(script_block("print(1)"), None);
    }

    #[test]
    fn what_the_worker_type_brings_is_added_unless_the_workflow_names_it() {
        assert_eq!(with_brought("humanize".to_owned(), "polars==2.1.0"), "polars==2.1.0\nhumanize");
        assert_eq!(with_brought("Polars[all]>=2\n".to_owned(), "polars==2.1.0"), "Polars[all]>=2\n");
        assert_eq!(with_brought("polars-ds".to_owned(), "polars==2.1.0"), "polars==2.1.0\npolars-ds");
    }
}
