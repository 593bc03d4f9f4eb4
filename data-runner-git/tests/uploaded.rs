//! What somebody sends without pushing it: packed as a server would, and trusted as little as a repository.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, missing_docs)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use data_runner_core::port::{SourceError, WorkflowSource};
use data_runner_git::{FolderSource, Limits, UploadedSource, pack};

const CONFIG: &str = "worker_type: polars\ninstance_size: t3.small\ninclude: [lib]\n";

fn repository() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("workflows/orders/config.yaml", CONFIG),
        ("workflows/orders/workflow.py", "print('here')"),
        ("workflows/other/config.yaml", CONFIG),
        ("lib/shared.py", "x = 1"),
        ("elsewhere/large.bin", "not for this workflow"),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn packed(root: &Path) -> Result<bytes::Bytes, SourceError> {
    pack(root, "workflows/orders", &["lib/".to_owned()], Limits::default())
}

fn message(error: &SourceError) -> String {
    match error {
        SourceError::Refused { path, message } => format!("{path}: {message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_folder_is_packed_as_a_source_packs_it_and_comes_back_as_the_same() {
    let root = repository();
    let archive = packed(root.path()).unwrap();
    let folder = FolderSource::new(root.path().to_owned(), Limits::default());
    let revision = folder.resolve("").await.unwrap();
    let includes = ["lib/".to_owned()];
    assert_eq!(folder.fetch(&revision, "workflows/orders", &includes).await.unwrap(), archive);

    let sent = UploadedSource::open(&archive, Limits::default()).unwrap();
    let revision = sent.resolve("HEAD").await.unwrap();
    let folders = sent.discover(&revision).await.unwrap();
    assert_eq!(folders.len(), 1);
    assert_eq!((folders[0].path.as_str(), &folders[0].config[..]), ("workflows/orders", CONFIG.as_bytes()));
    assert_eq!(folders[0].files, ["config.yaml", "workflow.py"]);
    assert_eq!(&sent.read(&revision, "lib/shared.py").await.unwrap()[..], b"x = 1");
    assert_eq!(
        sent.fetch(&revision, "workflows/orders", &includes).await.unwrap(),
        archive,
        "made anew, it is the same"
    );
}

#[tokio::test]
async fn what_is_not_of_the_workflow_is_not_even_looked_at() {
    let root = repository();
    let before = packed(root.path()).unwrap();
    symlink("/etc/passwd", root.path().join("elsewhere/out")).unwrap();
    fs::write(root.path().join("elsewhere/large.bin"), "changed").unwrap();
    assert_eq!(packed(root.path()).unwrap(), before);
    let missing = pack(root.path(), "workflows/orders", &["nope".to_owned()], Limits::default());
    assert!(matches!(missing, Err(SourceError::NoSuchPath { .. })), "{missing:?}");
}

#[test]
fn the_same_is_refused_as_of_a_repository() {
    let root = repository();
    symlink("../../elsewhere/large.bin", root.path().join("workflows/orders/data")).unwrap();
    assert!(message(&packed(root.path()).unwrap_err()).contains("which the bundle does not hold"));
    let root = repository();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    fs::write(root.path().join("lib/data.bin"), pointer).unwrap();
    assert!(message(&packed(root.path()).unwrap_err()).contains("LFS"));
    let root = repository();
    let few = Limits { bytes: 20, files: 10 };
    let refused = pack(root.path(), "workflows/orders", &[], few).unwrap_err();
    assert!(message(&refused).contains("passes 20 bytes"), "{refused:?}");
}

/// An archive whose entries are as a stranger would write them.
fn archive(entries: &[(tar::EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let is_link = matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link);
        header.set_size(if is_link { 0 } else { content.len() as u64 });
        // Written by hand: the builder itself would refuse what is to be refused here.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        if is_link {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, if is_link { &b""[..] } else { content.as_bytes() }).unwrap();
    }
    zstd::bulk::compress(&builder.into_inner().unwrap(), 1).unwrap()
}

#[tokio::test]
async fn an_archive_that_would_reach_beyond_itself_is_refused() {
    use tar::EntryType as T;
    for (entries, why) in [
        (&[(T::Regular, "../evil", "x")][..], "must not leave"),
        (&[(T::Regular, "/etc/evil", "x")], "relative to the repository"),
        (&[(T::Regular, "a/../../evil", "x")], "must not leave"),
        (&[(T::Regular, "./a", "x")], "and nothing else"),
        (&[(T::Link, "a", "/etc/passwd")], "neither a file nor"),
        (&[(T::Fifo, "a", "")], "neither a file nor"),
        (&[(T::Regular, "a", "1"), (T::Regular, "a", "2")], "holds it twice"),
        (&[(T::Regular, "a", "1"), (T::Regular, "a/b", "2")], "in the place of its folder"),
    ] {
        let error = UploadedSource::open(&archive(entries), Limits::default()).err().unwrap();
        assert!(message(&error).contains(why), "{entries:?}: {error:?}");
    }
    let links = archive(&[
        (T::Regular, "workflows/a/config.yaml", "x"),
        (T::Symlink, "workflows/a/l", "../../../etc/passwd"),
    ]);
    let source = UploadedSource::open(&links, Limits::default()).unwrap();
    let revision = source.resolve("").await.unwrap();
    let error = source.fetch(&revision, "workflows/a", &[]).await.unwrap_err();
    assert!(message(&error).contains("which the bundle does not hold"), "{error:?}");
    let git = archive(&[(T::Regular, "workflows/a/.git/config", "x")]);
    let source = UploadedSource::open(&git, Limits::default()).unwrap();
    let revision = source.resolve("").await.unwrap();
    assert!(message(&source.fetch(&revision, "workflows/a", &[]).await.unwrap_err()).contains("such a name"));
}

#[test]
fn a_small_archive_that_becomes_a_large_one_is_cut_off() {
    let zeros = "0".repeat(3 << 20);
    let bomb = archive(&[(tar::EntryType::Regular, "workflows/a/zeros", &zeros)]);
    assert!(bomb.len() < 10_000);
    let few = Limits { bytes: 1 << 20, files: 100 };
    assert!(message(&UploadedSource::open(&bomb, few).err().unwrap()).contains("passes 1048576 bytes"));
    let many: Vec<String> = (0..20).map(|n| format!("f{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| (tar::EntryType::Regular, name.as_str(), "")).collect();
    let few = Limits { bytes: 1 << 20, files: 10 };
    let error = UploadedSource::open(&archive(&many), few).err().unwrap();
    assert!(message(&error).contains("archive"), "{error:?}");
    for cut in [&b""[..], b"not zstd", &archive(&[(tar::EntryType::Regular, "a", "text")])[..20]] {
        assert!(UploadedSource::open(cut, Limits::default()).is_err() || cut.is_empty());
    }
}
