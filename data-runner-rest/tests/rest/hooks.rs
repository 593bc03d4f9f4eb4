//! Webhooks that come in.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use data_runner_core::port::{SecretError, SecretResolver, SecretValue};
use data_runner_core::workflow::SecretRef;
use data_runner_rest::{Hooks, RouterOptions};
use data_runner_testkit::memory::store::MemoryStore;
use data_runner_testkit::skipped;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;

use crate::fixture::{Answer, PATIENCE, Rest, SIMPLE, URL, files};

const SECRET: &str = "hunter2";
const URLS: &str =
    r#""clone_url": "https://git.example.com/acme/etl.git", "ssh_url": "git@git.example.com:acme/etl.git""#;

/// Knows the secret of every reference but one.
struct Secrets;

#[async_trait]
impl SecretResolver for Secrets {
    async fn resolve(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        match reference.to_string().as_str() {
            "env://AWAY" => Err(SecretError::NotFound { reference: reference.clone() }),
            "env://SIGNING" => Ok(SecretValue::new(format!("whsec_{}", encoded(b"signing key")))),
            "env://EMPTY" => Ok(SecretValue::new(String::new())),
            _ => Ok(SecretValue::new(SECRET.to_owned())),
        }
    }
}

fn encoded(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A server with the workflow `etl/orders` that takes webhooks.
async fn house(github: &[&str], gitlab: &[&str]) -> Rest {
    let references =
        |given: &[&str]| given.iter().map(|text| text.parse().unwrap()).collect::<Vec<SecretRef>>();
    let hooks = Hooks::new(references(github), references(gitlab), Arc::new(Secrets));
    let options = RouterOptions { hooks: Some(Arc::new(hooks)), ..RouterOptions::default() };
    let rest = Rest::over(MemoryStore::new(), options).await;
    rest.source.publish("main", files(&[("orders", SIMPLE)]));
    let answer = rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "main"}}"#)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    rest
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn signature(body: &str) -> String {
    format!("sha256={}", hex::encode(mac(SECRET.as_bytes(), body)))
}

/// Sends as GitHub does.
async fn github(rest: &Rest, event: &str, id: &str, body: &str) -> Answer {
    github_signed(rest, event, id, body, &signature(body)).await
}

async fn github_signed(rest: &Rest, event: &str, id: &str, body: &str, signature: &str) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", event),
        ("x-github-delivery", id),
        ("x-hub-signature-256", signature),
    ];
    rest.ask("POST", "/hooks/github", &headers, body).await
}

/// A push in the shape that GitHub documents; `n` makes it another one.
fn push(n: u32) -> String {
    format!(
        r#"{{"ref": "refs/heads/main", "after": "{n:040}", "repository": {{"id": 1, "full_name": "acme/etl", {URLS}}}}}"#
    )
}

fn outcome(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["outcome"].as_str().unwrap_or_default().to_owned())
}

