//! Where workflows come from.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Retry, Source};
use crate::id::Revision;
use crate::time::Timestamp;
use crate::workflow::Repo;

/// A repository of workflows, or a plain folder.
///
/// Contract:
/// - `resolve` brings what is new and may change its answer from call to call;
/// - `discover`, `read` and `fetch` of one revision give the same answer for ever, or `Gone`;
/// - `fetch` gives the same bytes for the same revision, folder and includes, on every machine: a tar archive compressed
///   with Zstandard, entries in order of their names, with fixed times, owners and modes (0644, or 0755 for what is
///   executable); it holds `folder` and the `includes`, under their paths in the repository, and nothing else;
/// - symbolic links that leave what the bundle holds, submodules and LFS pointers are refused by name;
/// - one broken workflow does not hide another;
/// - `history` names what changed at or below the paths and nothing else, the newest first, and begins with the revision
///   that the paths were last changed at;
/// - `diff` is empty if and only if nothing at or below the paths differs.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait WorkflowSource: Send + Sync + 'static {
    /// The revision that `reference` (a branch, a tag, a full or abbreviated commit) means now.
    async fn resolve(&self, reference: &str) -> Result<Revision, SourceError>;

    /// The folders below `workflows/` that hold a `config.yaml`, in order of their paths.
    async fn discover(&self, revision: &Revision) -> Result<Vec<WorkflowFolder>, SourceError>;

    /// One file, by its path in the repository; at most 1 MiB.
    async fn read(&self, revision: &Revision, path: &str) -> Result<Bytes, SourceError>;

    /// The archive of a workflow's folder and what it includes.
    async fn fetch(
        &self,
        revision: &Revision,
        folder: &str,
        includes: &[String],
    ) -> Result<Bytes, SourceError>;

    /// The revisions up to `revision` that changed anything at or below `paths`; at most `limit`. What keeps no history
    /// has one.
    async fn history(
        &self,
        revision: &Revision,
        paths: &[String],
        limit: usize,
    ) -> Result<Vec<Version>, SourceError>;

    /// What is different at or below `paths` from `from` to `to`: a unified diff, cut after [`DIFF_BYTES`] at the end of
    /// a line.
    async fn diff(&self, from: &Revision, to: &Revision, paths: &[String]) -> Result<String, SourceError>;
}

/// The most bytes of a diff.
pub const DIFF_BYTES: usize = 1 << 20;

/// A revision in a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The revision.
    pub revision: Revision,
    /// When it was committed; `None` where that is not kept, as all that follows.
    pub at: Option<Timestamp>,
    /// The name of its author.
    pub author: Option<String>,
    /// The first line of its message.
    pub subject: Option<String>,
}

/// Makes the source of a repository: by its URL, a git repository or a plain folder.
///
/// Contract: `open` neither waits for the network nor fails for what may be mended later; a URL that can never work
/// (an unknown scheme, a password in it) is `Refused`. Opening the same repository again gives an equal source.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
pub trait SourceOpener: Send + Sync + 'static {
    /// The source of `repo`.
    fn open(&self, repo: &Repo) -> Result<Arc<dyn WorkflowSource>, SourceError>;

    /// An archive that somebody sent, of the form that `fetch` gives, as a source with one revision, the archive's
    /// SHA-256, which `HEAD` means. Nothing of it is trusted: what may not be in a bundle is `Refused`, here or by
    /// `fetch`, which makes the bundle anew; of what `fetch` made it makes the same again.
    fn open_archive(&self, archive: Bytes) -> Result<Arc<dyn WorkflowSource>, SourceError> {
        drop(archive);
        let message = "this supervisor takes no folders that are in no repository".to_owned();
        Err(SourceError::Refused { path: "the archive".to_owned(), message })
    }
}

/// A folder that holds a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowFolder {
    /// Its path in the repository, such as `workflows/orders`.
    pub path: String,
    /// The text of its `config.yaml`.
    pub config: Bytes,
    /// The names of the files in it (relative to it, `/` between), in order.
    pub files: Vec<String>,
}

/// Why a source could not answer.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The repository cannot be reached.
    #[error("cannot reach {url}")]
    Unreachable {
        /// Where it should be, without credentials.
        url: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// It refuses our credentials, or wants some.
    #[error("{url} refuses access: {message}")]
    Denied {
        /// Where it is.
        url: String,
        /// What to do about it.
        message: String,
    },
    /// There is no such branch, tag or commit.
    #[error("{url} has no branch, tag or commit {reference:?}")]
    NoSuchRef {
        /// Where it is.
        url: String,
        /// What was asked for.
        reference: String,
    },
    /// There is no such path at that revision.
    #[error("{path} is not there at {revision}")]
    NoSuchPath {
        /// The path.
        path: String,
        /// The revision.
        revision: Revision,
    },
    /// The revision is no longer in the repository.
    #[error("the revision {0} is no longer in the repository")]
    Gone(Revision),
    /// What is there is refused.
    #[error("{path}: {message}")]
    Refused {
        /// The path.
        path: String,
        /// Why, and what to do.
        message: String,
    },
    /// The local copy cannot be read or written.
    #[error("the local copy of {url} failed")]
    Local {
        /// Whose copy.
        url: String,
        /// Why.
        #[source]
        source: Source,
    },
}

impl SourceError {
    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } | Self::Local { .. } => Retry::Later,
            Self::Denied { .. }
            | Self::NoSuchRef { .. }
            | Self::NoSuchPath { .. }
            | Self::Gone(_)
            | Self::Refused { .. } => Retry::Never,
        }
    }
}
