#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Read as _;
use std::process::Command;

use super::*;

fn user_data() -> UserData {
    UserData {
        worker: "0199d1a2-7b7c-7f3a-8c11-2f4f6d1c9e01".parse().unwrap(),
        grpc_url: "https://supervisor.example.com:7070".to_owned(),
        ca: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_owned(),
        token: "secret-token".to_owned(),
        agent: AgentProgram {
            architecture: Architecture::X86_64,
            sha256: Sha256::of(b"agent"),
            sources: vec![
                AgentSource {
                    url: "https://supervisor.example.com:8080/agent/x86_64".to_owned(),
                    trusted_by: TrustedBy::Supervisor,
                },
                AgentSource {
                    url: "https://bucket.s3.amazonaws.com/agent?a=1&b=2".to_owned(),
                    trusted_by: TrustedBy::Image,
                },
            ],
        },
        deadline: Timestamp::from_micros(1_790_000_000_250_000),
        region: "eu-west-1".to_owned(),
        slots: 1,
        python_index: Some(PackageIndex {
            url: "https://packages.example.com/simple".to_owned(),
            auth: Some("aws-ssm:///pypi".parse().unwrap()),
        }),
        baked: false,
        bake: None,
        bundle: None,
        environment: BTreeMap::new(),
        power_off: POWER_OFF.to_owned(),
    }
}

/// Bytes that cannot be compressed.
fn noise(bytes: usize) -> Vec<u8> {
    let hashes = (0_u64..).flat_map(|number| {
        use sha2::Digest as _;
        sha2::Sha256::digest(number.to_le_bytes())
    });
    hashes.take(bytes).collect()
}

fn bundle(bytes: usize) -> Option<EmbeddedBundle> {
    let bytes = noise(bytes);
    Some(EmbeddedBundle { sha256: Sha256::of(&bytes), bytes })
}

fn text(data: &UserData) -> String {
    String::from_utf8(data.render().unwrap()).unwrap()
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let large = UserData { bundle: bundle(9_000), ..user_data() };
    assert_eq!(user_data().render().unwrap(), user_data().render().unwrap());
    assert_eq!(large.render().unwrap(), large.clone().render().unwrap());
    let other = UserData { token: "another".to_owned(), ..user_data() };
    assert_ne!(user_data().render().unwrap(), other.render().unwrap());
}

#[test]
fn a_small_one_can_be_read_and_a_large_one_is_compressed() {
    assert!(text(&user_data()).starts_with("#!/bin/sh\n"));

    let large = UserData { bundle: bundle(9_000), ..user_data() };
    let bytes = large.render().unwrap();
    assert!(bytes.len() <= MOST_BYTES);
    let mut script = String::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut script).unwrap();
    assert_eq!(script, large.script().unwrap());
    assert!(script.len() > MOST_BYTES);
}

#[test]
fn what_does_not_fit_is_refused_with_its_size() {
    let refused = UserData { bundle: bundle(MOST_BYTES), ..user_data() }.render();
    assert!(matches!(refused, Err(UserDataError::TooLarge { bytes }) if bytes > MOST_BYTES), "{refused:?}");
}

#[test]
fn the_deadline_is_armed_before_anything_is_looked_at_or_fetched() {
    let script = text(&user_data());
    let at = |what: &str| script.find(what).unwrap_or_else(|| panic!("no {what:?}"));
    let order = [
        "trap ended EXIT",
        "enable_unit data-runner-deadline.service",
        "begin 'looking at this machine'",
        "begin 'fetching the agent'",
        "begin 'installing Python'",
        "begin 'writing the configuration of the agent'",
        "begin 'unpacking the code'",
        "begin 'starting the agent'",
    ];
    assert!(order.map(at).is_sorted(), "{:?}", order.map(at));
    assert!(script.contains("DEADLINE='1790000000'\n"), "in whole seconds, rounded down");
}

