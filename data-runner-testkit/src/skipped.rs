//! Tests that cannot run here.

use std::fmt::Display;
use std::io::Write as _;

/// Names a file that gets a line for each skipped test; `cargo xtask test` sets it, and lists them at the end.
pub const SKIPPED_FILE: &str = "DATA_RUNNER_SKIPPED";

/// Says that the running test does not show what its name promises, and why. The test is to return then.
///
/// The runner keeps what a passed test prints to itself and counts it as passed; so that nobody believes it, a line goes
/// to the file in [`SKIPPED_FILE`], if that is set: program, test and reason, with tabs between them.
///
/// # Panics
/// If that file cannot be written.
pub fn skipped(why: impl Display) {
    let why = why.to_string();
    eprintln!("skipped: {why}");
    let Some(file) = std::env::var_os(SKIPPED_FILE) else { return };
    // The runner names threads after their tests.
    let thread = std::thread::current();
    let program = std::env::current_exe().unwrap();
    let program = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // Without the hash that cargo appends.
    let program = program.rsplit_once('-').map_or(program.as_str(), |(name, _)| name);
    let line = format!("{program}\t{}\t{}\n", thread.name().unwrap_or("a test"), one_line(&why));
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    // At once, since many tests write there.
    file.write_all(line.as_bytes()).unwrap();
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
