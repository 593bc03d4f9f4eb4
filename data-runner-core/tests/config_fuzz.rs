//! Whatever stands in a file: it is read or refused, soon, without a panic, and with every problem in its place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use data_runner_core::cost::{Budget, Money, OnExceed};
use data_runner_core::execution::{Backoff, FailureCause, OnConflict, Priority, RetryPolicy, RetryRule};
use data_runner_core::settings;
use data_runner_core::workflow::config::{
    self, ParamDefault, ParamKind, ParamSpec, ParseContext, Parsed, Problem, WorkflowConfig,
};
use data_runner_core::workflow::{
    ArtifactRule, CatchUp, Compute, ConcurrencyRule, Dependencies, DuckdbDependency, InstanceSize, Matrix,
    MessageFormat, Need, Notification, NotifyOn, OnOutOfMemory, ParamValue, PythonDependency, QueueingRules,
    Schedule, ScheduleLine, SecretRef, Spot, WorkerTypes, WorkflowRef,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn parse(text: &[u8]) -> Parsed<WorkflowConfig> {
    let types = WorkerTypes::default();
    config::parse("workflows/orders/config.yaml", text, &ParseContext { worker_types: &types, files: None })
}

fn sound(text: &[u8], problems: &[Problem]) {
    assert!(problems.len() <= 101);
    let text = String::from_utf8_lossy(text);
    let lines = text.split(['\n', '\r']).count();
    for at in problems.iter().filter_map(|problem| problem.location.as_ref()) {
        assert!(at.line >= 1 && at.line as usize <= lines + 1, "{at:?}");
        assert!(at.column >= 1 && at.length >= 1 && at.text.chars().count() <= 1_000, "{at:?}");
    }
    let _ = config::render(problems, true);
    let _ = config::render_github(problems);
}

fn survives(text: &[u8]) {
    let parsed = parse(text);
    if let Parsed::Broken { problems } = &parsed {
        assert!(!problems.is_empty(), "refused without a reason: {:?}", String::from_utf8_lossy(text));
    }
    sound(text, parsed.problems());
    let parsed = settings::parse("supervisor.yaml", text, &BTreeMap::new());
    assert!(parsed.value().is_some() || !parsed.problems().is_empty());
    sound(text, parsed.problems());
}

/// Pieces that YAML and our formats are made of, put together in any way.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            ":",
            ": ",
            "- ",
            "? ",
            "\n",
            "\n  ",
            "\n    ",
            "\r\n",
            "\t",
            " ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            "#",
            " # x",
            "|",
            "|\n  ",
            ">-\n",
            "&a ",
            "*a",
            "!!str ",
            "!x ",
            "%YAML 1.2\n",
            "%TAG ! x\n",
            "---",
            "\n---\n",
            "\n...\n",
            "\"",
            "'",
            "\\",
            "\\x00",
            "<<",
            "@",
            "`",
            "\u{feff}",
            "\u{85}",
            "\u{2028}",
            "é",
            "日本",
            "~",
            "null",
            "true",
            ".inf",
            "0x",
            "1e999",
            "-",
            "99999999999999999999",
            "30s",
            "1h30m",
            "${schedule.date}",
            "worker_type: polars\n",
            "instance_size: t3.medium\n",
            "params:\n  day: {type: date}\n",
            "retries:\n  - on: [timeout]\n",
            "env:",
            "labels:",
            "include:",
            "dependencies:",
            "requirements:",
            "type",
            "values",
            "default",
            "schedule:\n  - cron: ",
            "0 6 * * 1-5",
            "*/15",
            "timezone: Europe/Madrid",
            "secrets:\n  A: ",
            "env://X",
            "aws-ssm:///x",
            "compute:\n  disk: ",
            "50GiB",
            "notifications:\n  - on: [failure]\n    webhook: ",
            "priority: ",
            "budget: {per_run_usd: ",
            "concurrency: {limit: 1, key: ",
            "${params.",
            "https://x",
            "repositories:",
            "provisioner: ec2\n",
            "ec2:\n  region: eu-west-1\n  subnets: [subnet-1]\n",
            "allow:",
            "t3.*",
            "tls: own\n",
            "url:",
            "local:",
        ])
        .prop_map(str::to_owned),
        "[a-z_]{1,6}",
    ];
    vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500,
        failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..300)) {
        survives(&bytes);
    }

    #[test]
    fn any_text_made_of_the_formats_own_pieces_is_survived(text in pieces()) {
        survives(text.as_bytes());
    }

    #[test]
    fn a_valid_file_with_one_piece_changed_is_survived(at in 0_usize..1_700, piece in pieces(), cut in 0_usize..20) {
        let text = include_str!("config/good/everything.yaml");
        let clamp = |n: usize| (0..=n.min(text.len())).rev().find(|n| text.is_char_boundary(*n)).unwrap();
        let changed = format!("{}{piece}{}", &text[..clamp(at)], &text[clamp(at + cut)..]);
        survives(changed.as_bytes());
    }

    #[test]
    fn what_is_written_reads_back_the_same(config in configs()) {
        let yaml = config::to_yaml(&config).unwrap();
        match parse(yaml.as_bytes()) {
            Parsed::Valid { value, .. } => prop_assert_eq!(value, config, "{}", yaml),
            Parsed::Broken { problems } => prop_assert!(false, "{}\n{}", yaml, config::render(&problems, false)),
        }
    }
}

