//! The files of a folder and their hashes.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use data_runner_core::id::Revision;
use data_runner_core::port::SourceError;
use sha2::{Digest as _, Sha256};

use crate::bundle::Limits;
use crate::snapshot::{Entry, Found, Kind, Snapshot, refused};

/// Folders that are made by tools and are never meant as part of a workflow.
const SKIPPED: [&str; 6] = [".git", ".venv", "__pycache__", ".data-runner", "node_modules", "target"];
/// A folder with more is not one of workflows; somebody named the wrong one.
const ENTRIES: usize = 100_000;

/// A folder's files as they were seen.
pub(super) struct Scanned {
    pub(super) revision: Revision,
    root: PathBuf,
    files: BTreeMap<String, Seen>,
}

/// One file as it was seen.
#[derive(Clone)]
struct Seen {
    entry: Entry,
    hash: [u8; 32],
    mark: Mark,
}

/// What changes when a file's content does: as long as it stays, the content need not be read again.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    inode: u64,
    size: u64,
    mode: u32,
    changed: (i64, i64),
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.len(),
            mode: metadata.mode(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// A file that changed just now may change again within the same tick of the file system's clock.
    fn is_settled(&self) -> bool {
        let changed = Duration::new(
            u64::try_from(self.changed.0).unwrap_or(0),
            u32::try_from(self.changed.1).unwrap_or(0),
        );
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .is_ok_and(|now| now > changed.saturating_add(Duration::from_secs(2)))
    }
}

/// One look at a folder.
pub(super) struct Scan<'a> {
    root: &'a Path,
    limits: Limits,
    before: Option<&'a Scanned>,
    files: BTreeMap<String, Seen>,
}

impl<'a> Scan<'a> {
    /// A look at `root`; what is as it was `before` is not read again.
    pub(super) fn new(root: &'a Path, limits: Limits, before: Option<&'a Scanned>) -> Self {
        Self { root, limits, before, files: BTreeMap::new() }
    }

    pub(super) fn run(mut self) -> Result<Scanned, SourceError> {
        self.check_root()?;
        let scanned = self.folder("");
        self.end(scanned)
    }

    /// A look at these files and folders alone. What is not there is not there.
    pub(super) fn of(mut self, paths: &[String]) -> Result<Scanned, SourceError> {
        self.check_root()?;
        let scanned = paths.iter().try_for_each(|path| self.one(path));
        self.end(scanned)
    }

