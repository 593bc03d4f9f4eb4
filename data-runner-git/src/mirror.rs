//! Our own copy of a remote repository: objects, and one ref for each revision that must not go away.
//!
//! The copy is shallow at first: the newest commit alone. What is pushed later comes with its history, down to where the
//! copy ends, and what is behind that comes when somebody asks for it ([`Mirror::complete`]).
//!
//! A kill leaves it whole: a ref is written last, so that behind our refs nothing is missing but what the file `shallow`
//! says. Objects that no ref holds may lack their parents (libgit2 stores a pack before it writes that file), so they
//! count as absent for whoever wants a history of them, and are brought again.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use data_runner_core::id::Revision;
use data_runner_core::port::{SourceError, Version};
use git2::{ErrorCode, Object, Oid, Reference, Repository, RepositoryInitOptions, RepositoryOpenFlags};

use crate::changes;
use crate::leftovers;
use crate::remote::{Brought, Depth, Head, Remote};
use crate::snapshot::refused;
use crate::tree::{CommitSnapshot, local};

/// What holds the resolved revisions against garbage collection, and tells the remote what we have.
const KEEP: &str = "refs/data-runner/keep/";

/// All that a server shows of its own.
const EVERYTHING: [&str; 2] = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];

/// A shallow copy takes a new commit with its history up to so many bytes, and alone beyond that: a branch that left
/// the others behind where our copy ends would bring all that is older.
const NEWS: u64 = 16 << 20;

