//! A commit of a git repository as a snapshot, read from the object database.

use std::path::Path;

use bytes::Bytes;
use data_runner_core::id::Revision;
use data_runner_core::port::SourceError;
use git2::{ErrorCode, ObjectType, Oid, Repository, Tree};

use crate::snapshot::{Entry, Found, Kind, Snapshot, refused};

/// More than this in one listing is no repository of workflows, but a tree that was crafted to fill our memory.
const ENTRIES: usize = 200_000;
/// Deeper than any path that Linux could hold.
const DEPTH: usize = 256;

/// The files of one commit.
pub(crate) struct CommitSnapshot<'repo> {
    url: &'repo str,
    repository: &'repo Repository,
    root: Tree<'repo>,
    revision: &'repo Revision,
}

impl<'repo> CommitSnapshot<'repo> {
    /// The files of `revision`, which `repository` must hold.
    pub(crate) fn new(
        url: &'repo str,
        repository: &'repo Repository,
        revision: &'repo Revision,
    ) -> Result<Self, SourceError> {
        let root = Oid::from_str(revision.as_str())
            .and_then(|commit| repository.find_commit(commit))
            .and_then(|commit| commit.tree())
            .map_err(|error| local(url, error))?;
        Ok(Self { url, repository, root, revision })
    }

    fn below(
        &self,
        tree: &Tree<'_>,
        prefix: &str,
        depth: usize,
        into: &mut Vec<Entry>,
    ) -> Result<(), SourceError> {
        if depth > DEPTH || into.len() + tree.len() > ENTRIES {
            return Err(refused(prefix, "there are too many files and folders below it"));
        }
        for entry in tree {
            let name = String::from_utf8_lossy(entry.name_bytes());
            let path = if prefix.is_empty() { name.into_owned() } else { format!("{prefix}/{name}") };
            if entry.kind() == Some(ObjectType::Tree) {
                let tree = self.repository.find_tree(entry.id()).map_err(|error| local(self.url, error))?;
                self.below(&tree, &path, depth + 1, into)?;
            } else {
                into.push(self.entry(&entry, path)?);
            }
        }
        Ok(())
    }

    fn entry(&self, entry: &git2::TreeEntry<'_>, path: String) -> Result<Entry, SourceError> {
        let kind = match entry.filemode() {
            _ if std::str::from_utf8(entry.name_bytes()).is_err() => Kind::Foreign("its name is not UTF-8"),
            0o160000 => {
                Kind::Foreign("this is a submodule; only what is in the repository itself goes to a worker")
            }
            0o120000 => Kind::Link,
            0o100755 => Kind::File { executable: true },
            0o100644 | 0o100664 => Kind::File { executable: false },
            _ => Kind::Foreign("this is neither a file nor a symbolic link"),
        };
        let size = match kind {
            Kind::File { .. } | Kind::Link => {
                let odb = self.repository.odb().map_err(|error| local(self.url, error))?;
                let (size, _) = odb.read_header(entry.id()).map_err(|error| local(self.url, error))?;
                size as u64
            }
            Kind::Foreign(_) => 0,
        };
        Ok(Entry { path, kind, size })
    }

    fn at(&self, path: &str) -> Result<Option<git2::TreeEntry<'static>>, SourceError> {
        match self.root.get_path(Path::new(path)) {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(local(self.url, error)),
        }
    }
}

impl Snapshot for CommitSnapshot<'_> {
    fn revision(&self) -> &Revision {
        self.revision
    }

    fn look(&self, path: &str) -> Result<Found, SourceError> {
        match self.at(path)? {
            None => Ok(Found::Nothing),
            Some(entry) if entry.kind() == Some(ObjectType::Tree) => Ok(Found::Folder),
            Some(entry) => self.entry(&entry, path.to_owned()).map(Found::Entry),
        }
    }

    fn walk(&self, path: &str) -> Result<Vec<Entry>, SourceError> {
        let mut entries = Vec::new();
        if path.is_empty() {
            self.below(&self.root, "", 0, &mut entries)?;
        } else if let Some(entry) = self.at(path)? {
            let tree = self.repository.find_tree(entry.id()).map_err(|error| local(self.url, error))?;
            self.below(&tree, path, 0, &mut entries)?;
        }
        Ok(entries)
    }

    fn content(&self, entry: &Entry) -> Result<Bytes, SourceError> {
        let missing =
            || SourceError::NoSuchPath { path: entry.path.clone(), revision: self.revision.clone() };
        let found = self.at(&entry.path)?.ok_or_else(missing)?;
        let blob = self.repository.find_blob(found.id()).map_err(|error| local(self.url, error))?;
        Ok(Bytes::copy_from_slice(blob.content()))
    }
}

pub(crate) fn local(url: &str, error: git2::Error) -> SourceError {
    SourceError::Local { url: url.to_owned(), source: error.into() }
}