#[test]
fn the_worst_texts_of_the_largest_size_are_answered_soon() {
    const SIZE: usize = 256 * 1024;
    let patterns = [
        "[",
        "{",
        "- ",
        "? ",
        "a: ",
        "a:\n",
        "*a ",
        "&a ",
        "!a ",
        "\"",
        "'",
        "\\",
        "#",
        "|\n",
        "%A\n",
        "--- ",
        "a: {",
        "[a, ",
        "- - ",
        "a: b\n",
        "? a\n: b\n",
        "\t",
        " ",
        "é",
        "\u{feff}",
        "\r",
        "a\n\n",
        "\"\\",
        ": ",
        ", ",
        "x",
        "{a: b}, ",
    ];
    for pattern in patterns {
        for front in ["", "labels: ", "labels: [", "labels: {", "labels: \"", "labels: |\n  "] {
            let text: String =
                front.chars().chain(pattern.chars().cycle()).take(SIZE / pattern.len().max(2)).collect();
            // Time is not asserted (a busy machine proves nothing); a text that takes minutes is found by the test's own limit.
            survives(text.as_bytes());
        }
    }
}

/// Text that is hard to quote, without control characters that YAML cannot hold.
fn text(max: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "", "no", "017", "0o17", "1e3", ".inf", "~", "null", "true", "- x", "a: b", "# x", " x ",
            "x\ny\n"
        ])
        .prop_map(str::to_owned),
        proptest::string::string_regex(&format!("[a-zA-Z0-9 :#'\"\\[\\]{{}},&*!|>%@`é日~.\n-]{{0,{max}}}"))
            .unwrap(),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_]{0,12}"
}

