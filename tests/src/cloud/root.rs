//! What machines boot from: a small Debian, or whatever this machine is, made once and kept beside the build cache.

use std::path::PathBuf;
use std::process::Command;

use super::{Skipped, lock, programs, run};

/// Raised when what is installed changes.
const RECIPE: u32 = 1;

const PACKAGES: &str = "python3,python3-venv,curl,ca-certificates,zstd";

/// The folder that machines see, until they change something.
pub(super) fn root() -> Result<PathBuf, Skipped> {
    let cache = cache();
    std::fs::create_dir_all(&cache).unwrap();
    let _lock = lock(&cache.join("machine-root.lock"));
    let (mirror, release) = mirror()?;
    let root = cache.join(format!("machine-root-{release}-{RECIPE}"));
    if root.exists() {
        return Ok(root);
    }
    // Whoever made it before, and did not come to an end, is gone: it would hold the lock.
    let unfinished = cache.join("machine-root.tmp");
    run(Command::new("rm").args(["--recursive", "--force", "--one-file-system"]).arg(&unfinished))?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), &release]);
    run(debootstrap.arg(&unfinished).arg(&mirror))?;
    std::fs::rename(&unfinished, &root).unwrap();
    Ok(root)
}

/// A folder that outlives clones of the repository.
pub(super) fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("data-runner-ci")
}

/// Where this machine's own apt takes its release from, and that release.
fn mirror() -> Result<(String, String), Skipped> {
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = system.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let release = release.ok_or_else(|| Skipped("this is neither Debian nor Ubuntu".into()))?.to_owned();
    if let Some(mirror) = mirror_of(&release)? {
        return Ok((mirror, release));
    }
    // It names only mirrors of which it has lists.
    programs::update()?;
    let mirror =
        mirror_of(&release)?.ok_or_else(|| Skipped(format!("apt-get knows no mirror of {release}")))?;
    Ok((mirror, release))
}

fn mirror_of(release: &str) -> Result<Option<String>, Skipped> {
    let mut ask = Command::new("apt-get");
    ask.args(["indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]);
    let said = ask.output().map_err(|error| Skipped(format!("apt-get does not run: {error}")))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    Ok(said.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        [site, codename, "main"] if codename == release => Some(site.to_owned()),
        _ => None,
    }))
}