#[test]
fn every_shell_of_the_distributions_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("user-data");
    let data = UserData { bundle: bundle(100), ..user_data() };
    std::fs::write(&file, text(&data)).unwrap();
    for shell in ["sh", "bash", "dash"] {
        // Not every machine has every shell; `sh` is everywhere.
        let Ok(read) = Command::new(shell).arg("-n").arg(&file).output() else {
            assert_ne!(shell, "sh");
            continue;
        };
        assert!(read.status.success(), "{shell}: {}", String::from_utf8_lossy(&read.stderr));
    }
}

#[test]
fn the_agent_sees_every_value_as_it_is() {
    let strange = "it's \"x\"\n$(touch /tmp/never) `id` \\ ä";
    let data = UserData {
        grpc_url: strange.to_owned(),
        environment: BTreeMap::from([
            ("AWS_ENDPOINT_URL".to_owned(), strange.to_owned()),
            ("AWS_REGION".to_owned(), "mars".to_owned()),
        ]),
        ..user_data()
    };
    // The script writes the lines by way of a here-document, as here.
    let script = format!(
        "ENVIRONMENT={}\neval \"$(cat <<END\n$ENVIRONMENT\nEND\n)\"\nenv -0\n",
        quoted(&data.exports().unwrap())
    );
    let said = Command::new("sh").args(["-c", &script]).env_clear().output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let environment: BTreeMap<&str, &str> =
        said.split('\0').filter_map(|variable| variable.split_once('=')).collect();
    assert_eq!(environment["DATA_RUNNER_GRPC_URL"], strange);
    assert_eq!(environment["AWS_ENDPOINT_URL"], strange);
    assert_eq!(environment["AWS_REGION"], "mars", "what is asked for wins");
    assert_eq!(environment["DATA_RUNNER_SLOTS"], "1");
    assert_eq!(environment["DATA_RUNNER_DEADLINE"], "2026-09-21T14:13:20.250000Z");
    assert_eq!(environment["DATA_RUNNER_PYTHON_INDEX_URL"], "https://packages.example.com/simple");
    assert_eq!(environment["DATA_RUNNER_PYTHON_INDEX_AUTH"], "aws-ssm:///pypi");
}

#[test]
fn names_that_are_no_variables_are_refused() {
    for name in ["", "1A", "A B", "A=B", "$(id)", "Ä"] {
        let environment = BTreeMap::from([(name.to_owned(), String::new())]);
        let refused = UserData { environment, ..user_data() }.render();
        assert!(matches!(&refused, Err(UserDataError::VariableName(said)) if said == name), "{refused:?}");
    }
}

#[test]
fn a_zero_byte_is_refused() {
    let refused = UserData { token: "a\0b".to_owned(), ..user_data() }.render();
    assert!(matches!(&refused, Err(UserDataError::ZeroByte(name)) if name == "TOKEN"), "{refused:?}");
}

#[test]
fn the_token_stands_in_one_place_and_no_diagnostics_show_it() {
    let data = user_data();
    assert_eq!(text(&data).matches(&data.token).count(), 1);
    assert!(!format!("{data:?}").contains(&data.token));
}

#[test]
fn a_machine_that_becomes_an_image_says_what_it_became_and_keeps_no_deadline() {
    let content = Sha256::of(b"content");
    let bake = Some(Bake { worker_type: "duckdb".parse().unwrap(), content: content.clone() });
    let script = text(&UserData { bake, ..user_data() });
    assert!(script.contains("BAKE_FOR='duckdb'") || script.contains("BAKE_FOR=duckdb"), "{script}");
    assert!(script.contains(content.as_str()));
    let end = &script[script.find("leaving nothing of this machine").unwrap()..];
    assert!(
        end.contains("disable --quiet data-runner-deadline.service"),
        "the image would power off at its first boot"
    );
    assert!(text(&user_data()).contains("BAKE_FOR=''"));
}
