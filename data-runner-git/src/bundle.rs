//! The archive of a workflow's folder: the same bytes for the same files, wherever and whenever it is made.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use bytes::Bytes;
use data_runner_core::port::SourceError;

use crate::snapshot::{Entry, Found, Kind, Snapshot, Step, clean, follow, refuse_pointer, refused, target};

/// What a bundle may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The sum of its files' sizes, in bytes, before compression.
    pub bytes: u64,
    /// How many files and links.
    pub files: usize,
}

impl Default for Limits {
    /// 64 MiB in 10,000 files.
    fn default() -> Self {
        Self { bytes: 64 << 20, files: 10_000 }
    }
}

/// Part of what makes the bytes; a change of it changes the hash of every bundle.
const ZSTD_LEVEL: i32 = 3;

/// Makes the archive of `folder` and `includes`.
pub(crate) fn make(
    snapshot: &dyn Snapshot,
    folder: &str,
    includes: &[String],
    limits: Limits,
) -> Result<Bytes, SourceError> {
    let contents = Contents::gather(snapshot, folder, includes, limits)?;
    contents.archive(snapshot).map_err(|error| match error {
        ArchiveError::Source(error) => error,
        ArchiveError::Io(error) => SourceError::Local { url: folder.to_owned(), source: error.into() },
    })
}

/// What goes into a bundle, by its path.
struct Contents {
    entries: BTreeMap<String, Entry>,
}

enum ArchiveError {
    Source(SourceError),
    Io(io::Error),
}

impl From<SourceError> for ArchiveError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Contents {
    fn gather(
        snapshot: &dyn Snapshot,
        folder: &str,
        includes: &[String],
        limits: Limits,
    ) -> Result<Self, SourceError> {
        let mut entries = BTreeMap::new();
        for path in std::iter::once(folder).chain(includes.iter().map(String::as_str)) {
            let cleaned = clean(path)?;
            let found = match snapshot.look(&cleaned)? {
                Found::Folder => snapshot.walk(&cleaned)?,
                Found::Entry(entry) => vec![entry],
                Found::Nothing => {
                    let revision = snapshot.revision().clone();
                    return Err(SourceError::NoSuchPath { path: path.to_owned(), revision });
                }
            };
            entries.extend(found.into_iter().map(|entry| (entry.path.clone(), entry)));
        }
        let contents = Self { entries };
        contents.refuse_foreign(folder, limits)?;
        contents.refuse_escapes(snapshot)?;
        Ok(contents)
    }

    fn refuse_foreign(&self, folder: &str, limits: Limits) -> Result<(), SourceError> {
        if self.entries.len() > limits.files {
            let message = format!(
                "with what it includes it has {} files; at most {} go to a worker",
                self.entries.len(),
                limits.files
            );
            return Err(refused(folder, &message));
        }
        let mut bytes = 0_u64;
        for entry in self.entries.values() {
            if let Kind::Foreign(why) = entry.kind {
                return Err(refused(&entry.path, why));
            }
            // Git itself writes neither; a crafted tree might.
            if entry.path.split('/').any(|part| part == ".." || part.eq_ignore_ascii_case(".git")) {
                return Err(refused(&entry.path, "such a name must not be in a repository"));
            }
            bytes = bytes.saturating_add(entry.size);
            if bytes > limits.bytes {
                let message = format!(
                    "here {folder} with what it includes passes {} bytes, which is the most that goes to a worker; let \
                     the job read large files from where they are",
                    limits.bytes
                );
                return Err(refused(&entry.path, &message));
            }
        }
        Ok(())
    }

    /// Every link must end at something that the bundle holds.
    fn refuse_escapes(&self, snapshot: &dyn Snapshot) -> Result<(), SourceError> {
        for link in self.entries.values().filter(|entry| entry.kind == Kind::Link) {
            let ends_at = follow(&link.path, |path| self.step(snapshot, path))?;
            // The root holds the bundle, the bundle does not hold the root.
            if ends_at.is_none_or(|path| path.is_empty()) {
                let message = format!(
                    "this symbolic link points to {:?}, which the bundle does not hold; name what it points to in \
                     `include`, or replace it by the file",
                    target(snapshot, link)?
                );
                return Err(refused(&link.path, &message));
            }
        }
        Ok(())
    }

    fn step(&self, snapshot: &dyn Snapshot, path: &str) -> Result<Step, SourceError> {
        if let Some(entry) = self.entries.get(path) {
            return match entry.kind {
                Kind::Link => Ok(Step::Link(target(snapshot, entry)?)),
                Kind::File { .. } | Kind::Foreign(_) => Ok(Step::End),
            };
        }
        let prefix = format!("{path}/");
        let below = self.entries.range(prefix.clone()..).next();
        Ok(match below {
            Some((first, _)) if first.starts_with(&prefix) => Step::Folder,
            Some(_) | None => Step::Nothing,
        })
    }

    fn archive(&self, snapshot: &dyn Snapshot) -> Result<Bytes, ArchiveError> {
        let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
        // So that a cut archive is found out, whatever carries it.
        encoder.include_checksum(true)?;
        let mut archive = tar::Builder::new(encoder);
        for entry in self.entries.values() {
            let mut header = header();
            match entry.kind {
                Kind::File { executable } => {
                    let bytes = snapshot.content(entry)?;
                    refuse_pointer(&entry.path, &bytes)?;
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_mode(if executable { 0o755 } else { 0o644 });
                    header.set_size(bytes.len() as u64);
                    archive.append_data(&mut header, &entry.path, bytes.as_ref())?;
                }
                Kind::Link => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o644);
                    header.set_size(0);
                    archive.append_link(&mut header, &entry.path, target(snapshot, entry)?)?;
                }
                Kind::Foreign(why) => return Err(refused(&entry.path, why).into()),
            }
        }
        let mut encoder = archive.into_inner()?;
        encoder.flush()?;
        Ok(encoder.finish()?.into())
    }
}

/// A header that says nothing of when, where or by whom it was made.
fn header() -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
