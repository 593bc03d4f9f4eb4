//! What libgit2 leaves in a repository when it is killed, and would stumble over or never look at again.

use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

/// Removes locks, of the refs in `refs` too, and packs that were begun longer than `longest` ago: a younger one may be
/// another process's. A lock is held for a moment only, by whoever may write here.
pub(crate) fn sweep(repository: &Path, refs: &str, longest: Duration) -> io::Result<()> {
    for lock in ["HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock"] {
        remove(&repository.join(lock))?;
    }
    remove_those(&repository.join(refs), |entry| Ok(named(entry, |name| name.ends_with(".lock"))))?;
    remove_those(&repository.join("objects/pack"), |entry| {
        Ok(named(entry, |name| name.starts_with("pack_git2_")) && is_older(entry, longest)?)
    })
}

fn remove_those(folder: &Path, is_one: impl Fn(&DirEntry) -> io::Result<bool>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        match is_one(&entry) {
            Ok(true) => remove(&entry.path())?,
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn named(entry: &DirEntry, is_right: impl Fn(&str) -> bool) -> bool {
    entry.file_name().to_str().is_some_and(is_right)
}

/// Of a file that a clock which was set back since makes younger than nothing: no.
fn is_older(entry: &DirEntry, than: Duration) -> io::Result<bool> {
    Ok(entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > than))
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
