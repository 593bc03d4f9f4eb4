//! Files that jobs leave: kept, listed, downloaded to the byte, and gone when their time is over.

use std::path::{Path, PathBuf};

use data_runner_tests::{Repository, Sandbox, Server, cli, polars, until, workflow};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

const CONFIG: &str = "
params:
  code: {type: int, default: 0}
  megabytes: {type: int, default: 0}
artifacts:
  - {name: report, path: out/*.csv}
  - {name: deep, path: out/**/*.bin, retain: 1h}
";

const SCRIPT: &str = r#"
import json, os, sys
params = json.loads(os.environ["DATA_RUNNER_PARAMS"])
os.makedirs("out/x/y")
open("out/a.csv", "w").write("a,b\n1,2\n")
open("out/größe 1.csv", "w").write("größe\n")
open("out/not.txt", "w").write("no")
os.symlink("/etc/hostname", "out/host.csv")
with open("out/x/y/large.bin", "wb") as file:
    for i in range(params["megabytes"]):
        file.write(bytes([i % 251]) * (1 << 20))
sys.exit(params["code"])
"#;

fn repository(sandbox: &Sandbox) -> Repository {
    Repository::with(sandbox.join("etl"), [workflow("job", &polars(CONFIG), SCRIPT)])
}

fn large(megabytes: usize) -> Vec<u8> {
    (0..megabytes).flat_map(|i| vec![u8::try_from(i % 251).unwrap(); 1 << 20]).collect()
}

/// What is kept of an execution: name, path and length.
async fn kept(server: &Server<'_>, id: &str) -> Vec<(String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let listed = server.rest.get(&format!("/executions/{id}/artifacts")).await.ok();
    let items = listed["items"].as_array().unwrap().iter();
    items.map(|it| (text(&it["name"]), text(&it["path"]), it["bytes"].as_u64().unwrap())).collect()
}

async fn ids(server: &Server<'_>, id: &str) -> Vec<String> {
    let listed = server.rest.get(&format!("/executions/{id}/artifacts")).await.ok();
    listed["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

fn expected(megabytes: u64) -> Vec<(String, String, u64)> {
    let file = |name: &str, path: &str, bytes| (name.to_owned(), path.to_owned(), bytes);
    vec![
        file("deep", "out/x/y/large.bin", megabytes << 20),
        file("report", "out/a.csv", 8),
        file("report", "out/größe 1.csv", 8),
    ]
}

/// The files in the store of artifacts, those that are not whole too.
fn stored(server: &Server<'_>) -> Vec<PathBuf> {
    let root = server.database().parent().unwrap().join("artifacts");
    let folder = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|it| it.path());
    folder(&root).flat_map(|shard| folder(&shard).collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn what_a_job_left_is_listed_and_downloaded_to_the_byte_also_of_one_that_failed() {
    let sandbox = Sandbox::new();
    let repository = repository(&sandbox);
    let server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    let address = server.rest.address.clone();
    let run = async |arguments: &[&str]| cli(&sandbox, Some(&address), arguments).await;
    for code in [0, 3] {
        let id = server.rest.execute("job", json!({"code": code, "megabytes": 3})).await;
        let ended = server.rest.ended(&id).await;
        assert_eq!(ended["exit_code"], code, "{ended:#}");
        let warning = ended["warnings"][0].as_str().unwrap_or_default();
        assert!(warning.contains("1 link that"), "{ended:#}");
        assert_eq!(kept(&server, &id).await, expected(3));
        let [large_id, csv, umlaut] = &ids(&server, &id).await[..] else { panic!("three") };
        let answer = server.rest.get(&format!("/artifacts/{csv}")).await;
        assert_eq!((answer.text().as_str(), answer.header("content-length")), ("a,b\n1,2\n", "8"));
        assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
        let umlaut = server.rest.get(&format!("/artifacts/{umlaut}")).await;
        let disposition = umlaut.header("content-disposition");
        assert!(disposition.ends_with("filename*=UTF-8''gr%C3%B6%C3%9Fe%201.csv"), "{disposition}");
        assert!(server.rest.get(&format!("/artifacts/{large_id}")).await.body == large(3));

        let list = run(&["artifact", "list", &id]).await;
        assert!(list.text().contains("out/größe 1.csv"), "{}", list.text());
        let folder = sandbox.text(&format!("all-{code}"));
        let all = run(&["artifact", "get", &id, "--all", &folder]).await;
        assert_eq!(all.code, Some(0), "{}", all.text());
        assert!(std::fs::read(format!("{folder}/out/x/y/large.bin")).unwrap() == large(3));
        let file = sandbox.text(&format!("one-{code}.csv"));
        let one = run(&["artifact", "get", "out/a.csv", "--execution", &id, "--file", &file]).await;
        assert_eq!(one.code, Some(0), "{}", one.text());
        assert_eq!(std::fs::read_to_string(file).unwrap(), "a,b\n1,2\n");
    }
}

#[tokio::test]
async fn a_supervisor_that_is_killed_while_a_file_comes_has_it_whole_in_the_end() {
    let sandbox = Sandbox::new();
    let repository = repository(&sandbox);
    let mut server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let rest = server.rest.clone();
    let id = rest.execute("job", json!({"megabytes": 150})).await;
    let coming = |path: &PathBuf| {
        path.file_name().unwrap().to_string_lossy().starts_with(".new-")
            && std::fs::metadata(path).is_ok_and(|it| it.len() > 1 << 20)
    };
    until("the large file to come", async || stored(&server).iter().any(coming).then_some(())).await;
    server.kill();
    server.again().await;
    let ended = rest.succeeded(&id).await;
    assert_eq!(ended["attempt"], 1, "{ended:#}");
    assert_eq!(kept(&server, &id).await, expected(150));
    let first = &ids(&server, &id).await[0];
    assert!(rest.get(&format!("/artifacts/{first}")).await.body == large(150));
    let parts: Vec<PathBuf> =
        stored(&server).into_iter().filter(|it| it.to_string_lossy().contains(".new-")).collect();
    assert_eq!(parts, [""; 0].map(PathBuf::from), "what was cut short is removed");
}

#[tokio::test]
async fn what_is_over_is_gone_with_its_bytes_and_what_others_need_stays() {
    let sandbox = Sandbox::new();
    let repository = repository(&sandbox);
    let mut server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    let old = server.rest.execute("job", json!({"megabytes": 1})).await;
    server.rest.succeeded(&old).await;
    let new = server.rest.execute("job", json!({"megabytes": 0})).await;
    server.rest.succeeded(&new).await;
    let [large_id, ..] = &ids(&server, &old).await[..] else { panic!("three") };
    assert_eq!(stored(&server).len(), 4, "the same bytes are kept once");

    // Its time is over while nobody looks.
    server.kill();
    let database = format!("sqlite:{}", server.database().display());
    let mut connection = SqliteConnection::connect(&database).await.unwrap();
    sqlx::query(
        "UPDATE artifacts SET kept_until = 1, body = json_set(body, '$.kept_until', 1)
         WHERE execution = unhex(?)",
    )
    .bind(old.replace('-', ""))
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    server.again().await;
    assert_eq!(kept(&server, &old).await, []);
    let refused = server.rest.get(&format!("/artifacts/{large_id}")).await.refusal();
    assert_eq!(refused, (404, "artifact_not_found".to_owned()));
    until("its bytes to go", async || (stored(&server).len() == 3).then_some(())).await;
    for id in ids(&server, &new).await {
        assert_eq!(server.rest.get(&format!("/artifacts/{id}")).await.status, 200);
    }
}
