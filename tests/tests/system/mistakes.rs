//! What people get wrong, and what they are told.

use data_runner_tests::{Repository, Sandbox, Server, polars, workflow};
use serde_json::{Value, json};

async fn server_with<'a>(sandbox: &'a Sandbox, config: &str) -> Server<'a> {
    let repository = Repository::with(sandbox.join("etl"), [workflow("orders", config, "print('x')\n")]);
    Server::dev(sandbox, &[repository.url().as_str()]).await
}

/// The one error of a broken configuration, with the file and line that it names.
async fn error_of(config: &str) -> (Value, Value) {
    let sandbox = Sandbox::new();
    let good = workflow("good", &polars(""), "print()\n");
    let repository = Repository::with(sandbox.join("etl"), [good, workflow("bad", config, "print('x')\n")]);
    let server = Server::dev(&sandbox, &[]).await;
    let answer = server.rest.post("/workflows", json!({"repo": repository.url()})).await;
    assert_eq!(answer.status, 201, "one that is broken hinders no other: {}", answer.text());
    let registered = answer.json();
    assert_eq!(registered["items"][0]["name"], "good");
    let error = registered["errors"][0].clone();
    assert_eq!(error["location"]["file"], "workflows/bad/config.yaml", "{registered:#}");
    let run = server.rest.post("/workflows/bad/execute", json!({})).await;
    assert!((400..500).contains(&run.refusal().0), "{}", run.text());
    (error, run.json())
}

#[tokio::test]
async fn broken_yaml_is_named_with_its_line() {
    let (error, run) = error_of("worker_type: polars\ninstance_size: [t3.small\n").await;
    assert!(error["location"]["line"].as_u64().unwrap() >= 2, "{error:#}");
    assert!(!error["message"].as_str().unwrap().is_empty());
    assert!(run.to_string().contains("config.yaml"), "running it says where it is broken: {run:#}");
}

#[tokio::test]
async fn an_unknown_key_comes_with_the_nearest_one() {
    let (error, _) = error_of("worker_type: polars\ninstance_size: t3.small\ntimout: 5m\n").await;
    assert_eq!((&error["code"], &error["location"]["line"]), (&json!("unknown_key"), &json!(3)), "{error:#}");
    assert!(error["help"].as_str().unwrap().contains("timeout"), "{error:#}");
}

#[tokio::test]
async fn a_value_of_the_wrong_type_says_what_was_expected() {
    let (error, _) = error_of("worker_type: polars\ninstance_size: t3.small\ntimeout: soon\n").await;
    assert_eq!(error["location"]["line"], 3, "{error:#}");
    assert_eq!(error["location"]["pointer"], "/timeout", "{error:#}");
    assert_eq!(error["message"], "`soon` is not a duration");
    assert!(error["help"].as_str().unwrap().contains("5m"), "{error:#}");
}

#[tokio::test]
async fn an_instance_size_that_is_none_comes_with_the_nearest_one() {
    let (error, _) = error_of("worker_type: polars\ninstance_size: t3.mediun\n").await;
    assert!(error.to_string().contains("t3.medium"), "{error:#}");
}

#[tokio::test]
async fn a_missing_script_is_found_at_registration() {
    let (error, _) = error_of("worker_type: polars\ninstance_size: t3.small\nentrypoint: nowhere.py\n").await;
    assert!(error["message"].as_str().unwrap().contains("nowhere.py"), "{error:#}");
}

#[tokio::test]
async fn a_configuration_that_is_no_text_is_found_at_registration() {
    let sandbox = Sandbox::new();
    let mut files = workflow("bad", "", "print()\n");
    files[0].1 = b"worker_type: polars\ndescription: caf\xe9\n".to_vec();
    let repository = Repository::with(sandbox.join("etl"), [files]);
    let server = Server::dev(&sandbox, &[]).await;
    let registered = server.rest.post("/workflows", json!({"repo": repository.url()})).await;
    let text = registered.text();
    assert!(text.contains("UTF-8") && text.contains("workflows/bad/config.yaml"), "{text}");
}

#[tokio::test]
async fn an_unknown_workflow_comes_with_the_nearest_name() {
    let sandbox = Sandbox::new();
    let server = server_with(&sandbox, &polars("")).await;
    let answer = server.rest.post("/workflows/ordres/execute", json!({})).await;
    assert_eq!(answer.refusal(), (404, "workflow_not_found".to_owned()));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("did you mean \"orders\"?"), "{detail}");
}

#[tokio::test]
async fn a_bare_name_of_two_repositories_is_ambiguous_and_the_full_ones_are_named() {
    let sandbox = Sandbox::new();
    let server = server_with(&sandbox, &polars("")).await;
    let other = Repository::with(sandbox.join("other"), [workflow("orders", &polars(""), "print()\n")]);
    server.rest.register(&other.url()).await;
    let answer = server.rest.post("/workflows/orders/execute", json!({})).await;
    assert_eq!(answer.refusal(), (409, "ambiguous".to_owned()));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("etl/orders") && detail.contains("other/orders"), "{detail}");
    let id = server.rest.execute("other/orders", json!({})).await;
    assert_eq!(server.rest.succeeded(&id).await["workflow"], "other/orders");
}

