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

/// Core's purity: its dependencies here, its code by clippy's `disallowed-methods` (data-runner-core/clippy.toml).
pub fn purity() -> anyhow::Result<()> {
    let tree =
        ["tree", "--package", "data-runner-core", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let tree = output(cargo().args(tree))?;
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let found: Vec<&str> =
        names.iter().copied().filter(|name| IMPURE.contains(name) || name.starts_with("aws-")).collect();
    if !found.is_empty() {
        bail!("data-runner-core must not depend on {}", found.join(", "));
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

/// The documentation.
pub fn docs() -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["doc", "--workspace", "--no-deps", "--quiet"]);
    run(command.env("RUSTDOCFLAGS", "-D warnings"))
}
