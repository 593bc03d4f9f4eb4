//! `supervisor.yaml`, by examples.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use data_runner_core::settings::{self, Settings};
use data_runner_core::workflow::config::{Parsed, render};

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
fn an_address_that_other_machines_can_reach_is_refused_while_there_is_no_login() {
    for key in ["listen", "grpc_listen"] {
        let problems = parse(&format!("{key}: 0.0.0.0:8080\n")).into_result().unwrap_err();
        assert_eq!((problems.len(), problems[0].code.as_str()), (1, "not_loopback"), "{problems:?}");
    }
}
