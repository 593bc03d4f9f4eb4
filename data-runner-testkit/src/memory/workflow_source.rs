//! A WorkflowSource in memory: revisions that a test publishes, and can take away again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::id::{Revision, Sha256};
use data_runner_core::port::{
    DIFF_BYTES, SourceError, SourceOpener, Version, WorkflowFolder, WorkflowSource,
};
use data_runner_core::workflow::Repo;

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepoFile {
    /// A plain file.
    Plain(Bytes),
    /// A file that may be executed.
    Executable(Bytes),
    /// A symbolic link to this target.
    Link(String),
}

impl RepoFile {
    /// A plain file with this text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Plain(Bytes::from(text.into()))
    }

    fn bytes(&self) -> Bytes {
        match self {
            Self::Plain(bytes) | Self::Executable(bytes) => bytes.clone(),
            Self::Link(target) => Bytes::from(target.clone()),
        }
    }
}

/// The files of a revision, by their path.
pub type RepoFiles = BTreeMap<String, RepoFile>;

/// A repository in memory; clones are the same repository.
#[derive(Clone, Default)]
pub struct MemorySource(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    references: BTreeMap<String, Revision>,
    revisions: BTreeMap<Revision, RepoFiles>,
    /// In the order in which they were published.
    order: Vec<Revision>,
    reach: Reach,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Reach {
    #[default]
    Reachable,
    Unreachable,
}

const URL: &str = "memory:";

impl MemorySource {
    /// An empty repository.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `files` what `reference` means, and returns their revision. Equal files have equal revisions.
    pub fn publish(&self, reference: &str, files: RepoFiles) -> Revision {
        let text = Sha256::of(format!("{files:?}").as_bytes());
        let revision: Revision = text.as_str()[..40].parse().expect("forty digits");
        let mut state = self.state();
        state.references.insert(reference.to_owned(), revision.clone());
        state.revisions.insert(revision.clone(), files);
        state.order.push(revision.clone());
        revision
    }

    /// From now on `revision` is gone, as after a rewritten history.
    pub fn forget(&self, revision: &Revision) {
        let mut state = self.state();
        state.revisions.remove(revision);
        state.order.retain(|published| published != revision);
        state.references.retain(|_, named| named != revision);
    }

    /// From now on it cannot be reached; what was resolved before can still be read.
    pub fn go_down(&self) {
        self.state().reach = Reach::Unreachable;
    }

    /// From now on it can be reached again.
    pub fn come_back(&self) {
        self.state().reach = Reach::Reachable;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }

    fn files(&self, revision: &Revision) -> Result<RepoFiles, SourceError> {
        self.state().revisions.get(revision).cloned().ok_or_else(|| SourceError::Gone(revision.clone()))
    }
}

#[async_trait]
impl WorkflowSource for MemorySource {
    async fn resolve(&self, reference: &str) -> Result<Revision, SourceError> {
        let state = self.state();
        if state.reach == Reach::Unreachable {
            return Err(SourceError::Unreachable {
                url: URL.to_owned(),
                source: "the test took it down".into(),
            });
        }
        if let Some(revision) = state.references.get(reference) {
            return Ok(revision.clone());
        }
        let is_commit = reference.len() >= 4;
        let mut matching =
            state.revisions.keys().filter(|revision| is_commit && revision.as_str().starts_with(reference));
        match (matching.next(), matching.next()) {
            (Some(revision), None) => Ok(revision.clone()),
            (Some(_), Some(_)) => Err(refused(reference, "several commits begin with these digits")),
            (None, _) => Err(SourceError::NoSuchRef { url: URL.to_owned(), reference: reference.to_owned() }),
        }
    }

    async fn discover(&self, revision: &Revision) -> Result<Vec<WorkflowFolder>, SourceError> {
        let files = self.files(revision)?;
        let mut folders: Vec<_> = files
            .iter()
            .filter_map(|(path, config)| {
                let folder =
                    path.strip_suffix("/config.yaml").filter(|path| path.starts_with("workflows/"))?;
                let prefix = format!("{folder}/");
                Some(WorkflowFolder {
                    path: folder.to_owned(),
                    config: config.bytes(),
                    files: files
                        .keys()
                        .filter_map(|path| path.strip_prefix(&prefix))
                        .map(str::to_owned)
                        .collect(),
                })
            })
            .collect();
        folders.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(folders)
    }

    async fn read(&self, revision: &Revision, path: &str) -> Result<Bytes, SourceError> {
        let files = self.files(revision)?;
        let path = clean(path)?;
        let found = ends_at(&files, &path).and_then(|at| files.get(&at));
        let bytes = found.ok_or_else(|| no_such_path(&path, revision))?.bytes();
        if bytes.len() > 1 << 20 {
            return Err(refused(&path, "it has more than 1 MiB"));
        }
        refuse_pointer(&path, &bytes)?;
        Ok(bytes)
    }

    async fn fetch(
        &self,
        revision: &Revision,
        folder: &str,
        includes: &[String],
    ) -> Result<Bytes, SourceError> {
        let files = self.files(revision)?;
        let mut held = RepoFiles::new();
        for path in std::iter::once(folder).chain(includes.iter().map(String::as_str)) {
            let path = clean(path)?;
            let before = held.len();
            held.extend(
                files
                    .iter()
                    .filter(|(at, _)| is_below(at, &path))
                    .map(|(at, file)| (at.clone(), file.clone())),
            );
            if held.len() == before && !held.keys().any(|at| is_below(at, &path)) {
                return Err(no_such_path(&path, revision));
            }
        }
        for (path, file) in &held {
            match file {
                RepoFile::Plain(bytes) | RepoFile::Executable(bytes) => refuse_pointer(path, bytes)?,
                RepoFile::Link(_) if ends_at(&held, path).is_some() => {}
                RepoFile::Link(_) => {
                    return Err(refused(path, "this symbolic link leaves what the bundle holds"));
                }
            }
        }
        archive(&held).map_err(|error| SourceError::Local { url: URL.to_owned(), source: error.into() })
    }

    async fn history(
        &self,
        revision: &Revision,
        paths: &[String],
        limit: usize,
    ) -> Result<Vec<Version>, SourceError> {
        self.files(revision)?;
        let state = self.state();
        let end = state.order.iter().rposition(|published| published == revision).map_or(0, |last| last + 1);
        let mut before = RepoFiles::new();
        let mut versions = Vec::new();
        for published in &state.order[..end] {
            let files = below_any(&state.revisions[published], paths)?;
            if files != before {
                versions.push(Version { revision: published.clone(), at: None, author: None, subject: None });
            }
            before = files;
        }
        Ok(versions.into_iter().rev().take(limit).collect())
    }

    /// A file that differs is shown as taken away and written anew, which is a diff, though not the shortest.
    async fn diff(&self, from: &Revision, to: &Revision, paths: &[String]) -> Result<String, SourceError> {
        let from = below_any(&self.files(from)?, paths)?;
        let to = below_any(&self.files(to)?, paths)?;
        let mut text = String::new();
        let changed: BTreeSet<_> =
            from.keys().chain(to.keys()).filter(|path| from.get(*path) != to.get(*path)).collect();
        for path in changed {
            text.push_str(&format!("--- a/{path}\n+++ b/{path}\n"));
            for (sign, files) in [('-', &from), ('+', &to)] {
                let bytes = files.get(path).map(RepoFile::bytes).unwrap_or_default();
                let lines = String::from_utf8_lossy(&bytes).into_owned();
                lines.lines().for_each(|line| text.push_str(&format!("{sign}{line}\n")));
            }
        }
        text.truncate(text.floor_char_boundary(DIFF_BYTES));
        Ok(text)
    }
}

fn below_any(files: &RepoFiles, paths: &[String]) -> Result<RepoFiles, SourceError> {
    let paths = paths.iter().map(|path| clean(path)).collect::<Result<Vec<_>, _>>()?;
    let held = files.iter().filter(|(at, _)| paths.iter().any(|path| is_below(at, path)));
    Ok(held.map(|(at, file)| (at.clone(), file.clone())).collect())
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn clean(path: &str) -> Result<String, SourceError> {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if path.starts_with('/') || parts.is_empty() || parts.contains(&"..") {
        return Err(refused(path, "a path is relative to the repository and stays in it"));
    }
    Ok(parts.join("/"))
}

/// The file or folder of `files` (but for the root) that `path` ends at when links are followed.
fn ends_at(files: &RepoFiles, path: &str) -> Option<String> {
    let mut at: Vec<String> = Vec::new();
    let mut ahead: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut links_left = 40;
    while let Some(part) = ahead.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                at.pop()?;
                continue;
            }
            _ => at.push(part),
        }
        let here = at.join("/");
        match files.get(&here) {
            Some(RepoFile::Link(target)) if !target.starts_with('/') && links_left > 0 => {
                links_left -= 1;
                at.pop();
                ahead.extend(target.split('/').rev().map(str::to_owned));
            }
            Some(RepoFile::Link(_)) => return None,
            Some(RepoFile::Plain(_) | RepoFile::Executable(_)) if ahead.is_empty() => {}
            Some(RepoFile::Plain(_) | RepoFile::Executable(_)) => return None,
            None if files.keys().any(|path| is_below(path, &here)) => {}
            None => return None,
        }
    }
    (!at.is_empty()).then(|| at.join("/"))
}

