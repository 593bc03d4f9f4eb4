//! `config.yaml`, by examples: each file of `config/good` is understood, each of `config/bad` gets exactly the
//! messages that its snapshot shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// The examples are files; only core itself must not touch any.
#![allow(clippy::disallowed_methods)]

use std::path::Path;

use data_runner_core::workflow::config::{self, ParseContext, Parsed, WorkflowConfig};
use data_runner_core::workflow::{ScriptLanguage, WorkerTypeSpec, WorkerTypes};

const FILE: &str = "workflows/orders/config.yaml";

fn types() -> WorkerTypes {
    WorkerTypes::default().with(WorkerTypeSpec {
        name: "shell".parse().unwrap(),
        entrypoint: "workflow.sh".to_owned(),
        language: ScriptLanguage::Other,
    })
}

fn parse(text: &[u8]) -> Parsed<WorkflowConfig> {
    let files =
        ["config.yaml", "requirements.txt", "src/main.py", "workflow.py", "workflow.sql"].map(str::to_owned);
    config::parse(FILE, text, &ParseContext { worker_types: &types(), files: Some(&files) })
}

fn examples(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
    let mut examples: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    examples.sort();
    assert!(examples.len() > 5);
    examples
}

#[test]
fn each_broken_file_gets_all_its_messages_at_once_each_with_its_place() {
    for (name, text) in examples("bad") {
        let Parsed::Broken { problems } = parse(&text) else { panic!("{name} is taken") };
        for problem in &problems {
            let at = problem.location.as_ref();
            let in_file =
                at.is_none_or(|at| at.file == FILE && at.line >= 1 && at.column >= 1 && at.length >= 1);
            assert!(in_file, "{name}: {problem:?}");
        }
        // The flood is bounded; its first lines say enough.
        let rendered: Vec<String> = config::render(&problems, false).lines().map(str::to_owned).collect();
        let shown = if rendered.len() > 200 {
            [&rendered[..8], &rendered[rendered.len() - 4..]].concat()
        } else {
            rendered
        };
        let shown: Vec<String> = shown.iter().map(|line| line.chars().take(240).collect()).collect();
        insta::assert_snapshot!(format!("bad__{name}"), shown.join("\n"));
    }
}

#[test]
fn each_good_file_is_understood_as_its_snapshot_shows() {
    for (name, text) in examples("good") {
        let (config, warnings) = parse(&text).into_result().unwrap_or_else(|problems| {
            panic!("{name} is refused:\n{}", config::render(&problems, false));
        });
        let yaml = config::to_yaml(&config).unwrap();
        insta::assert_snapshot!(
            format!("good__{name}"),
            format!("{yaml}{}", config::render(&warnings, false))
        );
        assert_eq!(
            parse(yaml.as_bytes()).value(),
            Some(&config),
            "{name} changes when it is written and read"
        );
    }
}

#[test]
fn the_configurations_that_the_documentation_shows_are_valid() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut count = 0;
    for page in std::fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().path()) {
        if page.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&page).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
        for block in blocks.filter(|block| block.contains("worker_type:") && block.contains("instance_size:"))
        {
            // Whose files are not there to be looked at.
            let context = ParseContext { worker_types: &types(), files: None };
            let parsed = config::parse(FILE, block.as_bytes(), &context);
            let problems = config::render(parsed.problems(), false);
            assert!(parsed.value().is_some(), "{}:\n{problems}", page.display());
            count += 1;
        }
    }
    assert!(count >= 8, "{count} configurations");
}

#[test]
fn everything_that_is_declared_is_read() {
    let (_, text) = examples("good").into_iter().find(|(name, _)| name == "everything").unwrap();
    insta::assert_json_snapshot!("everything_as_json", parse(&text).into_result().unwrap().0);
    let schema = config::json_schema(&types());
    let text = String::from_utf8(text).unwrap();
    for key in schema["properties"].as_object().unwrap().keys() {
        let shown = text.lines().any(|line| line.starts_with(&format!("{key}:")));
        assert!(shown, "{key}: the example holds every key");
    }
}

#[test]
fn a_plain_reader_of_yaml_sees_the_same_values() {
    for (name, text) in examples("good") {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        let yaml: serde_yaml::Value = serde_yaml::from_slice(text).unwrap();
        let config = parse(text).into_result().unwrap().0;
        assert_eq!(yaml["worker_type"].as_str(), Some(config.worker_type.as_str()), "{name}");
        assert_eq!(yaml["description"].as_str(), config.description.as_deref(), "{name}");
        for (variable, value) in &config.env {
            assert_eq!(yaml["env"][variable.as_str()].as_str(), Some(value.as_str()), "{name}");
        }
    }
}

#[test]
fn a_file_beyond_the_limit_is_refused_unread() {
    let text = vec![b'['; 256 * 1024 + 1];
    let problems = parse(&text).problems().to_vec();
    assert_eq!(problems.len(), 1);
    assert_eq!(
        problems[0].to_string(),
        "workflows/orders/config.yaml:1:1: file_too_big: the file has 262145 bytes; up to 262144 are read (move data into files of their own)"
    );
}

#[test]
fn the_folder_must_be_able_to_name_the_workflow() {
    let text = b"worker_type: polars\ninstance_size: t3.medium\n";
    let types = types();
    let context = ParseContext { worker_types: &types, files: None };
    let parsed = config::parse("workflows/Daily Orders/config.yaml", text, &context);
    assert_eq!(parsed.problems()[0].code, "invalid_workflow_name");
    assert!(config::parse("config.yaml", text, &context).value().is_some(), "no folder, nothing to say");
}

#[test]
fn what_is_wrong_with_the_script_makes_the_definition_broken() {
    let parsed = parse(b"worker_type: polars\ninstance_size: t3.medium\n");
    let spec = types();
    let problems = config::check_script("workflows/orders/workflow.py", b"\0", spec.get("polars").unwrap());
    let Parsed::Broken { problems } = parsed.with_problems(problems) else { panic!("taken") };
    assert_eq!(problems[0].code, "nul_in_script");
}

#[test]
fn a_secret_is_never_shown() {
    let problems =
        parse(b"{worker_type: polars, instance_size: x, env: {DB_PASSWORD: hunter2}}").problems().to_vec();
    assert_eq!(problems.len(), 2);
    let shown = format!("{problems:?}{}", config::render(&problems, false));
    assert!(!shown.contains("hunter2"), "{shown}");
    for text in [include_str!("config/bad/secrets.yaml"), include_str!("config/bad/notifications.yaml")] {
        let problems = parse(text.as_bytes()).problems().to_vec();
        let shown =
            format!("{problems:?}{}{}", config::render(&problems, false), config::render_github(&problems));
        assert!(!["hunter2", "4711"].iter().any(|secret| shown.contains(secret)), "{shown}");
    }
}
