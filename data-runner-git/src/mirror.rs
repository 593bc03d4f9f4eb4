//! Our own copy of a remote repository: objects, and one ref for each revision that must not go away.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use data_runner_core::id::Revision;
use data_runner_core::port::{SourceError, Version};
use git2::{ErrorCode, Object, Oid, Reference, Repository, RepositoryInitOptions};

use crate::changes;
use crate::remote::{Head, Remote};
use crate::snapshot::refused;
use crate::tree::{CommitSnapshot, local};

/// What holds the resolved revisions against garbage collection, and tells the remote what we have.
const KEEP: &str = "refs/data-runner/keep/";

/// A bare repository in `path` that copies `remote`.
pub(crate) struct Mirror {
    path: PathBuf,
    remote: Remote,
    /// Held while anything is brought, so that two callers do not bring the same.
    bringing: Mutex<()>,
}

impl Mirror {
    pub(crate) fn new(path: PathBuf, remote: Remote) -> Self {
        Self { path, remote, bringing: Mutex::new(()) }
    }

    fn url(&self) -> &str {
        &self.remote.url.text
    }

    /// What `reference` means at the remote now. A commit that is kept is given without asking the remote.
    pub(crate) fn resolve(&self, reference: &str) -> Result<Revision, SourceError> {
        let _alone = self.bringing.lock().unwrap_or_else(PoisonError::into_inner);
        let repository = self.open()?;
        let commit = commit_digits(reference);
        if let Some(commit) = commit.as_ref().filter(|digits| digits.len() == 40)
            && repository.find_reference(&format!("{KEEP}{commit}")).is_ok()
        {
            return self.revision(commit);
        }
        if !Reference::is_valid_name(&format!("refs/heads/{reference}")) || reference.starts_with('-') {
            return Err(self.no_such(reference));
        }
        let heads = self.remote.list(&repository)?;
        let found = match (named(&heads, reference), commit) {
            (Some(head), _) => self.bring_head(&repository, head)?,
            (None, Some(digits)) => self.bring_commit(&repository, &heads, &digits, reference)?,
            (None, None) => return Err(self.no_such(reference)),
        };
        self.keep(&repository, found)?;
        self.revision(&found.to_string())
    }

    /// Reads from `revision`, which is brought again if our copy was lost.
    pub(crate) fn read<T>(
        &self,
        revision: &Revision,
        read: impl FnOnce(&CommitSnapshot<'_>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        self.holding(&[revision], |repository| read(&CommitSnapshot::new(self.url(), repository, revision)?))
    }

    /// What changed at or below `paths`, up to `revision`.
    pub(crate) fn history(
        &self,
        revision: &Revision,
        paths: &[String],
        limit: usize,
    ) -> Result<Vec<Version>, SourceError> {
        self.holding(&[revision], |repository| {
            changes::history(repository, revision, paths, limit).map_err(|error| local(self.url(), error))
        })
    }

    /// What differs at or below `paths`.
    pub(crate) fn diff(
        &self,
        from: &Revision,
        to: &Revision,
        paths: &[String],
    ) -> Result<String, SourceError> {
        self.holding(&[from, to], |repository| {
            changes::diff(repository, [from, to], paths).map_err(|error| local(self.url(), error))
        })
    }

    /// Looks into our copy, once it has these revisions.
    fn holding<T>(
        &self,
        revisions: &[&Revision],
        look: impl FnOnce(&Repository) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let mut repository = self.open()?;
        for &revision in revisions {
            if !self.holds(&repository, revision)? {
                match self.resolve(revision.as_str()) {
                    Ok(_) => repository = self.open()?,
                    Err(SourceError::NoSuchRef { .. }) => return Err(SourceError::Gone(revision.clone())),
                    Err(error) => return Err(error),
                }
            }
        }
        look(&repository)
    }

    fn open(&self) -> Result<Repository, SourceError> {
        Repository::open_bare(&self.path).or_else(|_| self.create()).map_err(|error| local(self.url(), error))
    }

    /// Makes the repository, or makes one whole that was begun.
    fn create(&self) -> Result<Repository, git2::Error> {
        let mut options = RepositoryInitOptions::new();
        // Without the templates of this system there are no hooks in it.
        options.bare(true).mkpath(true).external_template(false);
        let repository = Repository::init_opts(&self.path, &options)?;
        repository.config()?.set_bool("core.fsyncObjectFiles", true)?;
        Ok(repository)
    }

    fn holds(&self, repository: &Repository, revision: &Revision) -> Result<bool, SourceError> {
        // The hash of a plain folder has 64 digits and is no commit of ours.
        let Ok(commit) = Oid::from_str(revision.as_str()) else {
            return Ok(false);
        };
        match repository.find_commit(commit) {
            Ok(_) => Ok(true),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
            Err(error) => Err(local(self.url(), error)),
        }
    }

    fn bring_head(&self, repository: &Repository, head: &Head) -> Result<Oid, SourceError> {
        if !self.has(repository, head.object)? {
            self.remote.download(repository, &[&format!("+{0}:{0}", head.name)])?;
        }
        // The remote may have moved on since it was listed; then this object did not come, and the next try sees it.
        let object = match repository.find_object(head.object, None) {
            Ok(object) => object,
            Err(error) if error.code() == ErrorCode::NotFound => {
                let url = self.url().to_owned();
                return Err(SourceError::Unreachable { url, source: error.into() });
            }
            Err(error) => return Err(local(self.url(), error)),
        };
        self.commit_of(&object, &head.name)
    }

    fn commit_of(&self, object: &Object<'_>, name: &str) -> Result<Oid, SourceError> {
        match object.peel_to_commit() {
            Ok(commit) => Ok(commit.id()),
            Err(_) => Err(refused(name, "it names no commit, but something else")),
        }
    }

    fn bring_commit(
        &self,
        repository: &Repository,
        heads: &[Head],
        digits: &str,
        reference: &str,
    ) -> Result<Oid, SourceError> {
        if let Some(commit) = self.find(repository, digits)? {
            return Ok(commit);
        }
        if !heads.is_empty() {
            self.remote.download(repository, &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])?;
        }
        if let Some(commit) = self.find(repository, digits)? {
            return Ok(commit);
        }
        // Some servers give a commit that no branch has (any more) to whoever knows its whole name. The others say no,
        // and a connection that broke just now looks the same: it was fine a moment ago, so it counts as a no.
        if digits.len() == 40 && !heads.is_empty() {
            match self.remote.download(repository, &[&format!("+{digits}:{KEEP}{digits}")]) {
                Ok(()) => {}
                Err(error) => {
                    tracing::debug!(
                        url = self.url(),
                        commit = digits,
                        error = &error as &dyn std::error::Error,
                        "the server does not give this commit"
                    );
                }
            }
        }
        self.find(repository, digits)?.ok_or_else(|| self.no_such(reference))
    }