fn param() -> impl Strategy<Value = ParamSpec> {
    let date = (1900_i16..2100, 1_i8..=12, 1_i8..=28).prop_map(|(y, m, d)| jiff::civil::date(y, m, d));
    let at = (0_i64..4_000_000_000).prop_map(|s| jiff::Timestamp::from_second(s).unwrap());
    // A text that begins like an expression is none.
    let string = text(20).prop_filter("expressions are refused", |text| !text.starts_with("${"));
    let kinds = prop_oneof![
        string.prop_map(|text| (ParamKind::String, ParamValue::String(text))),
        any::<i64>().prop_map(|n| (ParamKind::Int, ParamValue::Int(n))),
        (-1e15_f64..1e15).prop_map(|n| (ParamKind::Float, ParamValue::Float(n))),
        any::<bool>().prop_map(|b| (ParamKind::Bool, ParamValue::Bool(b))),
        date.prop_map(|date| (ParamKind::Date, ParamValue::Date(date))),
        at.prop_map(|at| (ParamKind::Datetime, ParamValue::Datetime(at))),
        prop::collection::btree_set("[a-z0-9 .:-]{1,8}", 1..5).prop_map(|values| {
            let values: Vec<String> = values.into_iter().collect();
            (ParamKind::Enum { values: values.clone() }, ParamValue::Enum(values[0].clone()))
        }),
    ];
    (kinds, any::<bool>(), prop::option::of(text(20))).prop_map(|((kind, value), given, description)| {
        let default = match (&kind, given) {
            (_, true) => Some(ParamDefault::Value(value)),
            (ParamKind::Date, false) => Some(ParamDefault::SchedulePreviousDate),
            (_, false) => None,
        };
        ParamSpec { kind, default, description }
    })
}

fn retries() -> impl Strategy<Value = RetryPolicy> {
    let backoff = (0_u64..1_000, 1.0_f64..100.0, 1_000_u64..600_000).prop_map(|(initial, factor, max)| {
        Backoff { initial: Duration::from_secs(initial), factor, max: Duration::from_secs(max) }
    });
    // Every cause has its rule, so that no default is added.
    vec((1_u32..=100, backoff), FailureCause::ALL.len()).prop_map(|rules| RetryPolicy {
        rules: FailureCause::ALL
            .into_iter()
            .zip(rules)
            .map(|(cause, (max_attempts, backoff))| RetryRule { on: vec![cause], max_attempts, backoff })
            .collect(),
    })
}

fn compute(wanted: &InstanceSize) -> impl Strategy<Value = Compute> + use<> {
    let architecture = wanted.architecture();
    let wanted = wanted.clone();
    let sizes: Vec<InstanceSize> = InstanceSize::names()
        .map(|name| name.parse::<InstanceSize>().unwrap())
        .filter(|size| size.architecture() == architecture && *size != wanted)
        .collect();
    (
        prop::sample::select(Spot::ALL.to_vec()),
        prop::sample::subsequence(sizes, 0..4),
        prop::option::of((1_024_u64..16 * 1_024 * 1_024).prop_map(|mebibytes| mebibytes << 20)),
        prop::option::of("[a-z]{2}-[a-z]{4,9}-[1-9]"),
        prop::collection::btree_set("subnet-[0-9a-f]{1,17}", 0..3),
        (
            prop::option::of("[a-zA-Z0-9+=,.@_-]{1,20}"),
            prop::option::of("ami-[0-9a-f]{1,17}"),
            prop::sample::select(OnOutOfMemory::ALL.to_vec()),
        ),
    )
        .prop_map(
            |(
                spot,
                fallback_instance_sizes,
                disk_bytes,
                region,
                subnets,
                (instance_profile, image, on_out_of_memory),
            )| {
                Compute {
                    spot,
                    fallback_instance_sizes,
                    disk_bytes,
                    region,
                    subnets: subnets.into_iter().collect(),
                    instance_profile,
                    image,
                    on_out_of_memory,
                }
            },
        )
}

fn schedules() -> impl Strategy<Value = Vec<ScheduleLine>> {
    let zones = prop::sample::select(vec!["UTC", "Europe/Madrid", "America/New_York", "Asia/Kolkata"]);
    let line = (0_u8..60, "(\\*|\\*/[2-6]|[0-9]|1-5|8,20)", 1_u8..29, "(\\*|[1-7]|1-5|MON,FRI)")
        .prop_map(|(minute, hour, day, weekday)| format!("{minute} {hour} {day} * {weekday}"));
    let window = (60_u64..30 * 86_400).prop_map(Duration::from_secs);
    let catch_up = prop_oneof![
        Just(CatchUp::None),
        window.clone().prop_map(|window| CatchUp::Latest { window }),
        window.prop_map(|window| CatchUp::All { window }),
    ];
    let jitter = (0_u64..3_600).prop_map(Duration::from_secs);
    btree_map((line, zones), (catch_up, jitter), 0..3).prop_map(|lines| {
        let line = |((line, zone), (catch_up, jitter)): ((String, &str), _)| ScheduleLine {
            schedule: Schedule::new(&line, zone).unwrap(),
            catch_up,
            jitter,
        };
        lines.into_iter().map(line).collect()
    })
}