/// Waits until the workflow is at this revision.
async fn seen(rest: &Rest, revision: &str) {
    let looking = async {
        while rest.get("/workflows/orders").await.json()["revision"] != revision {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("the push is seen");
}

fn changed(n: u32) -> data_runner_testkit::memory::workflow_source::RepoFiles {
    files(&[("orders", &format!("{SIMPLE}owner: me-{n}\n"))])
}

#[tokio::test]
async fn a_push_of_github_is_seen_at_once() {
    let rest = house(&["env://OLD", "env://NEW"], &[]).await;
    let pushed = rest.source.publish("main", changed(1));
    let answer = github(&rest, "push", "d1", &push(1)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let expected = json!({"outcome": "looking", "message": "looking at etl", "repos": ["etl"]});
    assert_eq!(answer.json(), expected);
    seen(&rest, pushed.as_str()).await;
    let handle = rest.handle();
    let query = data_runner_core::port::EventQuery { limit: 100, ..Default::default() };
    let told = handle.catalog().events(query).await.unwrap();
    let told = told.iter().filter(|event| event.record.message == "github told of a push to repository etl");
    assert_eq!(told.count(), 1);
}

#[tokio::test]
async fn a_push_of_gitlab_is_seen_at_once_by_its_token_or_its_signature() {
    let rest = house(&[], &["env://TOKEN", "env://SIGNING"]).await;
    let body = r#"{"object_kind": "push", "ref": "refs/heads/main", "project": {"id": 15, "git_http_url": "https://git.example.com/acme/etl.git", "git_ssh_url": "git@git.example.com:acme/etl.git"}}"#;
    let pushed = rest.source.publish("main", changed(1));
    let event = ("x-gitlab-event", "Push Hook");
    let token = [event, ("x-gitlab-token", SECRET), ("x-gitlab-event-uuid", "u1")];
    assert_eq!(outcome(&rest.ask("POST", "/hooks/gitlab", &token, body).await), (202, "looking".to_owned()));
    seen(&rest, pushed.as_str()).await;
    assert_eq!(outcome(&rest.ask("POST", "/hooks/gitlab", &token, body).await), (200, "repeated".to_owned()));

    let pushed = rest.source.publish("main", changed(2));
    let now = jiff::Timestamp::now().as_second().to_string();
    let signature = format!("v1,{}", encoded(&mac(b"signing key", &format!("m1.{now}.{body}"))));
    let signed =
        [event, ("webhook-id", "m1"), ("webhook-timestamp", &now), ("webhook-signature", &signature)];
    assert_eq!(outcome(&rest.ask("POST", "/hooks/gitlab", &signed, body).await), (202, "looking".to_owned()));
    seen(&rest, pushed.as_str()).await;
    let other = signed.map(|(name, value)| (name, if name == "webhook-id" { "m2" } else { value }));
    let answer = rest.ask("POST", "/hooks/gitlab", &other, body).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "signature_refused"));
}

/// Invariant I10.
#[tokio::test]
async fn a_delivery_that_is_replayed_does_nothing_under_whatever_id() {
    let rest = house(&["env://S"], &[]).await;
    assert_eq!(outcome(&github(&rest, "push", "d1", &push(1)).await), (202, "looking".to_owned()));
    for (id, body) in [("d1", push(1)), ("d1", push(2)), ("d2", push(1))] {
        let answer = github(&rest, "push", id, &body).await;
        assert_eq!(outcome(&answer), (200, "repeated".to_owned()), "{id}");
        assert_eq!(answer.json()["repos"], json!([]));
    }
    assert_eq!(outcome(&github(&rest, "push", "d2", &push(2)).await), (202, "looking".to_owned()));
}

#[tokio::test]
async fn what_is_not_signed_with_the_secret_is_refused_before_it_is_read() {
    let rest = house(&["env://S", "env://EMPTY"], &[]).await;
    let body = push(1);
    let tampered = format!("{body} ");
    let of_nothing = format!("sha256={}", hex::encode(mac(b"", &body)));
    for (body, signature) in [
        (body.as_str(), "sha256=0000"),
        (&body, ""),
        (&body, &of_nothing),
        (&tampered, &signature(&body)),
        ("not even JSON", "sha256=00"),
    ] {
        let answer = github_signed(&rest, "push", "d1", body, signature).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "signature_refused"), "{signature}");
        assert!(!answer.text().contains("acme"), "nothing of what is here is told");
    }
    let other_sender = rest.ask("POST", "/hooks/gitlab", &[("x-gitlab-token", "")], &body).await;
    assert_eq!(other_sender.code(), "signature_refused", "no secret is configured for it");
    let closed = Rest::start().await;
    assert_eq!(github(&closed, "push", "d1", &body).await.code(), "signature_refused");
    assert_eq!(outcome(&github(&rest, "push", "d1", &body).await).0, 202, "the id is not used up by others");
}