#[tokio::test]
async fn wrong_parameters_are_refused_all_at_once_and_nothing_is_started() {
    let sandbox = Sandbox::new();
    let params = "params:\n  day: {type: date}\n  region: {type: enum, values: [eu, us], default: eu}\n";
    let server = server_with(&sandbox, &polars(params)).await;
    let body = json!({"params": {"day": "yesterday", "region": "mars", "regoin": "eu"}});
    let answer = server.rest.post("/workflows/orders/execute", body).await;
    assert_eq!(answer.refusal(), (422, "invalid_request".to_owned()));
    let problem = answer.json();
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    for pointer in ["/params/day", "/params/region", "/params/regoin"] {
        assert!(pointers.contains(&pointer), "{problem:#}");
    }
    assert!(problem.to_string().contains("did you mean `region`?"), "{problem:#}");
    assert_eq!(server.rest.get("/executions").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn a_repository_that_cannot_be_reached_is_named() {
    let sandbox = Sandbox::new();
    let server = Server::dev(&sandbox, &[]).await;
    let nowhere = format!("file://{}", sandbox.text("nowhere"));
    let answer = server.rest.post("/workflows", json!({"repo": nowhere})).await;
    let (status, code) = answer.refusal();
    assert!(
        [(502, "source_unreachable"), (422, "invalid_request")].contains(&(status, code.as_str())),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("nowhere"), "{}", answer.text());

    // Nobody listens on the port of a socket that was closed.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let answer =
        server.rest.post("/workflows", json!({"repo": format!("https://127.0.0.1:{port}/etl")})).await;
    assert_eq!(answer.refusal(), (502, "source_unreachable".to_owned()));
    assert!(answer.text().contains("cannot reach"), "{}", answer.text());
}

#[tokio::test]
async fn a_url_with_a_password_is_refused_and_the_password_is_not_repeated() {
    let sandbox = Sandbox::new();
    let server = Server::dev(&sandbox, &[]).await;
    let answer = server.rest.post("/workflows", json!({"repo": "https://me:hunter2@example.com/etl"})).await;
    assert_eq!(answer.refusal(), (422, "invalid_request".to_owned()));
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    assert!(!server.program.said().contains("hunter2"));
}

#[tokio::test]
async fn a_ref_that_is_not_there_is_named() {
    let sandbox = Sandbox::new();
    let server = server_with(&sandbox, &polars("")).await;
    let answer = server.rest.post("/workflows/orders/execute", json!({"ref": "no-such-branch"})).await;
    assert_eq!(answer.refusal(), (422, "revision_not_found".to_owned()));
    assert!(answer.text().contains("no-such-branch"), "{}", answer.text());
}

#[tokio::test]
async fn requirements_that_do_not_exist_are_the_environments_failure_and_named() {
    let sandbox = Sandbox::new();
    let config = polars("dependencies: {requirements: [\"data-runner-no-such-package==1.0\"]}\n");
    let server = server_with(&sandbox, &config).await;
    let id = server.rest.execute("orders", json!({})).await;
    let ended = server.rest.ended(&id).await;
    assert_eq!(ended["failure"]["cause"], "environment", "{ended:#}");
    assert!(ended["failure"].to_string().contains("data-runner-no-such-package"), "{ended:#}");
}

#[tokio::test]
async fn an_entrypoint_that_is_a_folder_is_refused_before_anything_runs() {
    let sandbox = Sandbox::new();
    let mut files = workflow("bad", &polars("entrypoint: scripts\n"), "print()\n");
    files.push(("workflows/bad/scripts/a.py".to_owned(), b"print()\n".to_vec()));
    let repository = Repository::with(sandbox.join("etl"), [files]);
    let server = Server::dev(&sandbox, &[]).await;
    let answer = server.rest.post("/workflows", json!({"repo": repository.url()})).await;
    assert!(answer.text().contains("scripts"), "{}", answer.text());
    let run = server.rest.post("/workflows/bad/execute", json!({})).await;
    assert!((400..500).contains(&run.refusal().0), "{}", run.text());
}

#[tokio::test]
async fn a_script_that_cannot_be_decoded_is_refused_before_a_machine_is_asked_for() {
    let sandbox = Sandbox::new();
    let mut files = workflow("job", &polars(""), "");
    files[1].1 = b"print('a')\nprint('caf\xe9')\n".to_vec();
    let repository = Repository::with(sandbox.join("etl"), [files]);
    let server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    let answer = server.rest.post("/workflows/job/execute", json!({})).await;
    assert_eq!(answer.refusal(), (422, "invalid_request".to_owned()));
    let error = answer.json()["errors"][0].clone();
    assert_eq!(
        (&error["code"], &error["file"]),
        (&json!("not_utf8"), &json!("workflows/job/workflow.py")),
        "{error:#}"
    );
    assert_eq!((&error["line"], &error["column"]), (&json!(2), &json!(11)), "{error:#}");
    assert!(error["help"].as_str().unwrap().contains("coding"), "{error:#}");
}