/// How much of the repository is in our copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Nothing that was ever resolved.
    Nothing,
    /// Some commits, and not everything before them.
    Recent,
    /// Whatever is before what was resolved.
    Whole,
}

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
        let _alone = self.alone();
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
        self.sweep()?;
        let found = match (named(&heads, reference), commit) {
            (Some(head), _) => self.bring_head(head)?,
            (None, Some(digits)) => self.bring_commit(&heads, &digits, reference)?,
            (None, None) => return Err(self.no_such(reference)),
        };
        self.keep(found)?;
        self.revision(&found.to_string())
    }

    /// Reads from `revision`, which is brought again if our copy was lost.
    pub(crate) fn read<T>(
        &self,
        revision: &Revision,
        read: impl FnOnce(&CommitSnapshot<'_>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let repository = self.holding(&[revision], Self::find)?;
        read(&CommitSnapshot::new(self.url(), &repository, revision)?)
    }

    /// What changed at or below `paths`, up to `revision`. If our copy ends too early, the rest is brought; what the
    /// server itself has lost since cannot be told.
    pub(crate) fn history(
        &self,
        revision: &Revision,
        paths: &[String],
        limit: usize,
    ) -> Result<Vec<Version>, SourceError> {
        let tell = || {
            let repository = self.holding(&[revision], Self::find_joined)?;
            changes::history(&repository, revision, paths, limit).map_err(|error| local(self.url(), error))
        };
        let known = tell()?;
        if !known.is_cut {
            return Ok(known.versions);
        }
        self.complete()?;
        tell().map(|known| known.versions)
    }

    /// What differs at or below `paths`.
    pub(crate) fn diff(
        &self,
        from: &Revision,
        to: &Revision,
        paths: &[String],
    ) -> Result<String, SourceError> {
        let repository = self.holding(&[from, to], Self::find)?;
        changes::diff(&repository, [from, to], paths).map_err(|error| local(self.url(), error))
    }

    /// Our copy, once these revisions are `found` in it.
    fn holding(
        &self,
        revisions: &[&Revision],
        found: impl Fn(&Self, &Repository, &str) -> Result<Option<Oid>, SourceError>,
    ) -> Result<Repository, SourceError> {
        for &revision in revisions {
            // The hash of a plain folder has 64 digits and is no commit of ours.
            let known = match self.existing() {
                Ok(repository) if Oid::from_str(revision.as_str()).is_ok() => {
                    found(self, &repository, revision.as_str())?
                }
                Ok(_) | Err(_) => None,
            };
            if known.is_some() {
                continue;
            }
            match self.resolve(revision.as_str()) {
                Ok(_) => {}
                Err(SourceError::NoSuchRef { .. }) => return Err(SourceError::Gone(revision.clone())),
                Err(error) => return Err(error),
            }
        }
        self.existing().map_err(|error| local(self.url(), error))
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.bringing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opened anew after each download: libgit2 remembers of a commit that it had no parents here. And never by
    /// `open_bare`, which does not look where the copy ends.
    fn existing(&self) -> Result<Repository, git2::Error> {
        let here =
            RepositoryOpenFlags::BARE | RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT;
        Repository::open_ext(&self.path, here, std::iter::empty::<&OsStr>())
    }

    /// The same for whoever is alone, who makes it if it is not there.
    fn open(&self) -> Result<Repository, SourceError> {
        match self.existing() {
            Ok(repository) => Ok(repository),
            Err(_) => {
                self.sweep()?;
                self.create().map_err(|error| local(self.url(), error))
            }
        }
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

    /// Takes away what a killed download left, which no other is using: nobody but us brings anything here now.
    fn sweep(&self) -> Result<(), SourceError> {
        leftovers::sweep(&self.path, KEEP, self.remote.longest()).map_err(|error| self.broken(error))
    }

    fn extent(&self, repository: &Repository) -> Result<Extent, SourceError> {
        let kept = self.kept(repository)?;
        Ok(match (kept.is_empty(), repository.is_shallow()) {
            (true, _) => Extent::Nothing,
            (false, true) => Extent::Recent,
            (false, false) => Extent::Whole,
        })
    }

    fn kept(&self, repository: &Repository) -> Result<Vec<Oid>, SourceError> {
        let targets = (|| {
            let references = repository.references_glob(&format!("{KEEP}*"))?;
            references.map(|reference| Ok(reference?.target())).collect::<Result<Vec<_>, git2::Error>>()
        })();
        let targets = targets.map_err(|error| local(self.url(), error))?;
        Ok(targets.into_iter().flatten().collect())
    }

    fn bring_head(&self, head: &Head) -> Result<Oid, SourceError> {
        let repository = self.open()?;
        let known = self.object(&repository, head.object)?;
        if let Some(object) = &known
            && let Ok(commit) = object.peel_to_commit()
            && self.is_joined(&repository, commit.id())?
        {
            return Ok(commit.id());
        }
        let depth = match self.extent(&repository)? {
            Extent::Nothing => Depth::Tips,
            // Git would not bring what is here already: it came with a download that was killed.
            Extent::Recent if known.is_some() => Depth::Tips,
            Extent::Recent => Depth::Missing { at_most: NEWS },
            Extent::Whole => Depth::Missing { at_most: u64::MAX },
        };
        let wanted = [&*format!("+{0}:{0}", head.name)];
        match self.download(&repository, &wanted, depth)? {
            Brought::All => {}
            Brought::Nothing => {
                self.download(&repository, &wanted, Depth::Tips)?;
            }
        }
        let repository = self.open()?;
        // The remote may have moved on since it was listed; then this object did not come, and the next try sees it.
        let Some(object) = self.object(&repository, head.object)? else {
            let source = format!("{} was changed while it was fetched", head.name).into();
            return Err(SourceError::Unreachable { url: self.url().to_owned(), source });
        };
        match object.peel_to_commit() {
            Ok(commit) => Ok(commit.id()),
            Err(_) => Err(refused(&head.name, "it names no commit, but something else")),
        }
    }

    fn bring_commit(&self, heads: &[Head], digits: &str, reference: &str) -> Result<Oid, SourceError> {
        let repository = self.open()?;
        if let Some(commit) = self.find_joined(&repository, digits)? {
            return Ok(commit);
        }
        if heads.is_empty() {
            return Err(self.no_such(reference));
        }
        // Some servers give a commit to whoever knows its whole name, also one that no branch has (any more).
        if digits.len() == 40 && self.bring_named(&repository, digits)? {
            let repository = self.open()?;
            return self.find(&repository, digits)?.ok_or_else(|| self.no_such(reference));
        }
        self.bring_everything(&repository)?;
        let repository = self.open()?;
        match self.find(&repository, digits)? {
            Some(commit) if self.has_parents(&repository, commit)? => Ok(commit),
            Some(_) | None => Err(self.no_such(reference)),
        }
    }

    /// Whether the server gave this commit by its name. It may say no, and a connection that broke just now looks the
    /// same: then whatever follows breaks too, and says so.
    fn bring_named(&self, repository: &Repository, digits: &str) -> Result<bool, SourceError> {
        let depth = match self.extent(repository)? {
            Extent::Nothing | Extent::Recent => Depth::Tips,
            Extent::Whole => Depth::Missing { at_most: u64::MAX },
        };
        match self.download(repository, &[&format!("+{digits}:{KEEP}{digits}")], depth) {
            Ok(brought) => Ok(brought == Brought::All),
            Err(error) => {
                tracing::debug!(
                    url = self.url(),
                    commit = digits,
                    error = &error as &dyn std::error::Error,
                    "the server does not give this commit by its name"
                );
                Ok(false)
            }
        }
    }

    /// Brings what is behind where our copy ends.
    fn complete(&self) -> Result<(), SourceError> {
        let _alone = self.alone();
        let repository = self.open()?;
        match self.extent(&repository)? {
            Extent::Nothing | Extent::Recent => {
                self.sweep()?;
                self.bring_everything(&repository)
            }
            // Somebody else did it while we waited.
            Extent::Whole => Ok(()),
        }
    }

    fn bring_everything(&self, repository: &Repository) -> Result<(), SourceError> {
        let depth = match self.extent(repository)? {
            Extent::Nothing | Extent::Recent => Depth::All,
            Extent::Whole => Depth::Missing { at_most: u64::MAX },
        };
        self.download(repository, &EVERYTHING, depth).map(|_| ())
    }

    /// Brings it, and makes sure that a loss of power leaves no ref without the note of where our copy ends.
    fn download(
        &self,
        repository: &Repository,
        refspecs: &[&str],
        depth: Depth,
    ) -> Result<Brought, SourceError> {
        let brought = self.remote.download(repository, refspecs, depth)?;
        let synced = match File::open(self.path.join("shallow")) {
            Ok(shallow) => shallow.sync_all().and_then(|()| File::open(&self.path)?.sync_all()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        synced.map(|()| brought).map_err(|error| self.broken(error))
    }

    fn object<'repo>(
        &self,
        repository: &'repo Repository,
        id: Oid,
    ) -> Result<Option<Object<'repo>>, SourceError> {
        self.unless_absent(repository.find_object(id, None))
    }

    /// The commit whose name begins with `digits`, if our copy has it, and so its files.
    fn find(&self, repository: &Repository, digits: &str) -> Result<Option<Oid>, SourceError> {
        match repository.find_commit_by_prefix(digits) {
            Err(error) if error.code() == ErrorCode::Ambiguous => {
                Err(refused(digits, "several objects begin with these digits: give more of them"))
            }
            found => Ok(self.unless_absent(found)?.map(|commit| commit.id())),
        }
    }

    /// The same, if nothing is missing behind it.
    fn find_joined(&self, repository: &Repository, digits: &str) -> Result<Option<Oid>, SourceError> {
        match self.find(repository, digits)? {
            Some(commit) if self.is_joined(repository, commit)? => Ok(Some(commit)),
            Some(_) | None => Ok(None),
        }
    }

    /// Whether nothing is missing behind `commit`, but for where our copy ends.
    fn is_joined(&self, repository: &Repository, commit: Oid) -> Result<bool, SourceError> {
        let kept = self.kept(repository)?;
        if kept.contains(&commit) {
            return Ok(true);
        }
        match self.extent(repository)? {
            Extent::Nothing => Ok(false),
            Extent::Recent => is_below(repository, &kept, commit).map_err(|error| local(self.url(), error)),
            Extent::Whole => self.has_parents(repository, commit),
        }
    }

    /// Whether its parents are here, as far as our copy is to have them.
    fn has_parents(&self, repository: &Repository, commit: Oid) -> Result<bool, SourceError> {
        let has = repository.find_commit(commit).and_then(|commit| {
            let odb = repository.odb()?;
            Ok(commit.parent_ids().all(|parent| odb.exists(parent)))
        });
        has.map_err(|error| local(self.url(), error))
    }

    /// Keeps `commit`, and with it its ancestors, whose own refs are then superfluous: so there is about one ref for
    /// each branch that is in use and each that was rewritten. What is behind where our copy ends looks like no ancestor,
    /// and keeps its ref.
    fn keep(&self, commit: Oid) -> Result<(), SourceError> {
        let name = format!("{KEEP}{commit}");
        let repository = self.open()?;
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

    fn unless_absent<T>(&self, found: Result<T, git2::Error>) -> Result<Option<T>, SourceError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(local(self.url(), error)),
        }
    }

    fn broken(&self, error: io::Error) -> SourceError {
        SourceError::Local { url: self.url().to_owned(), source: error.into() }
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

/// Whether a walk down from `tips` meets `commit`.
fn is_below(repository: &Repository, tips: &[Oid], commit: Oid) -> Result<bool, git2::Error> {
    let mut walk = repository.revwalk()?;
    for tip in tips {
        walk.push(*tip)?;
    }
    for met in walk {
        if met? == commit {
            return Ok(true);
        }
    }
    Ok(false)
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
