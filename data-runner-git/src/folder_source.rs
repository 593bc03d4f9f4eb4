//! A plain folder as a source, with whatever stands in it at the moment.

mod scan;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::id::Revision;
use data_runner_core::port::{SourceError, Version, WorkflowFolder, WorkflowSource};

use crate::bundle::{self, Limits};
use crate::snapshot::{self, Found, Snapshot};
use scan::{Scan, Scanned};

/// A folder of this machine, for development. A revision is the SHA-256 of its files' paths, modes and contents.
///
/// Nothing is copied: what is asked of a revision is read from the folder and compared with what `resolve` saw, and if
/// a file that is needed has changed since, the revision is `Gone`. Whatever the reference, `resolve` gives the files
/// as they are. Folders named `.git`, `.venv`, `__pycache__`, `.data-runner`, `node_modules` and `target` are not part
/// of it, anywhere.
#[derive(Clone)]
pub struct FolderSource {
    folder: Arc<Folder>,
    limits: Limits,
}

struct Folder {
    root: PathBuf,
    /// The newest revisions that were seen, the newest last. Earlier ones can only matter while theirs files are as
    /// they were.
    seen: Mutex<Vec<Arc<Scanned>>>,
}

/// A fetch follows its resolve closely; there is no need to remember more.
const REMEMBERED: usize = 8;

/// The archive of the folder `folder` (such as `workflows/orders`) of a repository that is checked out at `root`, and of
/// what it includes: what a server makes of a commit, made of the files as they are. Nothing else below `root` is read.
///
/// # Errors
/// As [`WorkflowSource::fetch`] has them.
pub fn pack(root: &Path, folder: &str, includes: &[String], limits: Limits) -> Result<Bytes, SourceError> {
    let mut wanted = vec![snapshot::clean(folder)?];
    for include in includes {
        wanted.push(snapshot::clean(include)?);
    }
    let files = Scan::new(root, limits, None).of(&wanted)?;
    bundle::make(&files, folder, includes, limits)
}

impl FolderSource {
    /// The folder `root`; it need not exist yet.
    pub fn new(root: PathBuf, limits: Limits) -> Self {
        Self { folder: Arc::new(Folder { root, seen: Mutex::new(Vec::new()) }), limits }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let folder = Arc::clone(&self.folder);
        let url = folder.root.display().to_string();
        tokio::task::spawn_blocking(move || work(&folder))
            .await
            .unwrap_or_else(|error| Err(SourceError::Local { url, source: error.into() }))
    }

    async fn read_at<T: Send + 'static>(
        &self,
        revision: &Revision,
        read: impl FnOnce(&Scanned) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let (revision, limits) = (revision.clone(), self.limits);
        self.blocking(move |folder| read(&*folder.at(&revision, limits)?)).await
    }
}

impl Folder {
    /// The files as they are now.
    fn scan(&self, limits: Limits) -> Result<Arc<Scanned>, SourceError> {
        let before = self.seen().last().cloned();
        let scanned = Arc::new(Scan::new(&self.root, limits, before.as_deref()).run()?);
        let mut seen = self.seen();
        seen.retain(|earlier| earlier.revision != scanned.revision);
        seen.push(Arc::clone(&scanned));
        let superfluous = seen.len().saturating_sub(REMEMBERED);
        seen.drain(..superfluous);
        Ok(scanned)
    }

    /// The files of `revision`, if that was seen or is what stands here now.
    fn at(&self, revision: &Revision, limits: Limits) -> Result<Arc<Scanned>, SourceError> {
        let seen = self.seen().iter().find(|seen| seen.revision == *revision).cloned();
        match seen {
            Some(seen) => Ok(seen),
            None => {
                let now = self.scan(limits)?;
                if now.revision == *revision { Ok(now) } else { Err(SourceError::Gone(revision.clone())) }
            }
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Scanned>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn any_is_there(files: &dyn Snapshot, paths: &[String]) -> Result<bool, SourceError> {
    for path in paths {
        if files.look(path)? != Found::Nothing {
            return Ok(true);
        }
    }
    Ok(false)
}

#[async_trait]
impl WorkflowSource for FolderSource {
    async fn resolve(&self, _reference: &str) -> Result<Revision, SourceError> {
        let limits = self.limits;
        self.blocking(move |folder| Ok(folder.scan(limits)?.revision.clone())).await
    }

    async fn discover(&self, revision: &Revision) -> Result<Vec<WorkflowFolder>, SourceError> {
        self.read_at(revision, |files| snapshot::discover(files)).await
    }

    async fn read(&self, revision: &Revision, path: &str) -> Result<Bytes, SourceError> {
        let path = path.to_owned();
        self.read_at(revision, move |files| snapshot::read(files, &path)).await
    }

    async fn fetch(
        &self,
        revision: &Revision,
        folder: &str,
        includes: &[String],
    ) -> Result<Bytes, SourceError> {
        let (folder, includes, limits) = (folder.to_owned(), includes.to_vec(), self.limits);
        self.read_at(revision, move |files| bundle::make(files, &folder, &includes, limits)).await
    }

    /// One version: nothing says what the files were before.
    async fn history(
        &self,
        revision: &Revision,
        paths: &[String],
        limit: usize,
    ) -> Result<Vec<Version>, SourceError> {
        let paths = snapshot::clean_all(paths)?;
        let is_there = self.read_at(revision, move |files| any_is_there(files, &paths)).await?;
        let version = Version { revision: revision.clone(), at: None, author: None, subject: None };
        Ok(is_there.then_some(version).into_iter().take(limit).collect())
    }

    /// Only of a revision and itself: the contents of an earlier one are not kept.
    async fn diff(&self, from: &Revision, to: &Revision, paths: &[String]) -> Result<String, SourceError> {
        snapshot::clean_all(paths)?;
        self.read_at(to, |_| Ok(())).await?;
        if from == to { Ok(String::new()) } else { Err(SourceError::Gone(from.clone())) }
    }
}
