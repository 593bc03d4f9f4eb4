//! What a repository's URL is opened as.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::sync::Arc;

use data_runner_core::port::{SourceError, SourceOpener as _};
use data_runner_git::{Insecure, LocalPaths, Opener, OpenerOptions};
use support::{Origin, access, repo, workflow};

fn options(folder: &std::path::Path, local: LocalPaths) -> OpenerOptions {
    OpenerOptions { local, access: access(), ..OpenerOptions::new(folder.join("repos")) }
}

#[tokio::test]
async fn a_working_folder_runs_its_files_and_its_file_url_runs_its_commits() {
    let folder = tempfile::tempdir().unwrap();
    let working = folder.path().join("etl");
    fs::create_dir_all(working.join("workflows/orders")).unwrap();
    let origin = Origin::new(working.join(".git"));
    let commit = origin.commit("main", None, &workflow("committed")).to_string();
    fs::write(working.join("workflows/orders/config.yaml"), "worker_type: polars").unwrap();
    fs::write(working.join("workflows/orders/workflow.py"), "edited").unwrap();

    let path = working.to_str().unwrap();
    let url = format!("file://{path}");
    for (local, url, program) in [
        (LocalPaths::Files, path, "edited"),
        (LocalPaths::Files, &url, "committed"),
        (LocalPaths::Commits, path, "committed"),
        (LocalPaths::Commits, &url, "committed"),
    ] {
        let opener = Opener::new(options(folder.path(), local));
        let source = opener.open(&repo("etl", url)).unwrap();
        let revision = source.resolve("main").await.unwrap();
        assert_eq!(
            source.read(&revision, "workflows/orders/workflow.py").await.unwrap(),
            program,
            "{local:?} {url}"
        );
        assert_eq!(revision.as_str() == commit, program == "committed");
    }
    for url in [path, &url] {
        let opened = Opener::new(options(folder.path(), LocalPaths::Refuse)).open(&repo("etl", url));
        assert!(matches!(opened.err(), Some(SourceError::Refused { .. })));
    }
}

#[tokio::test]
async fn a_bare_repository_has_nothing_but_commits() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::new(folder.path().join("origin.git"));
    let commit = origin.commit("main", None, &workflow("committed")).to_string();
    let opener = Opener::new(options(folder.path(), LocalPaths::Files));
    let source = opener.open(&repo("etl", origin.path().to_str().unwrap())).unwrap();
    assert_eq!(source.resolve("main").await.unwrap().as_str(), commit);
}

#[tokio::test]
async fn opening_waits_for_nothing_and_gives_one_source_for_one_repository() {
    let folder = tempfile::tempdir().unwrap();
    let opener = Opener::new(options(folder.path(), LocalPaths::Files));
    let first = opener.open(&repo("etl", "https://git.invalid/etl.git")).unwrap();
    let second = opener.open(&repo("etl", "https://git.invalid/etl.git")).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert!(opener.open(&repo("etl", "/nowhere/yet")).is_ok());
    assert!(!folder.path().join("repos").exists());
}

#[test]
fn what_can_never_work_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let opener = Opener::new(options(folder.path(), LocalPaths::Files));
    for url in
        ["ftp://host/x", "http://host/x", "git://host/x", "https://me:secret@host/x", "--upload-pack=x"]
    {
        let error = opener.open(&repo("etl", url)).err();
        assert!(matches!(error, Some(SourceError::Refused { .. })), "{url}");
    }
    let lax = OpenerOptions { insecure: Insecure::Allow, ..options(folder.path(), LocalPaths::Files) };
    assert!(Opener::new(lax).open(&repo("etl", "git://host/x")).is_ok());
}

#[tokio::test]
async fn a_name_that_is_given_to_another_repository_does_not_meet_the_old_commits() {
    let folder = tempfile::tempdir().unwrap();
    let old = Origin::new(folder.path().join("old.git"));
    let new = Origin::new(folder.path().join("new.git"));
    let commit = old.commit("main", None, &workflow("old")).to_string();
    new.commit("main", None, &workflow("new"));
    let opener = Opener::new(options(folder.path(), LocalPaths::Commits));
    opener.open(&repo("etl", &old.url())).unwrap().resolve(&commit).await.unwrap();
    let error = opener.open(&repo("etl", &new.url())).unwrap().resolve(&commit).await.unwrap_err();
    assert!(matches!(error, SourceError::NoSuchRef { .. }), "{error:?}");
}
