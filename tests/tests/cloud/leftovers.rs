//! What a killed test leaves behind.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use data_runner_tests::{Installation, Sandbox, is_alive, until};

use crate::{cloud_or_skip, launch};

/// Where the test that is killed says what it has.
const VARIABLE: &str = "DATA_RUNNER_TEST_LEFTOVERS";

/// Not a test: what the next one kills.
#[tokio::test]
async fn a_cloud_that_is_left_behind() {
    let Some(file) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return };
    let cloud = cloud_or_skip!();
    let id = launch(&cloud.mock, b"#!/bin/sh\necho up\nsleep 600\n", &[]).await;
    cloud.shows(&id, "up\n").await;
    let namespace = cloud.namespace(&id);
    let pids = Command::new("ip").args(["netns", "pids", &namespace]).output().unwrap().stdout;
    let pids = String::from_utf8(pids).unwrap().replace('\n', " ");
    let sandbox = Sandbox::new();
    let installation = Installation::start(&sandbox, &cloud, "").await;
    let pids = format!("{pids}{}", installation.program.pid());
    std::fs::write(file.with_extension("tmp"), format!("{namespace} {pids}")).unwrap();
    std::fs::rename(file.with_extension("tmp"), file).unwrap();
    std::future::pending().await
}

#[tokio::test]
async fn machines_and_supervisors_die_with_their_test_and_the_next_one_clears_what_is_left() {
    // Nothing to see where there are no clouds.
    drop(cloud_or_skip!());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("left");
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "leftovers::a_cloud_that_is_left_behind"])
        .env(VARIABLE, &file)
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let said = until("a cloud to be left behind", async || std::fs::read_to_string(&file).ok()).await;
    test.kill().unwrap();
    test.wait().unwrap();

    let mut said = said.split_whitespace();
    let namespace = PathBuf::from("/run/netns").join(said.next().unwrap());
    let pids: Vec<i32> = said.map(|pid| pid.parse().unwrap()).collect();
    assert!(!pids.is_empty());
    for pid in pids {
        until("a machine or supervisor to die with its test", async || (!is_alive(pid)).then_some(())).await;
    }
    assert!(namespace.exists(), "nobody was there to remove it");
    drop(cloud_or_skip!());
    assert!(!namespace.exists());
}
