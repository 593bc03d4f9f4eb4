//! Checks of the source.

use std::collections::BTreeSet;

use anyhow::bail;

use crate::command::{cargo, output, run};

/// What core may not reach, directly or through others: whatever waits, reads or writes.
const IMPURE: [&str; 14] = [
    "tokio",
    "mio",
    "async-std",
    "smol",
    "sqlx",
    "sqlx-core",
    "libsqlite3-sys",
    "tonic",
    "hyper",
    "reqwest",
    "axum",
    "git2",
    "rustix",
    "aws-config",
];

/// Formatting and lints.
pub fn lint() -> anyhow::Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))
}

/// Programs that people start on their laptops, and that machines fetch while they boot: a cloud's SDK would cost them
/// minutes of compiling and megabytes.
const SMALL: [&str; 2] = ["data-runner-cli", "data-runner-agent"];

/// Core's purity: its dependencies here, its code by clippy's `disallowed-methods` (data-runner-core/clippy.toml). And
/// the programs that have to stay small.
pub fn purity() -> anyhow::Result<()> {
    let names = dependencies("data-runner-core")?;
    refuse("data-runner-core", &names, |name| IMPURE.contains(&name) || name.starts_with("aws-"))?;
    for package in SMALL {
        refuse(package, &dependencies(package)?, |name| {
            name.starts_with("aws-sdk-") || name == "aws-config"
        })?;
    }
    run(cargo().args([
        "clippy",
        "--package",
        "data-runner-core",
        "--lib",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    eprintln!("data-runner-core is pure: {} dependencies, none of them does IO", names.len() - 1);
    Ok(())
}

/// What a package is built from, itself included.
fn dependencies(package: &str) -> anyhow::Result<BTreeSet<String>> {
    let tree = ["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let tree = output(cargo().args(tree))?;
    Ok(tree.lines().filter_map(|line| line.split_whitespace().next()).map(ToOwned::to_owned).collect())
}

fn refuse(package: &str, names: &BTreeSet<String>, unwanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let found: Vec<&str> = names.iter().map(String::as_str).filter(|name| unwanted(name)).collect();
    if !found.is_empty() {
        bail!("{package} must not depend on {}", found.join(", "));
    }
    Ok(())
}

/// The documentation.
pub fn docs() -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["doc", "--workspace", "--no-deps", "--quiet"]);
    run(command.env("RUSTDOCFLAGS", "-D warnings"))
}
