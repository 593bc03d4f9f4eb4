//! A git repository keeps the contract of a source.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use data_runner_core::port::WorkflowSource;
use data_runner_git::{GitSource, Limits};
use data_runner_testkit::contract::workflow_source::SourceFixture;
use data_runner_testkit::memory::workflow_source::RepoFiles;
use support::{Origin, access};
use tempfile::TempDir;

struct Fixture {
    folder: TempDir,
    origin: Mutex<Origin>,
    source: Arc<GitSource>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::new(folder.path().join("origin.git"));
        let mirror = folder.path().join("mirror.git");
        let source = Arc::new(GitSource::new(&origin.url(), mirror, access(), Limits::default()).unwrap());
        Self { folder, origin: Mutex::new(origin), source }
    }
}

#[async_trait]
impl SourceFixture for Fixture {
    fn source(&self) -> Arc<dyn WorkflowSource> {
        self.source.clone()
    }

    fn elsewhere(&self) -> Arc<dyn WorkflowSource> {
        let url = self.origin.lock().unwrap().url();
        let mirror = self.folder.path().join("elsewhere.git");
        Arc::new(GitSource::new(&url, mirror, access(), Limits::default()).unwrap())
    }

    fn reference(&self) -> &'static str {
        "main"
    }

    async fn publish(&self, files: &RepoFiles) {
        let origin = self.origin.lock().unwrap();
        origin.commit("main", origin.tip("main"), files);
    }
}

data_runner_testkit::workflow_source_contract!(Fixture::new());
