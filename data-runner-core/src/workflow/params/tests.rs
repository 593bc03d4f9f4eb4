#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::json;

use super::*;

const TODAY: Date = jiff::civil::date(2026, 8, 1);

fn spec(kind: ParamKind, default: Option<ParamDefault>) -> ParamSpec {
    ParamSpec { kind, default, description: None }
}

fn specs() -> BTreeMap<String, ParamSpec> {
    let region = ParamKind::Enum { values: vec!["eu".to_owned(), "us".to_owned()] };
    [
        ("day", spec(ParamKind::Date, Some(ParamDefault::ScheduleDate))),
        ("region", spec(region, Some(ParamDefault::Value(ParamValue::Enum("eu".to_owned()))))),
        ("count", spec(ParamKind::Int, Some(ParamDefault::Value(ParamValue::Int(1))))),
        ("share", spec(ParamKind::Float, Some(ParamDefault::Value(ParamValue::Float(0.5))))),
        ("dry", spec(ParamKind::Bool, Some(ParamDefault::Value(ParamValue::Bool(false))))),
        (
            "since",
            spec(
                ParamKind::Datetime,
                Some(ParamDefault::Value(ParamValue::Datetime(jiff::Timestamp::UNIX_EPOCH))),
            ),
        ),
        ("name", spec(ParamKind::String, None)),
    ]
    .map(|(name, spec)| (name.to_owned(), spec))
    .into()
}

fn resolved(given: Value) -> Result<BTreeMap<String, ParamValue>, Vec<String>> {
    let Value::Object(given) = given else { panic!("{given}") };
    resolve(&specs(), &given, &References::by_hand(TODAY)).map_err(|problems| {
        let line = |problem: &Problem| {
            let at = problem.location.as_ref().unwrap();
            let help = problem.help.as_deref().unwrap_or("-");
            format!("{} {} | {} | {help} | {}", at.pointer, problem.code, problem.message, at.text)
        };
        problems.iter().map(line).collect()
    })
}

#[test]
fn what_is_not_given_has_its_default_and_a_run_by_hand_means_today() {
    let values = resolved(json!({"name": "x"})).unwrap();
    assert_eq!(values["day"], ParamValue::Date(TODAY));
    assert_eq!(values["region"], ParamValue::Enum("eu".to_owned()));
    assert_eq!(values.len(), specs().len());
}

#[test]
fn a_command_line_has_only_text_and_means_the_same() {
    let typed = json!({"name": "3", "count": 3, "share": 2, "dry": true, "day": "2026-07-01", "since": "2026-08-01T06:00:00+02:00"});
    let text = json!({"name": "3", "count": "3", "share": "2.0", "dry": "true", "day": "2026-07-01", "since": "2026-08-01T04:00:00Z"});
    assert_eq!(resolved(typed).unwrap(), resolved(text).unwrap());
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let given = json!({
        "regoin": "us", "colour": "red", "region": "uk", "count": "3.5", "share": "inf", "dry": "yes", "day": "20260801",
        "since": "2026-08-01T06:00:00"
    });
    insta::assert_snapshot!(resolved(given).unwrap_err().join("\n"));
    let given =
        json!({"name": 3, "region": true, "count": 3.5, "share": null, "dry": 1, "day": [], "since": 5});
    insta::assert_snapshot!(resolved(given).unwrap_err().join("\n"));
}

#[test]
fn texts_that_no_process_could_be_given_are_refused() {
    assert!(resolved(json!({"name": "a\u{0}b"})).unwrap_err()[0].contains("NUL"));
    assert!(resolved(json!({"name": "x".repeat(40_000)})).unwrap_err()[0].contains("40000 bytes"));
}

#[test]
fn a_default_may_be_the_date_before_or_what_a_needed_workflow_wrote() {
    let from = |key: &str| {
        Some(ParamDefault::from_reference(&format!("${{needs.raw_orders.output.{key}}}")).unwrap())
    };
    let specs = BTreeMap::from([
        ("since".to_owned(), spec(ParamKind::Date, Some(ParamDefault::SchedulePreviousDate))),
        ("path".to_owned(), spec(ParamKind::String, from("path"))),
        ("rows".to_owned(), spec(ParamKind::Int, from("rows"))),
    ]);
    let resolved = |outputs: &[(&str, Value)]| {
        let outputs = outputs.iter().map(|(name, value)| (name.parse().unwrap(), value.clone())).collect();
        let references = References { outputs, ..References::by_hand(TODAY) };
        resolve(&specs, &Map::new(), &references)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let values = resolved(&[("raw_orders", json!({"path": "s3://b/o", "rows": 3}))]).unwrap();
    assert_eq!(values["since"], ParamValue::Date(jiff::civil::date(2026, 7, 31)));
    assert_eq!(values["path"], ParamValue::String("s3://b/o".to_owned()));
    assert_eq!(values["rows"], ParamValue::Int(3));
    insta::assert_snapshot!(resolved(&[]).unwrap_err().join("\n"));
    insta::assert_snapshot!(resolved(&[("raw_orders", json!({"path": "s3://b/o"}))]).unwrap_err().join("\n"));
    insta::assert_snapshot!(
        resolved(&[("raw_orders", json!({"path": 7, "rows": "many"}))]).unwrap_err().join("\n")
    );
}

#[test]
fn a_workflow_without_parameters_says_so() {
    let given = json!({"a/b": 1}).as_object().unwrap().clone();
    let problem = resolve(&BTreeMap::new(), &given, &References::by_hand(TODAY)).unwrap_err().remove(0);
    assert_eq!(problem.help.as_deref(), Some("it declares none"));
    assert_eq!(problem.location.unwrap().pointer, "/params/a~1b");
}
