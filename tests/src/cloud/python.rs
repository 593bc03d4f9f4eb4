//! The Python environment of the mock, made once in the build folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Skipped, lock, programs, run};
use crate::program::profile_folder;

/// What is installed into it.
const REQUIREMENTS: &str = include_str!("../../cloud/requirements.txt");

/// The interpreter of an environment with exactly the requirements.
pub(super) fn interpreter() -> Result<PathBuf, Skipped> {
    let folder = profile_folder().join("../test-cloud");
    std::fs::create_dir_all(&folder).unwrap();
    let _lock = lock(&folder.join("lock"));
    let (environment, installed) = (folder.join("python"), folder.join("installed.txt"));
    let interpreter = environment.join("bin/python");
    // A build folder outlives the Python that an environment was made with.
    let is_made = std::fs::read_to_string(&installed).is_ok_and(|found| found == REQUIREMENTS);
    if is_made && interpreter.exists() {
        return Ok(interpreter);
    }
    make(&environment)?;
    std::fs::write(installed, REQUIREMENTS).unwrap();
    Ok(interpreter)
}

fn make(environment: &Path) -> Result<(), Skipped> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("cloud/requirements.txt");
    let make = || run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment));
    // Debian's Python comes without what makes environments, and a machine may come without Python.
    make().or_else(|missing| {
        let installed = programs::install(&["python3", "python3-venv"]);
        installed.map_err(|Skipped(why)| Skipped(format!("{}; {why}", missing.0)))?;
        make()
    })?;
    let mut pip = Command::new(environment.join("bin/python"));
    run(pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))
}
