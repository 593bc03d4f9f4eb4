//! Run folders that nobody needs any more.
//!
//! They are removed when the agent is quiet. ext4 does not hand out an inode again for a minute or more after it was
//! freed, and walks past all such inodes to find another: an agent that makes and removes some folders for each of
//! hundreds of short jobs a second spends a third of the machine's time on that walk (seen in a profile).

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Larger folders are removed at once: waiting is for many small ones, and must not fill a disk.
const SMALL: u64 = 64 << 10;

/// The most folders that wait: with `SMALL`, at most a gibibyte.
const MOST: usize = 16_384;

/// A folder beside the run folders, on the same file system.
#[derive(Debug)]
pub(super) struct Trash {
    root: PathBuf,
    waiting: AtomicUsize,
}

impl Trash {
    /// What an earlier process left waits too. Blocks.
    pub(super) fn open(root: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&root)?;
        let waiting = AtomicUsize::new(std::fs::read_dir(&root)?.count());
        Ok(Self { root, waiting })
    }

    /// Takes `folder` away. When this returns it is gone from its place, whatever happens next. Blocks.
    pub(super) fn take(&self, folder: &Path) -> Result<()> {
        let name = folder.file_name().ok_or_else(|| Error::other("a run folder has no name"))?;
        if self.waiting.load(Ordering::Relaxed) >= MOST || !is_small(folder, &mut 0)? {
            return gone(std::fs::remove_dir_all(folder));
        }
        let place = self.root.join(name);
        match std::fs::rename(folder, &place) {
            Ok(()) => {
                self.waiting.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            // The same attempt was here before, under another lease.
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                gone(std::fs::remove_dir_all(folder))
            }
            other => gone(other),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Removes all that waits. What cannot be removed is tried again the next time. Blocks.
    pub(super) fn empty(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.root)? {
            gone(std::fs::remove_dir_all(entry?.path()))?;
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn gone(removed: Result<()>) -> Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn is_small(folder: &Path, bytes: &mut u64) -> Result<bool> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        *bytes += metadata.len();
        if *bytes > SMALL || (metadata.is_dir() && !is_small(&entry.path(), bytes)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn folder(root: &Path, name: &str, bytes: usize) -> PathBuf {
        let folder = root.join("runs").join(name);
        std::fs::create_dir_all(folder.join("code")).unwrap();
        std::fs::write(folder.join("code/file"), vec![0; bytes]).unwrap();
        folder
    }

    #[test]
    fn a_small_folder_leaves_its_place_at_once_and_the_disk_when_it_is_quiet() {
        let root = tempfile::tempdir().unwrap();
        let trash = Trash::open(root.path().join("trash")).unwrap();
        let small = folder(root.path(), "a", 100);
        trash.take(&small).unwrap();
        assert!(!small.exists() && !trash.is_empty() && root.path().join("trash/a").exists());
        trash.empty().unwrap();
        assert!(trash.is_empty() && !root.path().join("trash/a").exists());
    }

    #[test]
    fn a_large_folder_leaves_the_disk_at_once() {
        let root = tempfile::tempdir().unwrap();
        let trash = Trash::open(root.path().join("trash")).unwrap();
        let large = folder(root.path(), "a", 1 << 20);
        trash.take(&large).unwrap();
        assert!(!large.exists() && trash.is_empty());
    }

    #[test]
    fn what_an_earlier_process_left_is_removed_and_a_folder_that_is_gone_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("trash");
        let left = folder(root.path(), "a", 1);
        Trash::open(path.clone()).unwrap().take(&left).unwrap();
        let trash = Trash::open(path).unwrap();
        assert!(!trash.is_empty());
        trash.take(&left).unwrap();
        trash.empty().unwrap();
        assert!(trash.is_empty());
    }
}
