//! The packages of an execution's environment, as REST shows them.

use data_runner_core::workflow::{PackageLock, PackageOrigin};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The packages of an execution's environment, exactly: what its further attempts and a retry have too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lock {
    /// The version of Python; null where no Python runs the job.
    pub python: Option<String>,
    /// The packages, by name.
    pub packages: Vec<LockedPackage>,
}

/// A package, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version, if it is of the package index.
    pub version: Option<String>,
    /// Where it lies, if it is not.
    pub url: Option<String>,
}

impl From<&PackageLock> for Lock {
    fn from(lock: &PackageLock) -> Self {
        let package = |(name, origin): (&String, &PackageOrigin)| {
            let (version, url) = match origin {
                PackageOrigin::Version(version) => (Some(version.clone()), None),
                PackageOrigin::Url(url) => (None, Some(url.clone())),
            };
            LockedPackage { name: name.clone(), version, url }
        };
        let packages = lock.packages().iter().map(package).collect();
        Self { python: lock.python().map(ToOwned::to_owned), packages }
    }
}
