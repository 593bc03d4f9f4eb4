//! Python environments, made by uv and reused by content.
//!
//! ```text
//! TOOLS/uv-0.13.9/          uv itself, where the machine has none
//! TOOLS/uv-cache/           what uv downloaded
//! TOOLS/locks/HASH.txt      what requirements were resolved to, once
//! TOOLS/environments/KEY/   an environment; its name is the hash of all that went into it
//! TOOLS/environments/KEY.lock   held while it is built, and shared by each job that uses it
//! ```
//!
//! Everything is made under another name and then renamed, so that what has its name is whole.

mod cache;
mod index;
mod python;
mod requirements;
mod uv;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_runner_core::execution::{Failure, FailureCause};
use data_runner_core::id::Sha256;
use data_runner_core::port::ExecuteError;
use data_runner_core::workflow::{PackageChoice, PackageLock};

pub(crate) use cache::lease_of;
pub use index::{IndexAuth, PackageIndex};
pub(crate) use requirements::{Requirements, hinting, wanted_by};

use crate::running::machine;
use cache::Cache;
use python::Pythons;
use uv::Uv;

/// The list of an environment's packages, in its folder.
const LIST: &str = "data-runner.packages.txt";

/// What an environment is made of beside its packages; changes when its folder holds other things of ours.
const FORM: &str = "2";

/// How environments are made.
#[derive(Debug, Clone)]
pub struct EnvironmentOptions {
    /// Where everything is kept. It may be shared by all agents of a machine.
    pub tools: PathBuf,
    /// The package index; `None`: what pip and uv are configured to use on this machine.
    pub index: Option<PackageIndex>,
    /// A uv to use; `None`: the one on PATH, else one is installed into `tools`.
    pub uv: Option<PathBuf>,
    /// Whether uv may download a Python that the machine does not have.
    pub download_python: bool,
}

impl EnvironmentOptions {
    /// Everything under `tools`, and otherwise as the machine is configured.
    /// `DATA_RUNNER_PYTHON_INDEX_URL` names another package index.
    pub fn new(tools: impl Into<PathBuf>) -> Self {
        let url = std::env::var("DATA_RUNNER_PYTHON_INDEX_URL").ok().filter(|url| !url.is_empty());
        let index = url.map(|url| PackageIndex { url, auth: None });
        Self { tools: tools.into(), index, uv: None, download_python: false }
    }
}

/// Makes environments and finds those that are made. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Environments(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    uv: Uv,
    pythons: Pythons,
    cache: Cache,
    locks: PathBuf,
}

/// An environment that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) folder: PathBuf,
    /// All packages, exactly, with hashes.
    pub(crate) lock: String,
    /// All packages, exactly, where another worker can have them again.
    pub(crate) packages: Option<Arc<PackageLock>>,
    pub(crate) notes: Vec<String>,
}

/// Whether what requirements were resolved to before counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// It does.
    Kept,
    /// They are resolved anew, and that is kept.
    Anew,
}

impl From<&PackageChoice> for Resolution {
    fn from(packages: &PackageChoice) -> Self {
        match packages {
            PackageChoice::Anew => Self::Anew,
            PackageChoice::Worker | PackageChoice::Lock(_) => Self::Kept,
        }
    }
}

impl Environment {
    pub(crate) fn python(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    /// The exact version of `package`.
    pub(crate) fn version_of(&self, package: &str) -> Option<&str> {
        let start = format!("{package}==");
        self.lock.lines().find_map(|line| line.strip_prefix(&start)?.split([' ', ';', '\\']).next())
    }

    /// A file of one of its packages.
    pub(crate) fn package_file(&self, path: &str) -> Option<PathBuf> {
        let libraries = fs::read_dir(self.folder.join("lib")).ok()?;
        libraries
            .flatten()
            .map(|python| python.path().join("site-packages").join(path))
            .find(|file| file.exists())
    }
}

/// Why an environment was not made.
#[derive(Debug)]
pub(crate) enum EnvironmentError {
    /// It cannot be made as it is asked for.
    Failed(Failure),
    /// The machine failed us.
    Machine(&'static str, io::Error),
}

impl From<Failure> for EnvironmentError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<EnvironmentError> for ExecuteError {
    fn from(error: EnvironmentError) -> Self {
        match error {
            EnvironmentError::Failed(failure) => Self::Failed(failure),
            EnvironmentError::Machine(doing, source) => machine(doing, source),
        }
    }
}

/// A failure of an environment.
pub(crate) fn failure(message: impl Into<String>) -> Failure {
    Failure::new(FailureCause::Environment, message)
}

impl Environments {
    /// Makes nothing yet.
    pub fn new(options: EnvironmentOptions) -> Self {
        Self(Arc::new(Inner {
            locks: options.tools.join("locks"),
            cache: Cache::new(options.tools.join("environments")),
            pythons: Pythons::default(),
            uv: Uv::new(options),
        }))
    }

