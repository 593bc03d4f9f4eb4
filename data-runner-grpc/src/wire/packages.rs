//! Which packages an environment has.

use std::sync::Arc;

use data_runner_core::workflow::{PackageChoice, PackageLock, PackageOrigin};

use super::proto;
use super::value::{FromWire, NotUnderstood};

impl From<&PackageLock> for proto::PackageLock {
    fn from(lock: &PackageLock) -> Self {
        use proto::locked_package::Origin;
        let package = |(name, origin): (&String, &PackageOrigin)| proto::LockedPackage {
            name: name.clone(),
            origin: Some(match origin {
                PackageOrigin::Version(version) => Origin::Version(version.clone()),
                PackageOrigin::Url(url) => Origin::Url(url.clone()),
            }),
        };
        let packages = lock.packages().iter().map(package).collect();
        Self { python: lock.python().map(ToOwned::to_owned), packages }
    }
}

impl FromWire<proto::PackageLock> for PackageLock {
    fn from_wire(wire: proto::PackageLock) -> Result<Self, NotUnderstood> {
        use proto::locked_package::Origin;
        let package = |package: proto::LockedPackage| {
            let origin = match package.origin.ok_or_else(|| NotUnderstood::missing("LockedPackage.origin"))? {
                Origin::Version(version) => PackageOrigin::Version(version),
                Origin::Url(url) => PackageOrigin::Url(url),
            };
            Ok((package.name, origin))
        };
        let packages = wire.packages.into_iter().map(package).collect::<Result<Vec<_>, NotUnderstood>>()?;
        Self::new(wire.python, packages).map_err(|error| NotUnderstood::new(format!("PackageLock: {error}")))
    }
}

/// What an Assign says of packages; nothing means the worker's own choice.
pub(super) fn choice(packages: &PackageChoice) -> Option<proto::PackageChoice> {
    use proto::package_choice::Kind;
    let kind = match packages {
        PackageChoice::Worker => return None,
        PackageChoice::Anew => Kind::Anew(proto::ResolveAnew {}),
        PackageChoice::Lock(lock) => Kind::Lock(lock.as_ref().into()),
    };
    Some(proto::PackageChoice { kind: Some(kind) })
}

/// The way back.
pub(super) fn read_choice(wire: Option<proto::PackageChoice>) -> Result<PackageChoice, NotUnderstood> {
    use proto::package_choice::Kind;
    let Some(wire) = wire else { return Ok(PackageChoice::Worker) };
    Ok(match wire.kind.ok_or_else(|| NotUnderstood::missing("PackageChoice.kind"))? {
        Kind::Anew(proto::ResolveAnew {}) => PackageChoice::Anew,
        Kind::Lock(lock) => PackageChoice::Lock(Arc::new(PackageLock::from_wire(lock)?)),
    })
}