fn secrets() -> impl Strategy<Value = BTreeMap<String, SecretRef>> {
    let reference =
        "(env://[A-Z_]{1,8}|aws-ssm:///[a-z/-]{1,8}|aws-secretsmanager://[a-z:]{1,8}(#[a-z]{1,4})?)";
    // The names of `env` begin with a capital.
    btree_map("[a-z_][a-z0-9]{0,8}", reference.prop_map(|text| text.parse().unwrap()), 0..4)
}

fn notifications() -> impl Strategy<Value = Vec<Notification>> {
    let address = "(env://[A-Z]{1,8}|https://[a-z]{1,8}/[a-z?=]{0,8})";
    let rule =
        (address, prop::sample::subsequence(NotifyOn::ALL.to_vec(), 1..=NotifyOn::ALL.len()), any::<bool>())
            .prop_map(|(text, on, slack)| Notification {
                on,
                webhook: text.parse().unwrap(),
                format: if slack { MessageFormat::Slack } else { MessageFormat::Json },
            });
    vec(rule, 0..3)
}

fn queueing() -> impl Strategy<Value = QueueingRules> {
    // A key may refer to declared parameters only; those are tried by example.
    let key = "[a-z0-9 /:$}-]{0,8}".prop_map(|text| text.parse().unwrap());
    let rule = (1_u32..=10_000, key, prop::sample::select(OnConflict::ALL.to_vec()));
    let rule = rule.prop_map(|(limit, key, on_conflict)| {
        let limit = std::num::NonZeroU32::new(limit).unwrap();
        ConcurrencyRule { limit, key, on_conflict }
    });
    let within = prop::option::of((1_u64..2_592_000).prop_map(Duration::from_secs));
    (0_u8..=100, prop::option::of(rule), within).prop_map(|(points, concurrency, start_within)| {
        QueueingRules { priority: Priority::new(points), concurrency, start_within }
    })
}

/// Each parameter that has a value by default may have that and no other.
fn matrix(params: &BTreeMap<String, ParamSpec>) -> Option<Matrix> {
    let value = |(name, spec): (&String, &ParamSpec)| match &spec.default {
        Some(ParamDefault::Value(value)) => Some((name.clone(), vec![value.clone()])),
        _ => None,
    };
    let values: BTreeMap<String, Vec<ParamValue>> = params.iter().filter_map(value).collect();
    let most = u32::try_from(params.len()).ok().filter(|n| *n > 2);
    (!values.is_empty()).then_some(Matrix { values, max_parallel: most, fail_fast: params.len() > 3 })
}

fn artifacts() -> impl Strategy<Value = Vec<ArtifactRule>> {
    let rule =
        ("[a-z0-9][a-z0-9_-]{0,20}", "[a-z]{1,9}/([*][*]/)?[a-z*?]{1,9}[.]csv", 3_600_u64..315_360_000);
    prop::collection::vec(rule, 0..4).prop_map(|rules| {
        let mut made: Vec<ArtifactRule> = Vec::new();
        for (name, path, retain) in rules {
            let Ok(path) = path.parse() else { continue };
            let rule =
                ArtifactRule { name: name.parse().unwrap(), path, retain: Duration::from_secs(retain) };
            if made.iter().all(|known| known.name != rule.name) {
                made.push(rule);
            }
        }
        made
    })
}

