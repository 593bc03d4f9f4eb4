//! What the package index of the test cloud holds: fetched once, as this machine's pip is configured, and kept beside
//! the build cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::root::cache;
use super::{Skipped, lock, run};

const LIST: &str = include_str!("../../cloud/wheels.txt");

/// A folder with the wheels of `tests/cloud/wheels.txt` and of what they need.
pub(super) fn wheels(interpreter: &Path) -> Result<PathBuf, Skipped> {
    let folder = cache().join("wheels");
    std::fs::create_dir_all(&folder).unwrap();
    let _lock = lock(&cache().join("wheels.lock"));
    let fetched = folder.join("list.txt");
    if std::fs::read_to_string(&fetched).is_ok_and(|list| list == LIST) {
        return Ok(folder);
    }
    let mut pip = Command::new(interpreter);
    pip.args(["-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest"]).arg(&folder);
    run(pip.args(LIST.lines()))?;
    std::fs::write(fetched, LIST).unwrap();
    Ok(folder)
}
