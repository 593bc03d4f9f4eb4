//! A git repository as a source.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::id::Revision;
use data_runner_core::port::{SourceError, Version, WorkflowFolder, WorkflowSource};

use crate::access::Access;
use crate::bundle::{self, Limits};
use crate::location::{Location, RemoteUrl};
use crate::mirror::Mirror;
use crate::remote::Remote;
use crate::snapshot;
use crate::tree::CommitSnapshot;

/// A git repository, mirrored into a bare one on this machine. A revision is a commit.
///
/// `resolve` asks the remote for its refs and brings only what is missing; at first that is the newest commit alone, unless
/// the repository is on this machine. `history`, and older commits, bring what is behind it when they are asked for. A
/// revision that was resolved once stays readable, also when the branch is rewritten or the remote cannot be reached.
#[derive(Clone)]
pub struct GitSource {
    mirror: Arc<Mirror>,
    limits: Limits,
}

impl GitSource {
    /// The repository at `url`, mirrored into the folder `mirror`, which need not exist yet.
    ///
    /// # Errors
    ///
    /// `Refused` for a URL that cannot be one, or that holds a password or token. Nothing is waited for.
    pub fn new(url: &str, mirror: PathBuf, access: Access, limits: Limits) -> Result<Self, SourceError> {
        let remote = match Location::parse(url)? {
            Location::Remote(remote) => remote,
            Location::Path(path) => RemoteUrl::of_path(&path)?,
        };
        Ok(Self::of(remote, mirror, access, limits))
    }

    pub(crate) fn of(url: RemoteUrl, mirror: PathBuf, access: Access, limits: Limits) -> Self {
        Self { mirror: Arc::new(Mirror::new(mirror, Remote::new(url, access))), limits }
    }

    /// libgit2 blocks, on the network too.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Mirror) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let mirror = Arc::clone(&self.mirror);
        tokio::task::spawn_blocking(move || work(&mirror)).await.unwrap_or_else(|error| {
            Err(SourceError::Local { url: "the repository".to_owned(), source: error.into() })
        })
    }

    async fn read_at<T: Send + 'static>(
        &self,
        revision: &Revision,
        read: impl FnOnce(&CommitSnapshot<'_>) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let revision = revision.clone();
        self.blocking(move |mirror| mirror.read(&revision, read)).await
    }
}

#[async_trait]
impl WorkflowSource for GitSource {
    async fn resolve(&self, reference: &str) -> Result<Revision, SourceError> {
        let reference = reference.to_owned();
        self.blocking(move |mirror| mirror.resolve(&reference)).await
    }

    async fn discover(&self, revision: &Revision) -> Result<Vec<WorkflowFolder>, SourceError> {
        self.read_at(revision, |commit| snapshot::discover(commit)).await
    }

    async fn read(&self, revision: &Revision, path: &str) -> Result<Bytes, SourceError> {
        let path = path.to_owned();
        self.read_at(revision, move |commit| snapshot::read(commit, &path)).await
    }

    async fn fetch(
        &self,
        revision: &Revision,
        folder: &str,
        includes: &[String],
    ) -> Result<Bytes, SourceError> {
        let (folder, includes, limits) = (folder.to_owned(), includes.to_vec(), self.limits);
        self.read_at(revision, move |commit| bundle::make(commit, &folder, &includes, limits)).await
    }

    async fn history(
        &self,
        revision: &Revision,
        paths: &[String],
        limit: usize,
    ) -> Result<Vec<Version>, SourceError> {
        let (revision, paths) = (revision.clone(), snapshot::clean_all(paths)?);
        self.blocking(move |mirror| mirror.history(&revision, &paths, limit)).await
    }

    async fn diff(&self, from: &Revision, to: &Revision, paths: &[String]) -> Result<String, SourceError> {
        let (from, to, paths) = (from.clone(), to.clone(), snapshot::clean_all(paths)?);
        self.blocking(move |mirror| mirror.diff(&from, &to, &paths)).await
    }
}
