//! From a repository's URL to its source.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use data_runner_core::id::{RepoName, Sha256};
use data_runner_core::port::{SourceError, SourceOpener, WorkflowSource};
use data_runner_core::workflow::Repo;

use crate::access::Access;
use crate::bundle::Limits;
use crate::folder_source::FolderSource;
use crate::git_source::GitSource;
use crate::location::{Location, RemoteUrl, Scheme};
use crate::uploaded::UploadedSource;

/// What a path of this machine means as a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LocalPaths {
    /// Nothing: it is refused, and so is `file://`. Who may register a repository could read this machine's otherwise.
    #[default]
    Refuse,
    /// The commits of the git repository there.
    Commits,
    /// The files there, as they are at the moment; of a bare repository its commits. `file://` still means commits.
    Files,
}

/// Whether `http://` and `git://` may be used, where anyone on the way can change the code that is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Insecure {
    /// They are refused.
    #[default]
    Refuse,
    /// They are used, and never with credentials.
    Allow,
}

/// What an [`Opener`] goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenerOptions {
    /// The folder for the mirrors, `<name>-<hash of the URL>.git` each.
    pub mirrors: PathBuf,
    /// What a path means.
    pub local: LocalPaths,
    /// Whether protocols without protection are used.
    pub insecure: Insecure,
    /// With what repositories are reached.
    pub access: Access,
    /// With what these repositories are reached instead.
    pub access_of: BTreeMap<RepoName, Access>,
    /// What a bundle may hold.
    pub limits: Limits,
}

impl OpenerOptions {
    /// The strict ones: https and ssh only.
    pub fn new(mirrors: PathBuf) -> Self {
        Self {
            mirrors,
            local: LocalPaths::default(),
            insecure: Insecure::default(),
            access: Access::default(),
            access_of: BTreeMap::new(),
            limits: Limits::default(),
        }
    }
}

/// Opens sources by URL; see the crate's page for the rules.
///
/// One opener gives one source for one repository, so that what two callers want is brought once.
pub struct Opener {
    options: OpenerOptions,
    opened: Mutex<HashMap<(RepoName, String), Arc<dyn WorkflowSource>>>,
}

impl Opener {
    /// An opener that goes by `options`.
    pub fn new(options: OpenerOptions) -> Self {
        Self { options, opened: Mutex::default() }
    }

    fn make(&self, repo: &Repo) -> Result<Arc<dyn WorkflowSource>, SourceError> {
        let refused =
            |message: &str| SourceError::Refused { path: repo.url.clone(), message: message.to_owned() };
        let remote = match (Location::parse(&repo.url)?, self.options.local) {
            (
                Location::Remote(RemoteUrl { scheme: Scheme::File, .. }) | Location::Path(_),
                LocalPaths::Refuse,
            ) => {
                return Err(refused(
                    "folders of this machine are not allowed as repositories here: use https or ssh",
                ));
            }
            (Location::Remote(remote), _) => remote,
            (Location::Path(path), LocalPaths::Files) if !is_bare(&path) => {
                return Ok(Arc::new(FolderSource::new(path, self.options.limits)));
            }
            (Location::Path(path), _) => RemoteUrl::of_path(&path)?,
        };
        if remote.scheme == Scheme::Plain && self.options.insecure == Insecure::Refuse {
            return Err(refused("anyone on the way could change this code: use https or ssh"));
        }
        let access = self.options.access_of.get(&repo.name).unwrap_or(&self.options.access).clone();
        let mirror = self.options.mirrors.join(mirror_name(repo));
        Ok(Arc::new(GitSource::of(remote, mirror, access, self.options.limits)))
    }
}

impl SourceOpener for Opener {
    fn open(&self, repo: &Repo) -> Result<Arc<dyn WorkflowSource>, SourceError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (repo.name.clone(), repo.url.clone());
        if let Some(source) = opened.get(&key) {
            return Ok(Arc::clone(source));
        }
        let source = self.make(repo)?;
        opened.insert(key, Arc::clone(&source));
        Ok(source)
    }

    fn open_archive(&self, archive: Bytes) -> Result<Arc<dyn WorkflowSource>, SourceError> {
        Ok(Arc::new(UploadedSource::open(&archive, self.options.limits)?))
    }
}

/// The URL is part of it: a name that is given to another repository must not meet the old one's commits.
fn mirror_name(repo: &Repo) -> String {
    let hash = Sha256::of(repo.url.as_bytes());
    format!("{}-{}.git", repo.name, hash.as_str().get(..10).unwrap_or_default())
}

fn is_bare(path: &Path) -> bool {
    path.join("HEAD").is_file() && path.join("objects").is_dir() && path.join("refs").is_dir()
}
