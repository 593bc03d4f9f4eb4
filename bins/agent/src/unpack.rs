//! Bundles as they come: a tar archive, compressed with Zstandard.

use std::io::{Error, ErrorKind, Read as _};
use std::path::{Component, Path};

use bytes::{Buf as _, Bytes};
use data_runner_engine::CodeUnpacker;

/// More than this, unpacked, is refused: a small archive may claim to hold anything.
const MOST_BYTES: u64 = 4 << 30;

/// Unpacks tar archives that are compressed with Zstandard. Only plain files, folders and symbolic links that stay
/// inside are taken; anything else, and any path that leaves the folder, is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct TarZstd;

impl CodeUnpacker for TarZstd {
    fn unpack(&self, bundle: &Bytes, folder: &Path) -> std::io::Result<()> {
        let decompressed = zstd::stream::read::Decoder::new(bundle.clone().reader())?;
        let mut archive = tar::Archive::new(decompressed.take(MOST_BYTES));
        archive.set_preserve_mtime(false);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let refused =
                |why: &str| Error::new(ErrorKind::InvalidData, format!("{}: {why}", path.display()));
            if !stays_inside(&path) {
                return Err(refused("leaves the folder"));
            }
            let kind = entry.header().entry_type();
            if kind.is_symlink() {
                let target = entry.link_name()?.ok_or_else(|| refused("links to nothing"))?;
                if !link_stays_inside(&path, &target) {
                    return Err(refused("links out of the folder"));
                }
            } else if !kind.is_file() && !kind.is_dir() {
                return Err(refused("is neither a file, a folder nor a symbolic link"));
            }
            if !entry.unpack_in(folder)? {
                return Err(refused("leaves the folder"));
            }
        }
        Ok(())
    }
}

fn stays_inside(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Whether a link at `path` leads to a place inside, by its text alone.
fn link_stays_inside(path: &Path, target: &Path) -> bool {
    let mut depth = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .count()
        .saturating_sub(1);
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

    use tar::EntryType;

    use super::*;

    fn bundle(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Bytes {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        zstd::bulk::compress(&builder.into_inner().unwrap(), 1)
            .unwrap()
            .into()
    }

    fn file(builder: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Written as it stands, so that paths get in which the library would refuse to write.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }

    fn link(builder: &mut tar::Builder<Vec<u8>>, path: &str, target: &str, kind: EntryType) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o777);
        builder.append_link(&mut header, path, target).unwrap();
    }

    #[test]
    fn a_bundle_unpacks_to_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = bundle(|it| {
            file(it, "workflows/a/workflow.py", b"print()");
            link(it, "workflows/a/same.py", "workflow.py", EntryType::Symlink);
        });
        TarZstd.unpack(&bundle, folder.path()).unwrap();
        assert_eq!(
            std::fs::read(folder.path().join("workflows/a/same.py")).unwrap(),
            b"print()"
        );
    }

    #[test]
    fn nothing_is_written_outside_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("code");
        let evil = [
            bundle(|it| file(it, "../evil", b"x")),
            bundle(|it| file(it, "/tmp/../evil", b"x")),
            bundle(|it| link(it, "out", "..", EntryType::Symlink)),
            bundle(|it| link(it, "a/out", "../../evil", EntryType::Symlink)),
            bundle(|it| link(it, "out", "/etc/passwd", EntryType::Symlink)),
            bundle(|it| link(it, "out", "/etc/passwd", EntryType::Link)),
        ];
        for bundle in evil {
            std::fs::create_dir_all(&folder).unwrap();
            let error = TarZstd.unpack(&bundle, &folder).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
            assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn bytes_that_are_no_archive_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            TarZstd
                .unpack(&Bytes::from_static(b"no archive"), folder.path())
                .is_err()
        );
    }
}
