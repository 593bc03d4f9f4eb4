//! The files of one revision, wherever they come from, and what is read from them.

use std::collections::BTreeMap;

use bytes::Bytes;
use data_runner_core::id::Revision;
use data_runner_core::port::{SourceError, WorkflowFolder};

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File {
        executable: bool,
    },
    Link,
    /// Something that can never be in a bundle, and why.
    Foreign(&'static str),
}

/// One thing in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// From the root of the repository, with `/` between.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
}

/// What is found when one looks at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Entry(Entry),
    Folder,
    Nothing,
}

/// The files of one revision.
pub(crate) trait Snapshot {
    fn revision(&self) -> &Revision;

    /// What stands at `path` itself; links are not followed.
    fn look(&self, path: &str) -> Result<Found, SourceError>;

    /// Everything below the folder `path` (empty: the root) that is no folder.
    fn walk(&self, path: &str) -> Result<Vec<Entry>, SourceError>;

    /// The bytes of a file, or the target of a link.
    fn content(&self, entry: &Entry) -> Result<Bytes, SourceError>;
}

/// The most that a configuration may have and still be given whole; core refuses far smaller ones.
const CONFIG_BYTES: usize = 1 << 20;

/// The most that `read` gives.
const FILE_BYTES: u64 = 1 << 20;

/// The folders below `workflows/` that hold a `config.yaml`.
pub(crate) fn discover(snapshot: &dyn Snapshot) -> Result<Vec<WorkflowFolder>, SourceError> {
    const ROOT: &str = "workflows";
    if snapshot.look(ROOT)? != Found::Folder {
        return Ok(Vec::new());
    }
    let entries: BTreeMap<String, Entry> =
        snapshot.walk(ROOT)?.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
    let mut folders = Vec::new();
    for entry in entries.values() {
        let Some(folder) = entry.path.strip_suffix("/config.yaml").filter(|folder| *folder != ROOT) else {
            continue;
        };
        let prefix = format!("{folder}/");
        let below = entries.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        folders.push(WorkflowFolder {
            path: folder.to_owned(),
            config: config(snapshot, entry)?,
            files: below.map(|(path, _)| path[prefix.len()..].to_owned()).collect(),
        });
    }
    folders.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(folders)
}

/// What is no plain file is given as the text that stands in its place, so that its workflow shows up as broken
/// rather than not at all; what is too large is cut, and core says that it is too large.
fn config(snapshot: &dyn Snapshot, entry: &Entry) -> Result<Bytes, SourceError> {
    match entry.kind {
        Kind::File { .. } | Kind::Link => {
            let mut bytes = snapshot.content(entry)?;
            bytes.truncate(CONFIG_BYTES);
            Ok(bytes)
        }
        Kind::Foreign(_) => Ok(Bytes::new()),
    }
}

/// One file; links are followed as long as they stay in the repository.
pub(crate) fn read(snapshot: &dyn Snapshot, path: &str) -> Result<Bytes, SourceError> {
    let wanted = clean(path)?;
    let at = follow(&wanted, |path| match snapshot.look(path)? {
        Found::Folder => Ok(Step::Folder),
        Found::Nothing => Ok(Step::Nothing),
        Found::Entry(entry) => match entry.kind {
            Kind::Link => Ok(Step::Link(target(snapshot, &entry)?)),
            Kind::File { .. } | Kind::Foreign(_) => Ok(Step::End),
        },
    })?;
    let missing = || SourceError::NoSuchPath { path: path.to_owned(), revision: snapshot.revision().clone() };
    let Found::Entry(entry) = snapshot.look(&at.ok_or_else(missing)?)? else {
        return Err(missing());
    };
    if let Kind::Foreign(why) = entry.kind {
        return Err(refused(path, why));
    }
    if entry.size > FILE_BYTES {
        return Err(refused(
            path,
            &format!("it has {} bytes; a file that is read here may have 1 MiB", entry.size),
        ));
    }
    let bytes = snapshot.content(&entry)?;
    refuse_pointer(path, &bytes)?;
    Ok(bytes)
}

/// Git LFS keeps such a text in the place of the file; a job would read that instead of its data.
pub(crate) fn refuse_pointer(path: &str, bytes: &[u8]) -> Result<(), SourceError> {
    // From git-lfs' specification: pointers have less than 1024 bytes and begin with their version.
    if bytes.len() < 1024 && bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
        let message = "this is a Git LFS pointer, the file itself is not in the repository; keep it in the repository \
             without LFS, or let the job fetch it";
        return Err(refused(path, message));
    }
    Ok(())
}

