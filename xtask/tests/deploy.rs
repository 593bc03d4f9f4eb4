//! The files of `deploy/`: policies that allow what the code asks of AWS and no more than they must.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn policies() -> BTreeMap<String, Value> {
    let folder = root().join("deploy/iam");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let policy = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, policy)
    };
    std::fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap().path())).collect()
}

/// A text, or a list of them.
fn texts(value: &Value) -> Vec<&str> {
    match value.as_array() {
        Some(items) => items.iter().map(|item| item.as_str().unwrap()).collect(),
        None => value.as_str().into_iter().collect(),
    }
}

fn statements(policy: &Value) -> &[Value] {
    policy["Statement"].as_array().unwrap()
}

fn allowed(names: &[&str]) -> BTreeSet<String> {
    let policies = policies();
    let statements = names.iter().flat_map(|name| statements(&policies[*name]));
    statements.flat_map(|statement| texts(&statement["Action"])).map(str::to_owned).collect()
}

/// The source below a folder, without its tests.
fn source(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "tests" {
            source(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// The operations that `folder` asks for, by the names that follow `front` in its source.
fn operations(folder: &str, front: &str) -> BTreeSet<String> {
    let mut text = String::new();
    source(&root().join(folder), &mut text);
    text.split(front)
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
        .collect()
}

/// The action that an operation needs.
fn action(operation: &str) -> String {
    match operation {
        // Who may read an object may ask whether it is there.
        "HeadObject" => "s3:GetObject".to_owned(),
        "GetObject" | "PutObject" | "DeleteObject" => format!("s3:{operation}"),
        "GetProducts" => format!("pricing:{operation}"),
        "GetParameter" | "DescribeParameters" => format!("ssm:{operation}"),
        "GetSecretValue" | "DescribeSecret" => format!("secretsmanager:{operation}"),
        "GetServiceQuota" => format!("servicequotas:{operation}"),
        ec2 => format!("ec2:{ec2}"),
    }
}

#[test]
fn what_the_supervisor_asks_of_aws_is_in_its_policies() {
    let mut asked = operations("data-runner-aws/src", "CallError::of(\"");
    // Whoever has credentials may ask whose they are.
    asked.remove("GetCallerIdentity");
    asked.extend(operations("data-runner-aws-light/src", "Service::Quotas, \""));
    assert!(
        asked.contains("RunInstances") && asked.contains("GetServiceQuota") && asked.len() > 8,
        "{asked:?}"
    );
    let allowed = allowed(&["supervisor.json", "supervisor-bucket.json"]);
    let missing: Vec<String> =
        asked.iter().map(|name| action(name)).filter(|action| !allowed.contains(action)).collect();
    assert_eq!(missing, [""; 0]);
    // Tags at launch and the machine's role are asked for without a call of their own.
    assert!(allowed.contains("ec2:CreateTags") && allowed.contains("iam:PassRole"));
}

#[test]
fn what_secrets_need_is_in_the_policies_of_workers_and_supervisor() {
    for service in ["Ssm", "SecretsManager"] {
        let asked = operations("data-runner-aws-light/src", &format!("Service::{service}, \""));
        // A worker reads. Looking for a name without reading, for `secret check`, is the supervisor's.
        let read: Vec<&String> = asked.iter().filter(|name| name.starts_with("Get")).collect();
        assert!(!read.is_empty() && read.len() < asked.len(), "{service}: {asked:?}");
        let (worker, supervisor) = (allowed(&["worker.json"]), allowed(&["supervisor.json"]));
        assert!(read.iter().all(|name| worker.contains(&action(name))), "{read:?}");
        assert!(asked.iter().all(|name| supervisor.contains(&action(name))), "{asked:?}");
    }
}

#[test]
fn whatever_changes_something_is_bound_to_a_resource() {
    for (name, policy) in policies() {
        for statement in statements(&policy) {
            let looks = |action: &&str| {
                let verb = action.split(':').nth(1).unwrap_or_default();
                !action.contains('*')
                    && ["Describe", "Get", "List"].iter().any(|front| verb.starts_with(front))
            };
            let everywhere = texts(&statement["Resource"]).contains(&"*");
            let bound = !everywhere || statement.get("Condition").is_some();
            let actions = texts(&statement["Action"]);
            assert!(bound || actions.iter().all(looks), "{name}: {}", statement["Sid"]);
            assert!(actions.iter().all(|action| !action.ends_with('*')), "{name}: {}", statement["Sid"]);
        }
    }
}

#[test]
fn machines_of_others_are_out_of_reach() {
    let policies = policies();
    let with = |action: &str| -> Vec<String> {
        statements(&policies["supervisor.json"])
            .iter()
            .filter(|statement| texts(&statement["Action"]).contains(&action))
            .map(|statement| statement["Condition"].to_string())
            .collect()
    };
    let ended = with("ec2:TerminateInstances");
    assert!(ended.len() == 1 && ended[0].contains("aws:ResourceTag/data-runner:installation"), "{ended:?}");
    let tagged = with("ec2:CreateTags");
    let at_birth = tagged.iter().all(|it| it.contains("ec2:CreateAction"));
    assert!(!tagged.is_empty() && at_birth, "a tag makes a machine ours");
    assert!(with("ec2:RunInstances").iter().any(|it| it.contains("ec2:MetadataHttpTokens")));
}

#[test]
fn the_terraform_module_is_formatted_and_names_every_policy() {
    let module = root().join("deploy/terraform");
    let text = std::fs::read_to_string(module.join("main.tf")).unwrap();
    for name in policies().keys() {
        assert!(text.contains(&format!("../iam/{name}")), "{name}");
    }
    match Command::new("terraform").args(["fmt", "-check", "-recursive"]).arg(&module).output() {
        Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout)),
        Err(_) => {
            data_runner_testkit::skipped("there is no terraform here, so the formatting was not checked")
        }
    }
}
