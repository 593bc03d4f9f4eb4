//! The sample workflows, as they were when this binary was built.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Paths in a repository, and what the files hold.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/samples.rs"));

/// The sample that shows what a failure looks like: its default file has bad records.
pub const FAILS_ON_PURPOSE: &str = "check-customers";

/// Writes the samples below `state_dir` and gives the repository's folder. What is there already is kept, so that a
/// person may change a sample and run it again.
pub fn unpack(state_dir: &Path) -> Result<PathBuf, Error> {
    let root = state_dir.join("demo");
    for (name, bytes) in FILES {
        let path = root.join(name);
        if path.exists() {
            continue;
        }
        let cannot = |source| Error::io(format!("cannot write the sample {}", path.display()), source);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(cannot)?;
        }
        fs::write(&path, bytes).map_err(cannot)?;
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn the_samples_are_a_repository_with_at_least_four_workflows() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = unpack(folder.path()).expect("unpacked");
        let mut names: Vec<_> = fs::read_dir(root.join("workflows"))
            .expect("workflows/")
            .map(|entry| entry.expect("an entry"))
            .filter(|entry| entry.path().join("config.yaml").is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert!(names.len() >= 4, "{names:?}");
        assert!(names.iter().any(|name| name == FAILS_ON_PURPOSE));
    }

    #[test]
    fn a_sample_that_a_person_changed_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = unpack(folder.path()).expect("unpacked").join("workflows/orders-to-parquet/workflow.py");
        fs::write(&script, "print('mine')").expect("written");
        unpack(folder.path()).expect("unpacked again");
        assert_eq!(fs::read_to_string(script).expect("read"), "print('mine')");
    }
}