pub(crate) fn refused(path: &str, message: &str) -> SourceError {
    SourceError::Refused { path: path.to_owned(), message: message.to_owned() }
}

/// Where a link points to.
pub(crate) fn target(snapshot: &dyn Snapshot, link: &Entry) -> Result<String, SourceError> {
    // Linux allows no longer path.
    if link.size > 4096 {
        return Err(refused(&link.path, "its target is too long for a symbolic link"));
    }
    String::from_utf8(snapshot.content(link)?.to_vec())
        .map_err(|_| refused(&link.path, "the target of this symbolic link is not UTF-8"))
}

/// A path as people write it (`lib/`, `./lib`) as the snapshot has it; one that leaves the repository is refused.
pub(crate) fn clean(path: &str) -> Result<String, SourceError> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(refused(path, "a path must not leave the repository")),
            part if part.contains('\0') => return Err(refused(path, "a path must not hold a NUL")),
            part => parts.push(part),
        }
    }
    if path.starts_with('/') || parts.is_empty() {
        return Err(refused(path, "a path is relative to the repository and names a folder or a file in it"));
    }
    Ok(parts.join("/"))
}

/// Several paths, likewise.
pub(crate) fn clean_all(paths: &[String]) -> Result<Vec<String>, SourceError> {
    paths.iter().map(|path| clean(path)).collect()
}

/// One step on the way to where a path ends.
pub(crate) enum Step {
    Folder,
    Link(String),
    End,
    Nothing,
}

/// Where `path` ends when links are followed one component at a time, as a kernel does it (to look only at the texts
/// would miss a `..` behind a linked folder). `None`: nowhere, outside of the root, or in a circle. The root itself is
/// the empty text.
pub(crate) fn follow(
    path: &str,
    mut look: impl FnMut(&str) -> Result<Step, SourceError>,
) -> Result<Option<String>, SourceError> {
    // Linux gives up after 40.
    let mut links_left = 40_u32;
    let mut at: Vec<String> = Vec::new();
    let mut ahead: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    while let Some(part) = ahead.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                if at.pop().is_none() {
                    return Ok(None);
                }
                continue;
            }
            _ => at.push(part),
        }
        match look(&at.join("/"))? {
            Step::Folder => {}
            Step::End if ahead.iter().all(String::is_empty) => {}
            Step::End | Step::Nothing => return Ok(None),
            Step::Link(target) => {
                if target.starts_with('/') || links_left == 0 {
                    return Ok(None);
                }
                links_left -= 1;
                at.pop();
                ahead.extend(target.split('/').rev().map(str::to_owned));
            }
        }
    }
    Ok(Some(at.join("/")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ends(path: &str) -> Option<String> {
        follow(path, |at| {
            Ok(match at {
                "a" | "a/b" | "a/b/c" => Step::Folder,
                "a/file" | "a/b/x" => Step::End,
                "a/b/c/up" => Step::Link("../..".to_owned()),
                "a/loop" => Step::Link("loop".to_owned()),
                "a/out" => Step::Link("b/c/up/../../x".to_owned()),
                "a/in" => Step::Link("./b/../file".to_owned()),
                "a/abs" => Step::Link("/etc/passwd".to_owned()),
                _ => Step::Nothing,
            })
        })
        .unwrap()
    }

    #[test]
    fn links_are_followed_as_a_kernel_follows_them() {
        assert_eq!(ends("a/in").as_deref(), Some("a/file"));
        assert_eq!(ends("a/b/c/up/b/x").as_deref(), Some("a/b/x"));
        // By its text alone this would end at a/b/x; a kernel ends outside of the root.
        assert_eq!(ends("a/out"), None);
        assert_eq!(ends("a/loop"), None);
        assert_eq!(ends("a/abs"), None);
        assert_eq!(ends("a/file/.."), None);
        assert_eq!(ends("a/nothing"), None);
    }

    #[test]
    fn a_path_is_cleaned_or_refused() {
        assert_eq!(clean("./lib//x/").unwrap(), "lib/x");
        for bad in ["", ".", "/", "/etc", "../x", "a/../../x", "a/..", "a\0b"] {
            assert!(matches!(clean(bad), Err(SourceError::Refused { .. })), "{bad:?}");
        }
    }
}
