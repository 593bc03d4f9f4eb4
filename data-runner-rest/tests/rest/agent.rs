//! The agent's program, for machines that start.

use std::collections::BTreeMap;

use data_runner_core::id::Sha256;
use data_runner_core::workflow::Architecture;
use data_runner_rest::{AgentBinary, RouterOptions};
use data_runner_testkit::memory::store::MemoryStore;

use crate::fixture::Rest;

/// More than one piece of what is read at a time, and no multiple of it.
fn program() -> Vec<u8> {
    (0..700_001_u32).flat_map(|n| n.to_le_bytes().into_iter().take(1)).collect()
}

async fn serving(program: &[u8]) -> (Rest, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent");
    std::fs::write(&path, program).unwrap();
    let agents = BTreeMap::from([(Architecture::Arm64, AgentBinary::open(&path).unwrap())]);
    (Rest::over(MemoryStore::new(), RouterOptions { agents, ..RouterOptions::default() }).await, folder)
}

#[tokio::test]
async fn a_machine_gets_the_agent_of_its_architecture_with_its_hash() {
    let (rest, _folder) = serving(&program()).await;
    let answer = rest.get("/agent/arm64").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == program(), "to the byte");
    assert_eq!(answer.head["content-length"], program().len().to_string().as_str());
    let tag = format!("\"{}\"", Sha256::of(&program()));
    assert_eq!(answer.head["etag"], tag.as_str());
    for missing in ["/agent/x86_64", "/agent/mips"] {
        assert_eq!(rest.get(missing).await.code(), "agent_not_found", "{missing}");
    }

    let same = rest.ask("GET", "/agent/arm64", &[("if-none-match", &tag)], "").await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    let head = rest.ask("HEAD", "/agent/arm64", &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.head["content-length"], program().len().to_string().as_str());
}

#[tokio::test]
async fn a_package_that_replaces_the_program_spoils_no_download() {
    let (rest, folder) = serving(&program()).await;
    let path = folder.path().join("agent");
    std::fs::write(folder.path().join("new"), b"the next version").unwrap();
    std::fs::rename(folder.path().join("new"), &path).unwrap();
    assert!(rest.get("/agent/arm64").await.body == program());
}

#[tokio::test]
async fn a_crowd_of_machines_is_told_to_come_again_and_places_are_given_back() {
    let (rest, _folder) = serving(&program()).await;
    let mut open = Vec::new();
    let refused = loop {
        let response = rest.open("GET", "/agent/arm64", &[], "").await;
        match response.status().as_u16() {
            200 => open.push(response),
            _ => break response,
        }
        assert!(open.len() < 1000, "there is no end to it");
    };
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "5"));
    drop(open);
    // The places are given back by tasks of their own.
    for _ in 0..1000 {
        if rest.open("GET", "/agent/arm64", &[], "").await.status() == 200 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("no place was given back");
}