    fn check_root(&self) -> Result<(), SourceError> {
        let url = || self.root.display().to_string();
        match fs::metadata(self.root) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(refused(&url(), "this is not a folder")),
            Err(error) => Err(SourceError::Unreachable { url: url(), source: error.into() }),
        }
    }

    fn end(self, scanned: Result<(), ScanError>) -> Result<Scanned, SourceError> {
        let local = |source| SourceError::Local { url: self.root.display().to_string(), source };
        scanned.map_err(|error| match error {
            ScanError::Source(error) => error,
            ScanError::Io(error) => local(error.into()),
        })?;
        let revision = revision(&self.files).map_err(|error| local(error.into()))?;
        Ok(Scanned { revision, root: self.root.to_owned(), files: self.files })
    }

    fn one(&mut self, path: &str) -> Result<(), ScanError> {
        match fs::symlink_metadata(self.root.join(path)) {
            Ok(metadata) if metadata.is_dir() => self.folder(path),
            Ok(metadata) => self.file(path.to_owned(), &metadata, true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn folder(&mut self, path: &str) -> Result<(), ScanError> {
        for found in fs::read_dir(self.root.join(path))? {
            let found = found?;
            let name = found.file_name();
            let shown = name.to_string_lossy();
            let path = if path.is_empty() { shown.into_owned() } else { format!("{path}/{shown}") };
            let metadata = match found.metadata() {
                Ok(metadata) => metadata,
                // It went while we looked; that is the state now.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            if self.files.len() >= ENTRIES {
                let message =
                    format!("it holds more than {ENTRIES} files; name the folder of the workflows alone");
                return Err(refused(&self.root.display().to_string(), &message).into());
            }
            if metadata.is_dir() {
                if !SKIPPED.iter().any(|skipped| name == *skipped) {
                    self.subfolder(path)?;
                }
            } else {
                self.file(path, &metadata, name.to_str().is_some())?;
            }
        }
        Ok(())
    }

    fn subfolder(&mut self, path: String) -> Result<(), ScanError> {
        match self.folder(&path) {
            Err(ScanError::Io(error)) if error.kind() == ErrorKind::PermissionDenied => {
                let kind = Kind::Foreign("this folder may not be read");
                let mark = Mark { inode: 0, size: 0, mode: 0, changed: (0, 0) };
                let entry = Entry { path: path.clone(), kind, size: 0 };
                self.files.insert(path, Seen { entry, hash: [0; 32], mark });
                Ok(())
            }
            Err(ScanError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn file(&mut self, path: String, metadata: &Metadata, has_good_name: bool) -> Result<(), ScanError> {
        let mark = Mark::of(metadata);
        let before = self.before.and_then(|before| before.files.get(&path));
        if let Some(before) = before.filter(|before| before.mark == mark && mark.is_settled()) {
            self.files.insert(path, before.clone());
            return Ok(());
        }
        let mut kind = if !has_good_name {
            Kind::Foreign("its name is not UTF-8")
        } else if metadata.is_symlink() {
            Kind::Link
        } else if metadata.is_file() {
            Kind::File { executable: metadata.mode() & 0o111 != 0 }
        } else {
            Kind::Foreign("this is neither a file nor a symbolic link")
        };
        let mut hash = [0; 32];
        // What no bundle can hold need not be read.
        if metadata.len() <= self.limits.bytes {
            match read(&self.root.join(&path), kind) {
                Ok(bytes) => hash = Sha256::digest(&bytes).into(),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    kind = Kind::Foreign("this file may not be read");
                }
                Err(error) => return Err(error.into()),
            }
        }
        let entry = Entry { path: path.clone(), kind, size: metadata.len() };
        self.files.insert(path, Seen { entry, hash, mark });
        Ok(())
    }
}

enum ScanError {
    Source(SourceError),
    Io(io::Error),
}

impl From<SourceError> for ScanError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn read(path: &Path, kind: Kind) -> io::Result<Vec<u8>> {
    match kind {
        Kind::File { .. } => fs::read(path),
        Kind::Link => Ok(fs::read_link(path)?.into_os_string().into_encoded_bytes()),
        Kind::Foreign(_) => Ok(Vec::new()),
    }
}

fn revision(files: &BTreeMap<String, Seen>) -> Result<Revision, data_runner_core::id::InvalidId> {
    let mut hash = Sha256::new();
    for (path, seen) in files {
        let kind: u8 = match seen.entry.kind {
            Kind::File { executable: false } => 0,
            Kind::File { executable: true } => 1,
            Kind::Link => 2,
            Kind::Foreign(_) => 3,
        };
        hash.update((path.len() as u64).to_be_bytes());
        hash.update(path);
        hash.update([kind]);
        hash.update(seen.entry.size.to_be_bytes());
        hash.update(seen.hash);
    }
    hex::encode(hash.finalize()).parse()
}

impl Snapshot for Scanned {
    fn revision(&self) -> &Revision {
        &self.revision
    }

    fn look(&self, path: &str) -> Result<Found, SourceError> {
        if let Some(seen) = self.files.get(path) {
            return Ok(Found::Entry(seen.entry.clone()));
        }
        let prefix = format!("{path}/");
        let below = self.files.range(prefix.clone()..).next();
        Ok(if below.is_some_and(|(path, _)| path.starts_with(&prefix)) {
            Found::Folder
        } else {
            Found::Nothing
        })
    }

    fn walk(&self, path: &str) -> Result<Vec<Entry>, SourceError> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = self.files.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        Ok(below.map(|(_, seen)| seen.entry.clone()).collect())
    }

    fn content(&self, entry: &Entry) -> Result<Bytes, SourceError> {
        let gone = || SourceError::Gone(self.revision.clone());
        let seen = self.files.get(&entry.path).ok_or_else(gone)?;
        let bytes = match read(&self.root.join(&entry.path), seen.entry.kind) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
                return Err(gone());
            }
            Err(error) => {
                return Err(SourceError::Local {
                    url: self.root.display().to_string(),
                    source: error.into(),
                });
            }
        };
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        if hash == seen.hash { Ok(bytes.into()) } else { Err(gone()) }
    }
}
