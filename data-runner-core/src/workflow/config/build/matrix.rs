//! One execution for each combination of values.

use std::collections::BTreeMap;

use crate::group::MAX_MEMBERS;
use crate::workflow::config::ParamSpec;
use crate::workflow::params::{Given, Reading, read};
use crate::workflow::{Matrix, ParamValue};
use crate::yaml::{Place, Placed, Report, Value, nearest};

/// Reads the matrix; its parameters must be declared, and its values must fit them.
pub(super) fn matrix(
    given: Option<Placed<Value>>,
    params: &BTreeMap<String, ParamSpec>,
    report: &mut Report<'_>,
) -> Option<Matrix> {
    let mut given = given?.into_object()?.value;
    let at = given.place("values");
    let lists = given.map("values");
    let count = lists.iter().map(|(_, list)| length(&list.value)).product::<usize>();
    if let Some(at) = at {
        check_count(lists.len(), count, &at, report);
    }
    let mut values = BTreeMap::new();
    for (name, list) in lists {
        match params.get(&name.value) {
            Some(spec) => drop(values.insert(name.value.clone(), of_param(&name, spec, list, report))),
            None => unknown(&name, params, report),
        }
    }
    Some(Matrix {
        values,
        max_parallel: given.int("max_parallel").and_then(|most| u32::try_from(most).ok()),
        fail_fast: given.bool("fail_fast").unwrap_or(false),
    })
}

fn check_count(params: usize, count: usize, at: &Place, report: &mut Report<'_>) {
    if params == 0 {
        report.error(at, "out_of_range", "the matrix has no parameter").help("name one: region: [eu, us]");
    } else if count > MAX_MEMBERS {
        let message = format!("the matrix has {count} combinations");
        report.error(at, "out_of_range", message).help(format!("it may have up to {MAX_MEMBERS}"));
    }
}

fn length(value: &Value) -> usize {
    match value {
        Value::List(items) => items.len(),
        Value::Text(_)
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Number(_)
        | Value::Duration(_)
        | Value::Size(_)
        | Value::Scalar(_)
        | Value::Map(_)
        | Value::Object(_) => 0,
    }
}

fn unknown(name: &Placed<String>, params: &BTreeMap<String, ParamSpec>, report: &mut Report<'_>) {
    let message = format!("the matrix names the parameter `{}`, which is not declared", name.value);
    let reported = report.error(&name.at, "unknown_param", message);
    match nearest(&name.value, params.keys().map(String::as_str)) {
        Some(near) => reported.did_you_mean(Some(near)),
        None => reported.help("declare it below `params`"),
    }
}

fn of_param(
    name: &Placed<String>,
    spec: &ParamSpec,
    list: Placed<Value>,
    report: &mut Report<'_>,
) -> Vec<ParamValue> {
    let mut values: Vec<ParamValue> = Vec::new();
    for item in list.into_list() {
        let at = item.at.clone();
        let Some(scalar) = item.into_scalar() else {
            continue;
        };
        match read(&spec.kind, Given::from(&scalar.value), Reading::AsDeclared) {
            Ok(value) if values.contains(&value) => {
                let message = format!("`{}` stands twice", value.to_text());
                report.error(&at, "duplicate_value", message).help("remove one of them");
            }
            Ok(value) => values.push(value),
            Err(mismatch) => {
                let message = format!("a value of `{}` {}", name.value, mismatch.message);
                let reported = report.error(&at, mismatch.code, message);
                if let Some(help) = mismatch.help {
                    reported.help(help);
                }
            }
        }
    }
    values
}
