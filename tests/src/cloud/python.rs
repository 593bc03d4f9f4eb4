//! The Python environment of the mock, made once in the build folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Skipped, lock, run};

/// What is installed into it.
const REQUIREMENTS: &str = include_str!("../../cloud/requirements.txt");

/// The interpreter of an environment with exactly the requirements.
pub(super) fn interpreter() -> Result<PathBuf, Skipped> {
    let test = std::env::current_exe().unwrap();
    // Tests stand two folders below the build folder's profile.
    let folder = test.ancestors().nth(3).unwrap().join("test-cloud");
    std::fs::create_dir_all(&folder).unwrap();
    let _lock = lock(&folder.join("lock"));
    let (environment, installed) = (folder.join("python"), folder.join("installed.txt"));
    if std::fs::read_to_string(&installed).is_ok_and(|found| found == REQUIREMENTS) {
        return Ok(environment.join("bin/python"));
    }
    make(&environment)?;
    std::fs::write(installed, REQUIREMENTS).unwrap();
    Ok(environment.join("bin/python"))
}

fn make(environment: &Path) -> Result<(), Skipped> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("cloud/requirements.txt");
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment))?;
    let mut pip = Command::new(environment.join("bin/python"));
    run(pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))
}