fn archive(files: &RepoFiles) -> std::io::Result<Bytes> {
    let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1)?);
    for (path, file) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(if matches!(file, RepoFile::Executable(_)) { 0o755 } else { 0o644 });
        match file {
            RepoFile::Plain(bytes) | RepoFile::Executable(bytes) => {
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, path, bytes.as_ref())?;
            }
            RepoFile::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    Ok(archive.into_inner()?.finish()?.into())
}

fn refuse_pointer(path: &str, bytes: &[u8]) -> Result<(), SourceError> {
    if bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Err(refused(path, "this is a Git LFS pointer"));
    }
    Ok(())
}

fn no_such_path(path: &str, revision: &Revision) -> SourceError {
    SourceError::NoSuchPath { path: path.to_owned(), revision: revision.clone() }
}

fn refused(path: &str, message: &str) -> SourceError {
    SourceError::Refused { path: path.to_owned(), message: message.to_owned() }
}

/// Opens sources in memory by their URL; an unknown URL opens an empty repository.
#[derive(Clone, Default)]
pub struct MemoryOpener(Arc<Mutex<BTreeMap<String, MemorySource>>>);

impl MemoryOpener {
    /// An opener that knows no repository yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The repository at `url`, which is made if there is none.
    pub fn at(&self, url: &str) -> MemorySource {
        self.0.lock().expect("no holder panics").entry(url.to_owned()).or_default().clone()
    }
}

