//! A workflow's folder of this machine: found, checked and packed, so that it can be run without being pushed.

use std::path::{Path, PathBuf};

use data_runner_core::workflow::config::{self, Severity, WorkflowConfig};
use data_runner_git::{Limits, pack};
use data_runner_rest::api::Workflow;

use super::context::Context;
use super::validate::check;
use crate::client::encode;
use crate::error::Error;
use crate::output::say;

/// A workflow's folder, whose configuration is right.
#[derive(Debug)]
pub struct LocalFolder {
    /// The repository's root.
    pub root: PathBuf,
    /// The folder's path below it, such as `workflows/orders`.
    pub path: String,
    /// What its configuration says.
    pub config: WorkflowConfig,
}

/// Whether a person means a folder and no name of a workflow: names hold neither dots nor begin with a slash.
pub fn is_folder(given: &str) -> bool {
    given.starts_with(['.', '/']) || given == "~" || given.starts_with("~/")
}

impl LocalFolder {
    /// The folder that a person names, with the repository that it is in.
    pub fn open(given: &Path) -> Result<Self, Error> {
        let config = given.join("config.yaml");
        if !config.is_file() {
            return Err(Error::not_found(
                format!("there is no config.yaml in {}", given.display()),
                "name the folder of one workflow, such as ./workflows/orders",
            ));
        }
        let folder = given
            .canonicalize()
            .map_err(|source| Error::io(format!("cannot read {}", given.display()), source))?;
        let (root, path) = place(&folder).ok_or_else(|| {
            Error::usage(
                format!("{} is not below the folder workflows/ of a repository", given.display()),
                "move it to workflows/NAME; what it includes is found beside workflows/",
            )
        })?;
        let (_, parsed) = check(&config)?;
        let problems = parsed.problems();
        if !problems.is_empty() {
            say(config::render(problems, true).trim_end());
        }
        match parsed.value().filter(|_| !problems.iter().any(|it| it.severity == Severity::Error)) {
            Some(config) => Ok(Self { root, path, config: config.clone() }),
            None => {
                Err(Error::usage(format!("{} cannot be run", given.display()), "correct what is said above"))
            }
        }
    }

    /// The archive of the folder and what it includes, as the files are now.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let packed = pack(&self.root, &self.path, &self.config.include, Limits::default());
        packed.map(Into::into).map_err(|error| Error::Failed {
            message: format!("{} cannot be packed", self.root.join(&self.path).display()),
            help: None,
            source: Some(Box::new(error)),
        })
    }

    /// Sends it to the server; the workflow that it is there, to be run at its revision.
    pub async fn send(&self, context: &Context) -> Result<Workflow, Error> {
        let path = format!("/bundles?path={}", encode(&self.path));
        context.client.upload(&path, self.pack()?, "application/zstd").await
    }
}

/// The repository that a folder is in, and its path there: of the folders above that hold it below `workflows`, the one
/// that is a git repository, else the nearest.
fn place(folder: &Path) -> Option<(PathBuf, String)> {
    let mut places = folder.ancestors().skip(2).filter_map(|root| {
        let path = folder.strip_prefix(root).ok()?;
        let below = path.starts_with("workflows") && path != Path::new("workflows");
        below.then(|| (root.to_owned(), path.to_string_lossy().into_owned()))
    });
    let nearest = places.next()?;
    if nearest.0.join(".git").exists() {
        return Some(nearest);
    }
    Some(places.find(|(root, _)| root.join(".git").exists()).unwrap_or(nearest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::fs;

    use super::*;

    const GOOD: &str = "worker_type: duckdb\ninstance_size: t3.small\n";

    fn workflow(folder: &Path, config: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("config.yaml"), config).unwrap();
        fs::write(folder.join("workflow.sql"), "SELECT 1;").unwrap();
    }

    #[test]
    fn a_folder_is_told_from_a_name() {
        for folder in [".", "./orders", "../etl/workflows/orders", "/srv/x", "~/x"] {
            assert!(is_folder(folder), "{folder}");
        }
        for name in ["orders", "etl/orders", "workflows/orders", "01900000-0000-7000-8000-000000000000"] {
            assert!(!is_folder(name), "{name}");
        }
    }

    #[test]
    fn the_repository_is_found_above_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        workflow(&root.join("workflows/team/orders"), GOOD);
        let found = LocalFolder::open(&root.join("workflows/team/orders")).unwrap();
        assert_eq!((found.root, found.path.as_str()), (root.clone(), "workflows/team/orders"));
        // A repository that is itself called workflows.
        workflow(&root.join("workflows/workflows/orders"), GOOD);
        let inner = || LocalFolder::open(&root.join("workflows/workflows/orders")).unwrap();
        assert_eq!(inner().path, "workflows/orders");
        fs::create_dir(root.join(".git")).unwrap();
        assert_eq!((inner().root, inner().path.as_str()), (root.clone(), "workflows/workflows/orders"));
    }

    #[test]
    fn what_is_no_workflow_says_what_would_be() {
        let root = tempfile::tempdir().unwrap();
        let error = LocalFolder::open(root.path()).unwrap_err();
        assert!(error.render().contains("no config.yaml"), "{}", error.render());
        workflow(&root.path().join("orders"), GOOD);
        let error = LocalFolder::open(&root.path().join("orders")).unwrap_err();
        assert!(error.render().contains("workflows/NAME"), "{}", error.render());
        workflow(&root.path().join("workflows/orders"), "worker_type: duck\n");
        let error = LocalFolder::open(&root.path().join("workflows/orders")).unwrap_err();
        assert!(error.render().contains("cannot be run"), "{}", error.render());
    }
}
