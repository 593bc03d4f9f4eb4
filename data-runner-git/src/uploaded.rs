//! An archive that somebody sent as a source: a workflow's folder that nobody has pushed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::id::{Revision, Sha256};
use data_runner_core::port::{SourceError, Version, WorkflowFolder, WorkflowSource};

use crate::bundle::{self, Limits};
use crate::snapshot::{self, Entry, Found, Kind, Snapshot, clean, refused};

/// What a tar needs beside the contents of its files: a header for each, and one more for a long name.
const OVERHEAD: u64 = 4 * 512;

/// The files of an archive (tar in a Zstandard frame) that a client made. Nothing of it is trusted: what it holds is read
/// into memory, and the bundle that workers get is made anew, with all that is refused of a repository's.
///
/// It has one revision, the SHA-256 of the archive; so has `resolve`, whatever the reference.
#[derive(Clone)]
pub struct UploadedSource {
    files: Arc<Uploaded>,
    limits: Limits,
}

struct Uploaded {
    revision: Revision,
    files: BTreeMap<String, (Entry, Bytes)>,
}

impl UploadedSource {
    /// Reads an archive.
    ///
    /// # Errors
    /// `Refused` if it is none, or holds more than `limits`, or something else than files and symbolic links with plain
    /// relative names.
    pub fn open(archive: &[u8], limits: Limits) -> Result<Self, SourceError> {
        let hash = Sha256::of(archive);
        let revision: Revision = hash.as_str().parse().map_err(|error| unreadable(&error))?;
        let files = entries(archive, limits)?;
        Ok(Self { files: Arc::new(Uploaded { revision, files }), limits })
    }

    fn check(&self, revision: &Revision) -> Result<(), SourceError> {
        if *revision == self.files.revision { Ok(()) } else { Err(SourceError::Gone(revision.clone())) }
    }
}

fn unreadable(error: &dyn std::error::Error) -> SourceError {
    refused("the archive", &format!("it is not tar in a Zstandard frame: {error}"))
}

fn entries(archive: &[u8], limits: Limits) -> Result<BTreeMap<String, (Entry, Bytes)>, SourceError> {
    let decoder = zstd::stream::read::Decoder::new(archive).map_err(|error| unreadable(&error))?;
    // A small archive can be a large tar; more than this is not looked at.
    let most = limits.bytes.saturating_add((limits.files as u64).saturating_add(2).saturating_mul(OVERHEAD));
    let mut tar = tar::Archive::new(decoder.take(most));
    let mut files = BTreeMap::new();
    let mut left = limits.bytes;
    for entry in tar.entries().map_err(|error| unreadable(&error))? {
        let mut entry = entry.map_err(|error| unreadable(&error))?;
        let Some((found, content)) = read(&mut entry, &mut left, limits)? else { continue };
        if files.len() >= limits.files {
            let message =
                format!("it holds more than {} files; at most so many go to a worker", limits.files);
            return Err(refused("the archive", &message));
        }
        let path = found.path.clone();
        if files.insert(path.clone(), (found, content)).is_some() {
            return Err(refused(&path, "the archive holds it twice"));
        }
    }
    match files.keys().find(|path| is_below_a_file(path, &files)) {
        Some(path) => Err(refused(path, "the archive holds a file in the place of its folder")),
        None => Ok(files),
    }
}