impl SourceOpener for MemoryOpener {
    fn open(&self, repo: &Repo) -> Result<Arc<dyn WorkflowSource>, SourceError> {
        if repo.url.split("://").nth(1).is_some_and(|rest| rest.contains('@')) {
            return Err(refused("the repository", "a URL must not hold a password"));
        }
        Ok(Arc::new(self.at(&repo.url)))
    }

    fn open_archive(&self, archive: Bytes) -> Result<Arc<dyn WorkflowSource>, SourceError> {
        let unreadable = |error: std::io::Error| refused("the archive", &error.to_string());
        let files = unarchived(&archive).map_err(unreadable)?;
        let source = MemorySource::new();
        // An archive is its own revision.
        let revision: Revision = Sha256::of(&archive).as_str().parse().expect("64 digits");
        let mut state = source.state();
        state.references.insert("HEAD".to_owned(), revision.clone());
        state.revisions.insert(revision, files);
        drop(state);
        Ok(Arc::new(source))
    }
}

/// The files of what [`archive`] made.
fn unarchived(bytes: &[u8]) -> std::io::Result<RepoFiles> {
    let mut files = RepoFiles::new();
    for entry in tar::Archive::new(zstd::Decoder::new(bytes)?).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let executable = entry.header().mode()? & 0o111 != 0;
        let file = match entry.link_name()? {
            Some(target) => RepoFile::Link(target.to_string_lossy().into_owned()),
            None => {
                let mut content = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut content)?;
                if executable {
                    RepoFile::Executable(content.into())
                } else {
                    RepoFile::Plain(content.into())
                }
            }
        };
        files.insert(path, file);
    }
    Ok(files)
}
