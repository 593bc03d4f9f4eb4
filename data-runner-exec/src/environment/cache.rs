//! Environments by key: built once, used by many, and the longest unused ones removed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_runner_core::id::Sha256;
use rustix::fs::FlockOperation;

use super::{EnvironmentError, unfinished_name};

/// So many are kept.
const KEEP: usize = 24;
/// One that was asked for so recently may be about to be used.
const FRESH: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

/// The file that a job holds locked (shared) while it uses the environment that `program` lies in.
pub(crate) fn lease_of(program: &Path) -> Option<PathBuf> {
    let environment = program.ancestors().find(|folder| lock_file(folder).is_file())?;
    Some(lock_file(environment))
}

fn lock_file(environment: &Path) -> PathBuf {
    environment.with_extension("lock")
}

impl Cache {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The environment `key`; if it is not there, `build` makes it in the folder that it is given.
    pub(super) fn get(
        &self,
        key: &Sha256,
        build: impl FnOnce(&Path) -> Result<(), EnvironmentError>,
    ) -> Result<PathBuf, EnvironmentError> {
        let failed = |error| EnvironmentError::Machine("keeping environments", error);
        let environment = self.folder.join(key.as_str());
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let lock = File::create(lock_file(&environment)).map_err(failed)?;
        // When it was last asked for is what the lock's file says.
        lock.set_modified(SystemTime::now()).map_err(failed)?;
        if environment.is_dir() {
            return Ok(environment);
        }
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        if environment.is_dir() {
            return Ok(environment);
        }
        let unfinished = self.folder.join(unfinished_name());
        let built = build(&unfinished);
        if built.is_err() {
            // What is left of it has no name that anybody looks for.
            let _ = fs::remove_dir_all(&unfinished);
        }
        built?;
        fs::rename(&unfinished, &environment).map_err(failed)?;
        self.remove_unused().map_err(failed)?;
        Ok(environment)
    }

    fn remove_unused(&self) -> io::Result<()> {
        let mut known = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "lock")
                && path.with_extension("").is_dir()
            {
                known.push((fs::metadata(&path)?.modified()?, path));
            }
        }
        known.sort();
        let surplus = known.len().saturating_sub(KEEP);
        for (used, lock) in known.into_iter().take(surplus) {
            if used.elapsed().is_ok_and(|ago| ago > FRESH) {
                remove(&lock)?;
            }
        }
        Ok(())
    }
}

/// Removes the environment of `lock`, unless a job uses it.
fn remove(lock: &Path) -> io::Result<()> {
    let held = File::open(lock)?;
    match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let environment = lock.with_extension("");
    let going = environment.with_file_name(unfinished_name());
    fs::rename(&environment, &going)?;
    fs::remove_dir_all(going)?;
    fs::remove_file(lock)
}
