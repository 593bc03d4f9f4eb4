//! A plain folder keeps the contract of a source, and shows what stands in it at the moment.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::port::{SourceError, WorkflowSource};
use data_runner_git::{FolderSource, Limits};
use data_runner_testkit::contract::workflow_source::SourceFixture;
use data_runner_testkit::memory::workflow_source::{RepoFile, RepoFiles};
use tempfile::TempDir;

struct Fixture {
    folder: TempDir,
    source: FolderSource,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = FolderSource::new(folder.path().to_owned(), Limits::default());
        Self { folder, source }
    }
}

#[async_trait]
impl SourceFixture for Fixture {
    fn source(&self) -> Arc<dyn WorkflowSource> {
        Arc::new(self.source.clone())
    }

    fn elsewhere(&self) -> Arc<dyn WorkflowSource> {
        Arc::new(FolderSource::new(self.folder.path().to_owned(), Limits::default()))
    }

    fn reference(&self) -> &'static str {
        "main"
    }

    async fn publish(&self, files: &RepoFiles) {
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        write(self.folder.path(), files);
    }
}

fn write(root: &Path, files: &RepoFiles) {
    for (path, file) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match file {
            RepoFile::Plain(bytes) => fs::write(&path, bytes).unwrap(),
            RepoFile::Executable(bytes) => {
                fs::write(&path, bytes).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            RepoFile::Link(target) => symlink(target, &path).unwrap(),
        }
    }
}

data_runner_testkit::workflow_source_contract!(Fixture::new());

fn one_workflow() -> RepoFiles {
    [
        ("workflows/a/config.yaml", "worker_type: polars"),
        ("workflows/a/workflow.py", "print(1)"),
        ("notes.txt", "n"),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), RepoFile::text(text)))
    .collect()
}

#[tokio::test]
async fn an_edit_in_the_bundle_makes_its_revision_gone_and_an_edit_beside_it_does_not() {
    let it = Fixture::new();
    write(it.folder.path(), &one_workflow());
    let revision = it.source.resolve("whatever").await.unwrap();
    let bundle = it.source.fetch(&revision, "workflows/a", &[]).await.unwrap();

    fs::write(it.folder.path().join("notes.txt"), "other notes").unwrap();
    assert_eq!(it.source.fetch(&revision, "workflows/a", &[]).await.unwrap(), bundle);

    // The same length: it is the content that counts.
    fs::write(it.folder.path().join("workflows/a/workflow.py"), "print(2)").unwrap();
    let error = it.source.fetch(&revision, "workflows/a", &[]).await.unwrap_err();
    assert!(matches!(error, SourceError::Gone(gone) if gone == revision));

    fs::write(it.folder.path().join("notes.txt"), "n").unwrap();
    fs::write(it.folder.path().join("workflows/a/workflow.py"), "print(1)").unwrap();
    assert_eq!(it.source.resolve("whatever").await.unwrap(), revision, "the old files are the old revision");
    assert_eq!(it.source.fetch(&revision, "workflows/a", &[]).await.unwrap(), bundle);
}

#[tokio::test]
async fn a_revision_is_found_again_after_a_restart_if_nothing_changed() {
    let it = Fixture::new();
    write(it.folder.path(), &one_workflow());
    let revision = it.source.resolve("main").await.unwrap();
    let restarted = it.elsewhere();
    assert_eq!(restarted.discover(&revision).await.unwrap().len(), 1);
    fs::write(it.folder.path().join("notes.txt"), "other notes").unwrap();
    let restarted = it.elsewhere();
    assert!(matches!(restarted.discover(&revision).await, Err(SourceError::Gone(_))));
}

#[tokio::test]
async fn what_tools_leave_behind_is_no_part_of_it() {
    let it = Fixture::new();
    write(it.folder.path(), &one_workflow());
    let revision = it.source.resolve("main").await.unwrap();
    for skipped in [".git", ".venv", "__pycache__", ".data-runner", "node_modules", "target"] {
        let folder = it.folder.path().join("workflows/a").join(skipped);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.yaml"), "x").unwrap();
    }
    assert_eq!(it.source.resolve("main").await.unwrap(), revision);
    assert_eq!(it.source.discover(&revision).await.unwrap()[0].files, ["config.yaml", "workflow.py"]);
}

#[tokio::test]
async fn a_folder_that_is_not_there_yet_can_be_there_later() {
    let it = Fixture::new();
    let later = it.folder.path().join("later");
    let source = FolderSource::new(later.clone(), Limits::default());
    assert!(matches!(source.resolve("main").await, Err(SourceError::Unreachable { .. })));
    write(&later, &one_workflow());
    let revision = source.resolve("main").await.unwrap();
    assert_eq!(source.discover(&revision).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_too_large_for_a_bundle_is_refused_by_name_and_hides_nothing() {
    let it = Fixture::new();
    write(it.folder.path(), &one_workflow());
    fs::create_dir(it.folder.path().join("workflows/b")).unwrap();
    fs::write(it.folder.path().join("workflows/b/config.yaml"), "worker_type: polars").unwrap();
    fs::write(it.folder.path().join("workflows/b/data.bin"), vec![0; 2000]).unwrap();
    let source = FolderSource::new(it.folder.path().to_owned(), Limits { bytes: 1000, files: 3 });
    let revision = source.resolve("main").await.unwrap();
    assert!(source.fetch(&revision, "workflows/a", &[]).await.is_ok());
    let error = source.fetch(&revision, "workflows/b", &[]).await.unwrap_err();
    assert!(
        matches!(&error, SourceError::Refused { path, .. } if path == "workflows/b/data.bin"),
        "{error:?}"
    );
    let error = source.fetch(&revision, "workflows", &[]).await.unwrap_err();
    assert!(error.to_string().contains("at most 3"), "{error}");
}

#[tokio::test]
async fn a_pipe_is_refused_and_never_read() {
    let it = Fixture::new();
    write(it.folder.path(), &one_workflow());
    let made = std::process::Command::new("mkfifo").arg(it.folder.path().join("workflows/a/pipe")).status();
    assert!(made.unwrap().success());
    let revision = it.source.resolve("main").await.unwrap();
    let error = it.source.fetch(&revision, "workflows/a", &[]).await.unwrap_err();
    assert!(matches!(&error, SourceError::Refused { path, .. } if path == "workflows/a/pipe"), "{error:?}");
}