/// One entry; `None` for a folder, which follows from what is in it.
fn read(
    entry: &mut tar::Entry<'_, impl std::io::Read>,
    left: &mut u64,
    limits: Limits,
) -> Result<Option<(Entry, Bytes)>, SourceError> {
    let name = entry.path_bytes().into_owned();
    let shown = String::from_utf8_lossy(&name).into_owned();
    let path = String::from_utf8(name).map_err(|_| refused(&shown, "its name is not UTF-8"))?;
    let entry_type = entry.header().entry_type();
    let kind = if entry_type.is_dir() {
        return Ok(None);
    } else if entry_type.is_file() {
        let mode = entry.header().mode().map_err(|error| unreadable(&error))?;
        Kind::File { executable: mode & 0o111 != 0 }
    } else if entry_type.is_symlink() {
        Kind::Link
    } else {
        return Err(refused(&path, "this is neither a file nor a symbolic link"));
    };
    if clean(&path)? != path {
        return Err(refused(
            &path,
            "a name in an archive is the path from the repository's root, and nothing else",
        ));
    }
    let content = match kind {
        Kind::Link => {
            let target = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
            Bytes::from(target)
        }
        Kind::File { .. } | Kind::Foreign(_) => {
            let size = entry.size();
            *left = left.checked_sub(size).ok_or_else(|| {
                let message = format!(
                    "here the archive passes {} bytes, which is the most that goes to a worker; let the job read large \
                     files from where they are",
                    limits.bytes
                );
                refused(&path, &message)
            })?;
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(|error| unreadable(&error))?;
            if content.len() as u64 != size {
                return Err(refused(&path, "the archive ends within it"));
            }
            Bytes::from(content)
        }
    };
    Ok(Some((Entry { path, kind, size: content.len() as u64 }, content)))
}

fn is_below_a_file(path: &str, files: &BTreeMap<String, (Entry, Bytes)>) -> bool {
    path.match_indices('/').any(|(at, _)| files.contains_key(&path[..at]))
}

impl Snapshot for Uploaded {
    fn revision(&self) -> &Revision {
        &self.revision
    }

    fn look(&self, path: &str) -> Result<Found, SourceError> {
        if let Some((entry, _)) = self.files.get(path) {
            return Ok(Found::Entry(entry.clone()));
        }
        let prefix = format!("{path}/");
        let below = self.files.range(prefix.clone()..).next();
        let is_folder = below.is_some_and(|(path, _)| path.starts_with(&prefix));
        Ok(if is_folder { Found::Folder } else { Found::Nothing })
    }

    fn walk(&self, path: &str) -> Result<Vec<Entry>, SourceError> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = self.files.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        Ok(below.map(|(_, (entry, _))| entry.clone()).collect())
    }

    fn content(&self, entry: &Entry) -> Result<Bytes, SourceError> {
        let missing =
            || SourceError::NoSuchPath { path: entry.path.clone(), revision: self.revision.clone() };
        self.files.get(&entry.path).map(|(_, content)| content.clone()).ok_or_else(missing)
    }
}

#[async_trait]
impl WorkflowSource for UploadedSource {
    async fn resolve(&self, _reference: &str) -> Result<Revision, SourceError> {
        Ok(self.files.revision.clone())
    }

    async fn discover(&self, revision: &Revision) -> Result<Vec<WorkflowFolder>, SourceError> {
        self.check(revision)?;
        snapshot::discover(&*self.files)
    }

    async fn read(&self, revision: &Revision, path: &str) -> Result<Bytes, SourceError> {
        self.check(revision)?;
        snapshot::read(&*self.files, path)
    }

    async fn fetch(
        &self,
        revision: &Revision,
        folder: &str,
        includes: &[String],
    ) -> Result<Bytes, SourceError> {
        self.check(revision)?;
        let (files, limits) = (Arc::clone(&self.files), self.limits);
        let (folder, includes) = (folder.to_owned(), includes.to_vec());
        let made = tokio::task::spawn_blocking(move || bundle::make(&*files, &folder, &includes, limits));
        made.await.unwrap_or_else(|error| {
            Err(SourceError::Local { url: "the archive".to_owned(), source: error.into() })
        })
    }
    /// One version: nothing says what the files were before.
    async fn history(
        &self,
        revision: &Revision,
        paths: &[String],
        limit: usize,
    ) -> Result<Vec<Version>, SourceError> {
        self.check(revision)?;
        let mut is_there = false;
        for path in snapshot::clean_all(paths)? {
            is_there |= self.files.look(&path)? != Found::Nothing;
        }
        let version = Version { revision: revision.clone(), at: None, author: None, subject: None };
        Ok(is_there.then_some(version).into_iter().take(limit).collect())
    }

    /// Only of a revision and itself: nothing else is here.
    async fn diff(&self, from: &Revision, to: &Revision, paths: &[String]) -> Result<String, SourceError> {
        snapshot::clean_all(paths)?;
        self.check(to)?;
        self.check(from)?;
        Ok(String::new())
    }
}