#[tokio::test]
async fn other_events_are_ignored_and_a_ping_is_answered() {
    let rest = house(&["env://S"], &[]).await;
    assert_eq!(
        outcome(&github(&rest, "ping", "d1", r#"{"zen": "…", "hook_id": 1}"#).await),
        (200, "pong".to_owned())
    );
    for event in ["issues", "create", "workflow_run"] {
        let answer = github(&rest, event, event, r#"{"action": "opened"}"#).await;
        assert_eq!(outcome(&answer), (200, "ignored".to_owned()));
        assert!(answer.json()["message"].as_str().unwrap().contains(event));
    }
}

#[tokio::test]
async fn a_huge_body_is_refused_and_a_large_one_is_not() {
    let rest = house(&["env://S"], &[]).await;
    let padded = |bytes: usize| push(1).replace(r#""id": 1"#, &format!(r#""id": "{}""#, "x".repeat(bytes)));
    let huge = padded(5 << 20);
    let answer = github(&rest, "push", "d1", &huge).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    let claimed = [("content-length", "99999999999")];
    assert_eq!(rest.ask("POST", "/hooks/github", &claimed, "").await.status, 413);
    assert_eq!(outcome(&github(&rest, "push", "d2", &padded(4 << 20)).await).0, 202);
}

#[tokio::test]
async fn a_push_to_a_repository_that_is_not_here_is_told_to_who_signed_it() {
    let rest = house(&["env://S"], &[]).await;
    let elsewhere = push(1).replace("acme/etl", "acme/elsewhere");
    let answer = github(&rest, "push", "d1", &elsewhere).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "repo_not_found"));
    assert!(answer.text().contains("https://git.example.com/acme/elsewhere.git"), "{}", answer.text());
    for (body, id) in [("[]", "d2"), (r#"{"repository": {}}"#, "d3"), ("", "d4")] {
        assert_eq!(github(&rest, "push", id, body).await.code(), "malformed_request", "{body}");
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_is_not_the_senders_fault() {
    let rest = house(&["env://AWAY"], &[]).await;
    let answer = github(&rest, "push", "d1", &push(1)).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
    assert!(!answer.text().contains("AWAY"), "{}", answer.text());
}

/// GitHub's own samples, as its makers publish them for npm; `None` where npm is not there.
fn samples() -> Option<Vec<serde_json::Value>> {
    const PACKAGE: &str = "@octokit/webhooks-examples@7.6.1";
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("webhooks-examples");
    let file = folder.join("package/api.github.com/index.json");
    if !file.is_file() {
        std::fs::create_dir_all(&folder).unwrap();
        let mut npm = Command::new("npm");
        npm.args(["pack", "--silent", PACKAGE, "--pack-destination"]).arg(&folder);
        match npm.output() {
            Ok(output) if output.status.success() => {
                let name = String::from_utf8(output.stdout).unwrap();
                let archive = folder.join(name.trim());
                let status = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&folder).status();
                assert!(status.unwrap().success());
            }
            Ok(output) => {
                eprintln!(
                    "skipped: npm did not fetch {PACKAGE}: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                return None;
            }
            Err(error) => {
                skipped(format_args!("{PACKAGE} is fetched by npm, which cannot be run: {error}"));
                return None;
            }
        }
    }
    Some(serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
}

#[tokio::test]
async fn githubs_own_samples_are_understood_each_of_its_events() {
    let Some(samples) = samples() else { return };
    let rest = house(&["env://S"], &[]).await;
    rest.source.publish("main", changed(1));
    let mut pushes = 0;
    for event in &samples {
        let name = event["name"].as_str().unwrap();
        for (n, example) in event["examples"].as_array().unwrap().iter().enumerate() {
            let body = example.to_string();
            let id = format!("{name}-{n}");
            let answer = github(&rest, name, &id, &body).await;
            match name {
                "push" => {
                    pushes += 1;
                    let url = example["repository"]["clone_url"].as_str().unwrap();
                    assert_eq!(answer.code(), "repo_not_found");
                    assert!(answer.text().contains(url), "{}", answer.text());
                    let of_ours = body.replace(url, URL);
                    let answer = github(&rest, name, &format!("{id}-ours"), &of_ours).await;
                    assert_eq!(outcome(&answer), (202, "looking".to_owned()), "{}", answer.text());
                }
                "ping" => assert_eq!(outcome(&answer), (200, "pong".to_owned())),
                _ => assert_eq!(outcome(&answer), (200, "ignored".to_owned()), "{name}"),
            }
        }
    }
    assert!(pushes > 0 && samples.len() > 20);
}
