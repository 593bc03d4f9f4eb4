//! A git repository keeps the contract of a source.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use data_runner_core::port::WorkflowSource;
use data_runner_git::{GitSource, Limits};
use data_runner_testkit::contract::workflow_source::SourceFixture;
use data_runner_testkit::memory::workflow_source::RepoFiles;
use support::served::Daemon;
use support::{Origin, access};
use tempfile::TempDir;

struct Fixture {
    folder: TempDir,
    url: String,
    origin: Mutex<Origin>,
    source: Arc<GitSource>,
    _daemon: Option<Daemon>,
}

impl Fixture {
    /// Its files are read where they are, and all of them.
    fn on_this_machine() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::new(folder.path().join("origin.git"));
        let url = origin.url();
        Self::at(folder, origin, url, None)
    }

    /// It is served, and its copies are shallow.
    fn over_the_network() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::new(folder.path().join("origin.git"));
        let daemon = Daemon::serve(folder.path());
        let url = daemon.url();
        Self::at(folder, origin, url, Some(daemon))
    }

    fn at(folder: TempDir, origin: Origin, url: String, daemon: Option<Daemon>) -> Self {
        let mirror = folder.path().join("mirror.git");
        let source = Arc::new(GitSource::new(&url, mirror, access(), Limits::default()).unwrap());
        Self { folder, url, origin: Mutex::new(origin), source, _daemon: daemon }
    }
}

#[async_trait]
impl SourceFixture for Fixture {
    fn source(&self) -> Arc<dyn WorkflowSource> {
        self.source.clone()
    }

    fn elsewhere(&self) -> Arc<dyn WorkflowSource> {
        let mirror = self.folder.path().join("elsewhere.git");
        Arc::new(GitSource::new(&self.url, mirror, access(), Limits::default()).unwrap())
    }

    fn reference(&self) -> &'static str {
        "main"
    }

    async fn publish(&self, files: &RepoFiles) {
        let origin = self.origin.lock().unwrap();
        origin.commit("main", origin.tip("main"), files);
    }
}

mod on_this_machine {
    data_runner_testkit::workflow_source_contract!(super::Fixture::on_this_machine());
}

mod over_the_network {
    data_runner_testkit::workflow_source_contract!(super::Fixture::over_the_network());
}
