//! Unpacking the archive that holds a job's code.

use std::io::{self, Read};
use std::path::{Component, Path};

use tar::EntryType;

/// The most that an archive may hold once unpacked, in bytes, and how many files.
const MAX_BYTES: u64 = 1 << 30;
const MAX_ENTRIES: usize = 100_000;

/// An archive that cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is not tar in a Zstandard frame, or the disk does not take it.
    #[error("the bundle cannot be unpacked")]
    Io(#[from] io::Error),
    /// It holds what no bundle may hold.
    #[error("the bundle is refused: {path} {why}")]
    Refused {
        /// The entry.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Unpacks `archive` (tar in Zstandard, whose hash the caller has checked) into the folder `into`, which is made.
///
/// Only folders, regular files and symbolic links that stay within the archive come out; an absolute path, one with
/// `..`, anything else, and more than 1 GiB or 100,000 entries are refused.
pub fn unpack(archive: &[u8], into: &Path) -> Result<(), UnpackError> {
    std::fs::create_dir_all(into)?;
    let plain = zstd::stream::read::Decoder::new(archive)?.take(MAX_BYTES + 1);
    let mut archive = tar::Archive::new(plain);
    archive.set_preserve_mtime(false);
    archive.set_overwrite(false);
    let mut left = MAX_BYTES;
    for (number, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let refused = |why| UnpackError::Refused { path: path.display().to_string(), why };
        if number >= MAX_ENTRIES {
            return Err(refused("is one entry too many"));
        }
        left = left.checked_sub(entry.size()).ok_or_else(|| refused("makes it larger than 1 GiB"))?;
        if !is_inside(&path) {
            return Err(refused("leads out of the bundle"));
        }
        let kind = entry.header().entry_type();
        if kind == EntryType::Symlink {
            let target = entry.link_name()?.ok_or_else(|| refused("leads nowhere"))?;
            if !stays_inside(path.parent().unwrap_or(Path::new("")), &target) {
                return Err(refused("is a link that leads out of the bundle"));
            }
        } else if !matches!(kind, EntryType::Regular | EntryType::Directory) {
            return Err(refused("is neither a file nor a folder nor a link"));
        }
        // Checks once more, against what lies on disk by now, that nothing is written through a link.
        if !entry.unpack_in(into)? {
            return Err(refused("leads out of the bundle"));
        }
    }
    Ok(())
}

fn is_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

fn stays_inside(folder: &Path, target: &Path) -> bool {
    let mut depth = folder.components().filter(|part| matches!(part, Component::Normal(_))).count();
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn archive(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        fill(&mut builder);
        zstd::bulk::compress(&builder.into_inner().unwrap(), 1).unwrap()
    }

    fn entry(builder: &mut tar::Builder<Vec<u8>>, kind: EntryType, path: &str, link: &str, text: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        // Written by hand: the builder itself would refuse what is to be refused here.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, text).unwrap();
    }

    #[test]
    fn files_and_links_within_the_bundle_come_out() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = archive(|tar| {
            entry(tar, EntryType::Regular, "workflows/a/workflow.py", "", b"print(1)");
            entry(tar, EntryType::Symlink, "workflows/a/lib.py", "../../lib/lib.py", b"");
            entry(tar, EntryType::Regular, "lib/lib.py", "", b"x = 1");
        });
        unpack(&bytes, &folder.path().join("code")).unwrap();
        assert_eq!(std::fs::read(folder.path().join("code/workflows/a/lib.py")).unwrap(), b"x = 1");
    }

    #[test]
    fn nothing_gets_out_of_the_folder() {
        for (kind, path, link) in [
            (EntryType::Regular, "../evil", ""),
            (EntryType::Regular, "/tmp/evil", ""),
            (EntryType::Regular, "a/../../evil", ""),
            (EntryType::Symlink, "a", "/etc/passwd"),
            (EntryType::Symlink, "a/b", "../../evil"),
            (EntryType::Link, "a", "/etc/passwd"),
            (EntryType::Fifo, "a", ""),
            (EntryType::Char, "a", ""),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let bytes = archive(|tar| entry(tar, kind, path, link, b""));
            let refused = unpack(&bytes, &folder.path().join("code"));
            assert!(matches!(refused, Err(UnpackError::Refused { .. })), "{path} -> {link}: {refused:?}");
        }
    }

    #[test]
    fn what_is_no_archive_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(unpack(b"not zstd", folder.path()), Err(UnpackError::Io(_))));
    }
}
