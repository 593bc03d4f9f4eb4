//! Packages: where they come from, and which of them a run has again.

use data_runner_testkit::packages::Packages;
use data_runner_tests::{Repository, Rest, Sandbox, Server, cli, polars, until, workflow};
use serde_json::json;

const MEMBER: &str = "me:correct horse/battery:staple";
const SCRIPT: &str = "import tiny\nprint(tiny.VERSION)\n";

/// An index for members only, with what a job needs.
fn index() -> Packages {
    let index = Packages::start().for_members(MEMBER);
    index.publish("polars", "2.1.0");
    index.publish("tiny", "1.0");
    index
}

/// A supervisor whose workers use that index with the credentials in a variable of theirs.
async fn server<'a>(sandbox: &'a Sandbox, index: &Packages, credentials: &str) -> Server<'a> {
    has_uv().await;
    let config = polars("dependencies: {requirements: [tiny]}\n");
    let repository = Repository::with(sandbox.join("etl"), [workflow("job", &config, SCRIPT)]);
    let settings = format!(
        "repositories:\n  - {{name: etl, url: \"{}\", ref: main}}\npython: {{index_url: \"{}\", index_auth: env://PYPI}}\n",
        repository.url(),
        index.url(),
    );
    let server = Server::supervisor_with(sandbox, &settings, &[("PYPI", credentials)]).await;
    let rest = &server.rest;
    until("the workflow", async || (rest.get("/workflows/etl/job").await.status == 200).then_some(())).await;
    server
}

/// The test's own index has no uv: it is installed from where the machine's packages come from.
async fn has_uv() {
    let sandbox = Sandbox::new();
    let config = polars("");
    let repository = Repository::with(sandbox.join("etl"), [workflow("say", &config, "print('uv')\n")]);
    let server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    let id = server.rest.execute("say", json!({})).await;
    server.rest.succeeded(&id).await;
}

async fn again(rest: &Rest, how: &str, id: &str) -> String {
    let answer = rest.post(&format!("/executions/{id}/{how}"), json!({})).await.ok();
    answer["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_retry_has_the_packages_that_were_and_a_rerun_those_that_are() {
    let (sandbox, index) = (Sandbox::new(), index());
    let server = server(&sandbox, &index, MEMBER).await;
    let rest = &server.rest;
    let first = rest.execute("job", json!({})).await;
    rest.succeeded(&first).await;
    index.publish("tiny", "1.1");

    let rerun = again(rest, "rerun", &first).await;
    rest.succeeded(&rerun).await;
    // What this worker resolves by now is the newer one.
    let retry = again(rest, "retry", &first).await;
    rest.succeeded(&retry).await;
    for (id, version) in [(&first, "1.0"), (&rerun, "1.1"), (&retry, "1.0")] {
        assert_eq!(rest.log(id, "").await, format!("{version}\n").into_bytes());
        let lock = rest.get(&format!("/executions/{id}/lock")).await.ok();
        let tiny = json!({"name": "tiny", "version": version, "url": null});
        assert!(lock["packages"].as_array().unwrap().contains(&tiny), "{lock:#}");
    }
    let shown = cli(&sandbox, Some(&rest.address), &["show", &first, "--lock"]).await;
    assert!(shown.text().starts_with("# Python 3.") && shown.text().ends_with("tiny==1.0\n"), "{shown:?}");
    let differs = cli(&sandbox, Some(&rest.address), &["diff", &first, &rerun]).await;
    assert!(differs.text().contains("packages") && differs.text().contains("1.1"), "{differs:?}");
    let differs = rest.get(&format!("/executions/{first}/diff?with={rerun}")).await.ok();
    let newer = json!([{"pointer": "/packages/tiny", "from": "1.0", "to": "1.1"}]);
    assert_eq!(differs["changes"], newer, "{differs:#}");
    let same = rest.get(&format!("/executions/{first}/diff?with={retry}")).await.ok();
    assert_eq!(same["changes"], json!([]), "{same:#}");
}

#[tokio::test]
async fn credentials_that_an_index_refuses_fail_the_environment_and_are_told_to_nobody() {
    let (sandbox, index) = (Sandbox::new(), index());
    let server = server(&sandbox, &index, "me:hunter2hunter2").await;
    let id = server.rest.execute("job", json!({})).await;
    let ended = server.rest.ended(&id).await;
    assert_eq!((&ended["state"], &ended["failure"]["cause"]), (&json!("failed"), &json!("environment")));
    let failure = ended["failure"].to_string();
    assert!(failure.contains("401") && failure.contains("env://PYPI"), "{failure}");
    for shown in [ended.to_string(), server.program.said(), agents_said(&sandbox)] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

/// Everything that the agents wrote into their logs.
fn agents_said(sandbox: &Sandbox) -> String {
    let folders = std::fs::read_dir(sandbox.join("state/agents")).unwrap().flatten();
    let logs: Vec<String> =
        folders.filter_map(|folder| std::fs::read_to_string(folder.path().join("agent.log")).ok()).collect();
    assert!(!logs.is_empty());
    logs.join("\n")
}