    /// The environment for `requirements`, made if it is not there. It blocks: for milliseconds when it is there, for
    /// seconds when packages must be fetched.
    pub(crate) fn get(
        &self,
        requirements: &Requirements,
        python: Option<&str>,
        resolution: Resolution,
    ) -> Result<Environment, EnvironmentError> {
        let inner = &*self.0;
        let python = inner.pythons.find(python, &inner.uv)?;
        let lock = inner.lock(requirements, &python, resolution)?;
        let uv = inner.uv.version()?;
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        let parts = [FORM, &*lock, &python.path.to_string_lossy(), &python.version, &uv, &platform];
        let key = Sha256::of(parts.join("\0").as_bytes());
        let folder = inner.cache.get(&key, |unfinished| inner.build(unfinished, &lock, &python))?;
        let lock_hash = Sha256::of(lock.as_bytes());
        let mut notes = vec![
            format!("Python {}", python.version),
            format!("packages from {}", requirements.origin()),
            format!("lock sha256:{lock_hash}"),
        ];
        let list = fs::read_to_string(folder.join(LIST))
            .map_err(|error| EnvironmentError::Machine("reading the list of packages", error))?;
        let packages = match PackageLock::of_freeze(&python.version, &list) {
            Ok(packages) => Some(Arc::new(packages)),
            Err(error) => {
                notes.push(format!("a retry resolves its packages anew: {error}"));
                None
            }
        };
        Ok(Environment { folder, lock, packages, notes })
    }
}

impl Inner {
    /// All packages with versions and hashes. What was resolved once stays so, until it is to be resolved anew.
    fn lock(
        &self,
        requirements: &Requirements,
        python: &python::Python,
        resolution: Resolution,
    ) -> Result<String, EnvironmentError> {
        let asked = [requirements.identity(), &python.version, self.uv.index()].join("\0");
        let kept = self.locks.join(format!("{}.txt", Sha256::of(asked.as_bytes())));
        match (resolution, fs::read_to_string(&kept)) {
            (Resolution::Kept, Ok(lock)) => return Ok(lock),
            (Resolution::Kept, Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                return Err(EnvironmentError::Machine("reading a lock", error));
            }
            (Resolution::Kept, Err(_)) | (Resolution::Anew, _) => {}
        }
        let lock = self.uv.resolve(requirements, &python.path, resolution)?;
        write_whole(&kept, lock.as_bytes())
            .map_err(|error| EnvironmentError::Machine("keeping a lock", error))?;
        Ok(lock)
    }

    fn build(&self, folder: &Path, lock: &str, python: &python::Python) -> Result<(), EnvironmentError> {
        self.uv.make_environment(folder, &python.path)?;
        let list = folder.join("data-runner.lock.txt");
        fs::write(&list, lock).map_err(|error| EnvironmentError::Machine("writing a lock", error))?;
        self.uv.install(folder, &list)?;
        let packages = self.uv.list(folder)?;
        fs::write(folder.join(LIST), packages)
            .map_err(|error| EnvironmentError::Machine("writing the list of packages", error))
    }
}

/// Writes a file so that whoever finds it finds all of it.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let unfinished = folder.join(unfinished_name());
    fs::File::create(&unfinished)?.write_all(bytes)?;
    fs::rename(unfinished, path)
}

/// A name that nothing else has.
fn unfinished_name() -> String {
    format!(".tmp-{}", uuid::Uuid::new_v4())
}
