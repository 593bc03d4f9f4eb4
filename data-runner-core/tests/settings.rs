//! `supervisor.yaml`, by examples.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use data_runner_core::settings::{self, Settings, TlsSettings};
use data_runner_core::workflow::config::{Parsed, Problem, render};

fn parse(text: &str) -> Parsed<Settings> {
    settings::parse("supervisor.yaml", text.as_bytes(), &BTreeMap::new())
}

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn an_empty_file_means_the_defaults() {
    insta::assert_debug_snapshot!(parse(include_str!("settings/good/empty.yaml")).into_result().unwrap());
}

#[test]
fn every_key_is_read() {
    insta::assert_debug_snapshot!(
        parse(include_str!("settings/good/everything.yaml")).into_result().unwrap()
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once_without_showing_a_password() {
    let problems = parse(include_str!("settings/bad/everything.yaml")).into_result().unwrap_err();
    let shown = render(&problems, false);
    insta::assert_snapshot!(shown);
    assert!(!format!("{shown}{problems:?}").contains("hunter2"));
    insta::assert_snapshot!(render(parse(include_str!("settings/bad/typo.yaml")).problems(), false));
}

#[test]
fn the_environment_overrides_the_file() {
    let environment = environment(&[
        ("DATA_RUNNER_LISTEN", "127.0.0.1:9999"),
        ("DATA_RUNNER_STATE", "/tmp/x"),
        ("DATA_RUNNER_TOKEN", "is somebody else's"),
        ("LISTEN", "ignored"),
    ]);
    let text = b"listen: not even valid\n";
    let settings = settings::parse("supervisor.yaml", text, &environment).into_result().unwrap().0;
    assert_eq!(settings.listen.to_string(), "127.0.0.1:9999");
    assert_eq!(settings.state.to_str(), Some("/tmp/x"));
}

#[test]
fn what_is_wrong_with_a_variable_is_said_of_the_variable() {
    let environment =
        environment(&[("DATA_RUNNER_LISTEN", "nowhere"), ("DATA_RUNNER_PROVISIONER", "locall")]);
    let parsed = settings::parse("supervisor.yaml", b"", &environment);
    let shown: Vec<String> = parsed.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "environment DATA_RUNNER_LISTEN:1:1: invalid_value: `nowhere` is not an address to listen on (write an IP address and a port: 127.0.0.1:8080)",
            "environment DATA_RUNNER_PROVISIONER:1:1: unknown_value: `provisioner` cannot be `locall` (did you mean `local`?)",
        ]
    );
}

#[test]
fn an_address_that_other_machines_can_reach_is_refused_while_there_is_no_tls() {
    for key in ["listen", "grpc_listen"] {
        let open = format!("{key}: 0.0.0.0:8080\n");
        let problems = parse(&open).into_result().unwrap_err();
        assert_eq!((problems.len(), problems[0].code.as_str()), (1, "not_loopback"), "{problems:?}");
        let settings = parse(&format!("{open}tls: own\n")).into_result().unwrap().0;
        assert_eq!(settings.tls, Some(TlsSettings::Own));
    }
}

#[test]
fn the_credentials_of_an_index_are_a_reference_that_its_workers_can_read() {
    let problems = |text: &str| -> Vec<String> {
        let parsed = parse(text);
        let line = |problem: &Problem| problem.location.as_ref().unwrap().line;
        parsed.problems().iter().map(|problem| format!("{}: {}", line(problem), problem.code)).collect()
    };
    let index = |url: &str, auth: &str| format!("python:\n  index_url: {url}\n  index_auth: {auth}\n");
    assert!(problems(&index("https://pypi.example.org/simple", "env://PYPI")).is_empty());
    assert!(problems(&index("http://[::1]:8080/simple", "env://PYPI")).is_empty());
    assert_eq!(problems(&index("http://pypi.example.org/simple", "env://PYPI")), ["3: not_encrypted"]);
    assert_eq!(problems(&index("https://pypi.example.org/simple", "me:hunter2")), ["3: literal_secret"]);
    assert_eq!(problems("python: {index_auth: env://PYPI}\n"), ["1: missing_key"]);
    let on_ec2 = "public_url: https://x\ngrpc_url: https://x\ngrpc_listen: 0.0.0.0:7443\nprovisioner: ec2\n\
                  ec2: {region: eu-west-1, subnets: [subnet-0abc], security_groups: [sg-0abc]}\n";
    let with = |auth: &str| format!("{on_ec2}{}", index("https://pypi.example.org/simple", auth));
    assert_eq!(problems(&with("env://PYPI")), ["8: invalid_value"]);
    assert!(problems(&with("aws-secretsmanager://pypi#login")).is_empty());
}