fn needs() -> impl Strategy<Value = Vec<Need>> {
    let of = (prop::option::of("[a-z]{1,5}"), 60_u64..366 * 86_400);
    btree_map(name(), of, 0..3).prop_map(|needs| {
        let need = |(name, (repo, within)): (String, (Option<String>, u64))| {
            let name = name.parse().unwrap();
            let workflow = WorkflowRef { repo: repo.map(|repo| repo.parse().unwrap()), name };
            Need { workflow, within: Duration::from_secs(within) }
        };
        needs.into_iter().map(need).collect()
    })
}

fn budget() -> impl Strategy<Value = Option<Budget>> {
    let amount = || prop::option::of((100_u64..1_000_000_000_000).prop_map(Money));
    let parts = (amount(), amount(), prop::sample::select(OnExceed::ALL.to_vec()));
    parts.prop_map(|(per_run, per_month, on_exceed)| {
        (per_run.or(per_month).is_some()).then_some(Budget { per_run, per_month, on_exceed })
    })
}

fn configs() -> impl Strategy<Value = WorkflowConfig> {
    let sizes: Vec<&str> = InstanceSize::names().collect();
    let requirements = prop_oneof![
        Just(PythonDependency::Default),
        "[a-z]{1,8}\\.txt".prop_map(PythonDependency::File),
        vec("[a-z]{1,8}(>=|==)[0-9]\\.[0-9]", 0..4).prop_map(PythonDependency::List),
    ];
    let python = (prop::option::of("3\\.[0-9]{1,2}"), requirements).prop_map(|(python, requirements)| {
        ("polars", Dependencies { python, requirements, duckdb: DuckdbDependency::default() })
    });
    let duckdb = (prop::option::of("1\\.[0-9](\\.[0-9])?"), prop::collection::btree_set(name(), 0..4))
        .prop_map(|(version, extensions)| {
            let duckdb = DuckdbDependency { version, extensions: extensions.into_iter().collect() };
            ("duckdb", Dependencies { duckdb, ..Dependencies::default() })
        });
    let texts =
        (prop::option::of(text(40)), btree_map("[a-z][a-z ]{0,8}", "[a-zA-Z0-9 ._:/=+@-]{0,10}", 0..4));
    let env = btree_map("[A-Z][A-Z0-9_]{0,10}", text(30), 0..4);
    (
        prop_oneof![python, duckdb],
        prop::sample::select(sizes),
        texts,
        prop::collection::btree_set("[a-z]{1,6}", 0..3),
        btree_map(name(), param(), 0..5),
        env,
        retries(),
        (
            (1_u64..2_592_000, 0_u64..86_400, prop::option::of(60_u64..86_400)),
            (schedules(), secrets(), notifications(), queueing(), budget(), (needs(), artifacts())),
        ),
    )
        .prop_flat_map(|parts| {
            let size: InstanceSize = parts.1.parse().unwrap();
            (Just(parts), compute(&size))
        })
        .prop_map(
            |((kind, size, (description, labels), include, params, env, retries, (times, rest)), compute)| {
                let (timeout, keep_warm, late_after) = times;
                let (schedule, secrets, notifications, queueing, budget, (needs, artifacts)) = rest;
                // What starts by itself has a default for each parameter.
                let alone = params.values().all(|spec| spec.default.is_some());
                let schedule = if alone { schedule } else { Vec::new() };
                let matrix = matrix(&params);
                let needs = if alone { needs } else { Vec::new() };
                WorkflowConfig {
                    worker_type: kind.0.parse().unwrap(),
                    instance_size: size.parse().unwrap(),
                    description,
                    owner: None,
                    labels,
                    entrypoint: "src/main.x".to_owned(),
                    include: include.into_iter().filter(|path| path != "workflows").collect(),
                    params,
                    env,
                    dependencies: kind.1,
                    retries,
                    timeout: Duration::from_secs(timeout),
                    late_after: late_after.map(Duration::from_secs),
                    keep_warm: Duration::from_secs(keep_warm),
                    compute,
                    schedule,
                    secrets,
                    notifications,
                    budget,
                    queueing,
                    needs,
                    matrix,
                    artifacts,
                }
            },
        )
}
