//! The programs that the test cloud is made with. Where one is missing, its package is installed, if that is permitted.

use std::path::Path;
use std::process::Command;

use super::root::cache;
use super::{Skipped, lock, run};

/// What machines and their networks need, each with the package of Debian that has it.
const OF_MACHINES: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
    ("debootstrap", "debootstrap"),
    // Machines fetch agents as they are shipped.
    ("strip", "binutils"),
];

/// Sees to it that there is all that machines need.
pub(super) fn of_machines() -> Result<(), Skipped> {
    let missing: Vec<_> = OF_MACHINES.into_iter().filter(|(program, _)| !is_there(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (programs, packages): (Vec<_>, Vec<_>) = missing.iter().copied().unzip();
    install(&packages)
        .map_err(|Skipped(why)| Skipped(format!("there is no {} in PATH: {why}", programs.join(", "))))?;
    match missing.into_iter().find(|(program, _)| !is_there(program)) {
        Some((program, package)) => {
            Err(Skipped(format!("there is no {program} in PATH, and its package {package} is installed")))
        }
        None => Ok(()),
    }
}

/// Installs packages as this machine's apt is configured.
pub(super) fn install(packages: &[&str]) -> Result<(), Skipped> {
    if !rustix::process::getuid().is_root() {
        return Err(Skipped(format!("{} is not installed, and only root may do that", packages.join(", "))));
    }
    std::fs::create_dir_all(cache()).unwrap();
    let _lock = lock(&cache().join("packages.lock"));
    let install = || {
        let mut install = apt_get();
        run(install.args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(packages))
    };
    install().or_else(|_| update().and_then(|()| install()))
}

/// Fetches the lists of packages, of which a new machine has none, or old ones.
pub(super) fn update() -> Result<(), Skipped> {
    run(apt_get().args(["update", "--quiet"]))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // Somebody else may be at it.
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]);
    command
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

fn is_program(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}