#[test]
fn a_flag_may_no_more_than_the_file() {
    let open = "0.0.0.0:8080".parse().unwrap();
    assert!(!parse("").value().unwrap().may_listen_on(open));
    assert!(parse("tls: own").value().unwrap().may_listen_on(open));
}

#[test]
fn machines_of_ec2_find_the_supervisor_over_tls() {
    let settings = parse(include_str!("settings/good/ec2_minimal.yaml")).into_result().unwrap().0;
    assert_eq!(settings.tls, Some(TlsSettings::Own), "it is on without being asked for");
    for key in ["public_url", "grpc_url"] {
        let without: String = include_str!("settings/good/ec2_minimal.yaml")
            .lines()
            .filter(|line| !line.starts_with(key))
            .map(|line| format!("{line}\n"))
            .collect();
        let problems = parse(&without).into_result().unwrap_err();
        let errors: Vec<_> = problems.iter().filter(|problem| problem.code != "loopback_only").collect();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].message, format!("the provisioner `ec2` needs the key `{key}`"));
    }
}

#[test]
fn every_key_of_ec2_is_read() {
    insta::assert_debug_snapshot!(parse(include_str!("settings/good/ec2.yaml")).into_result().unwrap());
    insta::assert_debug_snapshot!(
        parse(include_str!("settings/good/ec2_minimal.yaml")).into_result().unwrap()
    );
}

#[test]
fn everything_that_is_wrong_with_ec2_and_tls_is_said_at_once() {
    for (name, text) in [
        ("ec2", include_str!("settings/bad/ec2.yaml")),
        ("ec2_without_its_block", include_str!("settings/bad/ec2_without_its_block.yaml")),
        ("tls", include_str!("settings/bad/tls.yaml")),
        ("login", include_str!("settings/bad/login.yaml")),
    ] {
        let problems = parse(text).into_result().unwrap_err();
        insta::assert_snapshot!(format!("bad__{name}"), render(&problems, false));
    }
}

#[test]
fn machines_that_cannot_reach_loopback_are_told_of() {
    let text = include_str!("settings/good/ec2_minimal.yaml");
    let warned = |text: &str| parse(text).into_result().unwrap().1.iter().map(ToString::to_string).collect();
    let warnings: Vec<String> = warned(text);
    assert_eq!(
        warnings,
        [
            "supervisor.yaml:3:14: loopback_only: machines of EC2 cannot reach `127.0.0.1:7070` (write grpc_listen: 0.0.0.0:7070, unless something passes connections on)"
        ]
    );
    assert_eq!(warned(&format!("{text}grpc_listen: 10.0.1.5:7443\n")), [""; 0]);
}

#[test]
fn code_over_s3_needs_a_bucket() {
    let text = include_str!("settings/good/ec2.yaml");
    let without: String =
        text.lines().filter(|line| !line.contains("bucket:")).map(|line| format!("{line}\n")).collect();
    let problems = parse(&without).into_result().unwrap_err();
    assert_eq!((problems.len(), problems[0].code.as_str()), (1, "missing_key"), "{problems:?}");
}

#[test]
fn a_block_that_is_not_used_is_told_of_and_read_all_the_same() {
    let text =
        include_str!("settings/good/ec2_minimal.yaml").replace("provisioner: ec2", "provisioner: local");
    let (_, warnings) = parse(&text).into_result().unwrap();
    assert_eq!(warnings.iter().map(|warning| warning.code.as_str()).collect::<Vec<_>>(), ["unused_key"]);
    let problems = parse(&text.replace("subnet-0abc", "here")).into_result().unwrap_err();
    assert_eq!(problems.last().map(|problem| problem.code.as_str()), Some("invalid_value"), "{problems:?}");
}
