//! Which packages a job's environment held, exactly, and which it shall hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Where the exact packages of a job's environment come from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "from", content = "lock", rename_all = "snake_case")]
pub enum PackageChoice {
    /// What its worker resolved the same requirements to before; if it has not, that is done now.
    #[default]
    Worker,
    /// The requirements are resolved anew, whatever the worker knows.
    Anew,
    /// Exactly these, which an earlier attempt had.
    Lock(Arc<PackageLock>),
}

/// All packages of an environment, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PackageLock {
    python: Option<String>,
    packages: BTreeMap<String, PackageOrigin>,
}

/// Which release of a package it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageOrigin {
    /// This version of the package index.
    Version(String),
    /// What lies at this address.
    Url(String),
}

/// Why something is no lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockRefused {
    /// It would be more than is kept.
    #[error("the packages and versions take more than {} KiB", PackageLock::MOST_BYTES >> 10)]
    TooLarge,
    /// A package comes from a file of one machine.
    #[error("the package {name} comes from a file of the worker")]
    LocalFile {
        /// Its name.
        name: String,
    },
    /// Not a package with an exact version or an address.
    #[error("{0:?} is no package with an exact version")]
    NotExact(String),
}

impl PackageLock {
    /// The most bytes of names, versions and addresses that a lock may have.
    pub const MOST_BYTES: usize = 64 << 10;

    /// Reads the list of an environment's packages as `pip freeze` writes it: `NAME==VERSION` or `NAME @ URL` a line.
    /// `python` is the version of the interpreter.
    pub fn of_freeze(python: &str, list: &str) -> Result<Self, LockRefused> {
        let packages = list.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
            let version =
                line.split_once("==").map(|(name, it)| (name, PackageOrigin::Version(it.to_owned())));
            let url = || line.split_once(" @ ").map(|(name, it)| (name, PackageOrigin::Url(it.to_owned())));
            let (name, origin) =
                version.or_else(url).ok_or_else(|| LockRefused::NotExact(line.to_owned()))?;
            Ok((name.to_owned(), origin))
        });
        let packages = packages.collect::<Result<Vec<_>, LockRefused>>()?;
        Self::new(Some(python.to_owned()), packages)
    }

    /// These packages. Whatever could be anything else in a list of requirements is refused.
    pub fn new(
        python: Option<String>,
        packages: impl IntoIterator<Item = (String, PackageOrigin)>,
    ) -> Result<Self, LockRefused> {
        let mut this = Self { python: None, packages: BTreeMap::new() };
        let mut bytes = 0;
        for (name, origin) in packages {
            origin.check(&name)?;
            bytes += name.len() + origin.text().len();
            if bytes > Self::MOST_BYTES {
                return Err(LockRefused::TooLarge);
            }
            this.packages.insert(name, origin);
        }
        match python {
            Some(version) if !is_word(&version, b".+-_") => Err(LockRefused::NotExact(version)),
            python => Ok(Self { python, ..this }),
        }
    }

    /// The version of Python, if a Python runs the job.
    pub fn python(&self) -> Option<&str> {
        self.python.as_deref()
    }

    /// The version of Python as a workflow asks for it: `3.12`.
    pub fn python_series(&self) -> Option<String> {
        let mut numbers = self.python()?.split('.');
        Some(format!("{}.{}", numbers.next()?, numbers.next()?))
    }

    /// The packages by name.
    pub const fn packages(&self) -> &BTreeMap<String, PackageOrigin> {
        &self.packages
    }

    /// The exact version of a package of the index.
    pub fn version_of(&self, package: &str) -> Option<&str> {
        match self.packages.get(package)? {
            PackageOrigin::Version(version) => Some(version),
            PackageOrigin::Url(_) => None,
        }
    }

    /// The same for a job that no Python runs.
    #[must_use]
    pub fn without_python(&self) -> Self {
        Self { python: None, packages: self.packages.clone() }
    }

    /// One requirement a line, as pip and uv take them.
    pub fn requirements(&self) -> String {
        let mut lines = String::new();
        for (name, origin) in &self.packages {
            // Writing into a String cannot fail.
            let _ = match origin {
                PackageOrigin::Version(version) => writeln!(lines, "{name}=={version}"),
                PackageOrigin::Url(url) => writeln!(lines, "{name} @ {url}"),
            };
        }
        lines
    }
}

impl PackageOrigin {
    /// The version or the address.
    pub fn text(&self) -> &str {
        match self {
            Self::Version(text) | Self::Url(text) => text,
        }
    }

    fn check(&self, name: &str) -> Result<(), LockRefused> {
        let not_exact = || LockRefused::NotExact(format!("{name} {}", self.text()));
        if !is_word(name, b"._-") {
            return Err(not_exact());
        }
        match self {
            Self::Version(version) if is_word(version, b".+!-_") => Ok(()),
            Self::Url(url) if url.starts_with("file:") => {
                Err(LockRefused::LocalFile { name: name.to_owned() })
            }
            Self::Url(url) if url.contains("://") && url.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(())
            }
            Self::Version(_) | Self::Url(_) => Err(not_exact()),
        }
    }
}

/// Begins with a letter or digit, and has no others than those and `also`.
fn is_word(text: &str, also: &[u8]) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LIST: &str = "polars==2.1.0\ntiny @ git+https://git.example.org/tiny@3f2c1ab\ntorch==2.9.0+cpu\n";

    #[test]
    fn a_list_of_packages_reads_back_as_the_requirements_that_make_it() {
        let lock = PackageLock::of_freeze("3.12.4", LIST).unwrap();
        assert_eq!(lock.requirements(), LIST);
        assert_eq!((lock.python(), lock.python_series().as_deref()), (Some("3.12.4"), Some("3.12")));
        assert_eq!((lock.version_of("polars"), lock.version_of("tiny")), (Some("2.1.0"), None));
        let text = serde_json::to_string(&PackageChoice::Lock(Arc::new(lock.clone()))).unwrap();
        assert_eq!(
            serde_json::from_str::<PackageChoice>(&text).unwrap(),
            PackageChoice::Lock(Arc::new(lock))
        );
    }

    #[test]
    fn what_would_be_something_else_in_a_list_of_requirements_is_no_lock() {
        let version = |version: &str| PackageOrigin::Version(version.to_owned());
        let url = |url: &str| PackageOrigin::Url(url.to_owned());
        for (name, origin) in [
            ("--index-url", version("1")),
            ("tiny", version("1\n--index-url=https://evil")),
            ("tiny", version("1 ; extra")),
            ("tiny", url("https://a b")),
            ("tiny", url("-e .")),
            ("", version("1")),
        ] {
            let refused = PackageLock::new(None, [(name.to_owned(), origin)]);
            assert!(matches!(refused, Err(LockRefused::NotExact(_))), "{name} {refused:?}");
        }
        let local = PackageLock::of_freeze("3.12.4", "lib @ file:///runs/1/code/lib\n");
        assert_eq!(local, Err(LockRefused::LocalFile { name: "lib".to_owned() }));
        assert!(PackageLock::of_freeze("3.12.4", "-e /somewhere\n").is_err());
    }

    #[test]
    fn a_lock_has_bounds() {
        let long = (0..10_000).map(|n| (format!("package-{n}"), PackageOrigin::Version("1.0".to_owned())));
        assert_eq!(PackageLock::new(None, long), Err(LockRefused::TooLarge));
    }
}