    fn has(&self, repository: &Repository, object: Oid) -> Result<bool, SourceError> {
        repository.odb().map(|odb| odb.exists(object)).map_err(|error| local(self.url(), error))
    }

    /// The commit whose name begins with `digits`, if our copy has it.
    fn find(&self, repository: &Repository, digits: &str) -> Result<Option<Oid>, SourceError> {
        match repository.find_commit_by_prefix(digits) {
            Ok(commit) => Ok(Some(commit.id())),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) if error.code() == ErrorCode::Ambiguous => {
                Err(refused(digits, "several objects begin with these digits: give more of them"))
            }
            Err(error) => Err(local(self.url(), error)),
        }
    }

    /// Keeps `commit`, and with it its ancestors, whose own refs are then superfluous: so there is about one ref for
    /// each branch that is in use and each that was rewritten.
    fn keep(&self, repository: &Repository, commit: Oid) -> Result<(), SourceError> {
        let name = format!("{KEEP}{commit}");
        let result = (|| {
            if repository.find_reference(&name).is_ok() {
                return Ok(());
            }
            repository.reference(&name, commit, true, "resolved")?;
            for other in repository.references_glob(&format!("{KEEP}*"))? {
                let mut other = other?;
                if let Some(ancestor) = other.target()
                    && ancestor != commit
                    && repository.graph_descendant_of(commit, ancestor)?
                {
                    other.delete()?;
                }
            }
            Ok(())
        })();
        result.map_err(|error| local(self.url(), error))
    }

    fn revision(&self, commit: &str) -> Result<Revision, SourceError> {
        commit.parse().map_err(|error: data_runner_core::id::InvalidId| SourceError::Local {
            url: self.url().to_owned(),
            source: error.into(),
        })
    }

    fn no_such(&self, reference: &str) -> SourceError {
        SourceError::NoSuchRef { url: self.url().to_owned(), reference: reference.to_owned() }
    }
}

/// What a person means by `reference`: a ref's full name, a branch, then a tag.
fn named<'heads>(heads: &'heads [Head], reference: &str) -> Option<&'heads Head> {
    ["", "refs/heads/", "refs/tags/"].iter().find_map(|prefix| {
        let name = format!("{prefix}{reference}");
        heads.iter().find(|head| head.name == name)
    })
}

/// `reference` in lower case if it may be a commit; fewer than four digits are never meant as one.
fn commit_digits(reference: &str) -> Option<String> {
    let is_commit = (4..=40).contains(&reference.len()) && reference.bytes().all(|b| b.is_ascii_hexdigit());
    is_commit.then(|| reference.to_ascii_lowercase())
}
