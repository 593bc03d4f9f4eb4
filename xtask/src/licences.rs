//! The licence of every dependency.

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::command::{cargo, output, root};

/// What we may ship: permissive licences, and no others.
const ALLOWED: [&str; 13] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "0BSD",
    "BSL-1.0",
    "Unlicense",
    "CDLA-Permissive-2.0",
];

/// C code that a crate brings under a licence which its own metadata does not name; NOTICE must name each.
const BUNDLED: [(&str, &str); 3] =
    [("libgit2-sys", "libgit2"), ("openssl-src", "OpenSSL"), ("libsqlite3-sys", "SQLite")];

/// Every package that the lock file names has a licence that we may ship.
pub fn check() -> anyhow::Result<()> {
    let metadata = output(cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let notice = std::fs::read_to_string(root().join("NOTICE")).context("NOTICE cannot be read")?;
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let version = package["version"].as_str().unwrap_or_default();
        match package["license"].as_str() {
            None => wrong.push(format!("{name} {version} names no licence")),
            Some(licence) if !is_allowed(licence)? => wrong.push(format!("{name} {version}: {licence}")),
            Some(_) => {}
        }
        if let Some((_, bundled)) = BUNDLED.iter().find(|(crate_name, _)| *crate_name == name)
            && !notice.contains(bundled)
        {
            wrong.push(format!("NOTICE does not name {bundled}, which {name} brings"));
        }
    }
    if !wrong.is_empty() {
        bail!("licences:\n  {}", wrong.join("\n  "));
    }
    eprintln!("the licences of {} packages are permissive", packages.len());
    Ok(())
}

fn is_allowed(licence: &str) -> anyhow::Result<bool> {
    let parsed = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX)
        .with_context(|| format!("{licence:?} is no SPDX expression"))?;
    Ok(parsed.evaluate(|requirement| requirement.license.id().is_some_and(|id| ALLOWED.contains(&id.name))))
}
