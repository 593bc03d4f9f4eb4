//! Declared parameters.

use std::collections::BTreeMap;

use crate::workflow::config::{ParamDefault, ParamKind, ParamSpec};
use crate::workflow::params::{Given, Reading, is_param_name, read};
use crate::workflow::{Matrix, Need};
use crate::yaml::{Object, Place, Placed, Report, Scalar, Value, nearest, shown};

const EXPRESSIONS: [&str; 3] = ["${schedule.date}", "${schedule.previous_date}", "${needs.NAME.output.KEY}"];

/// Reads the declarations; those that are refused are missing in the answer.
pub(super) fn params(
    given: Vec<(Placed<String>, Placed<Value>)>,
    needs: &[Need],
    report: &mut Report<'_>,
) -> BTreeMap<String, ParamSpec> {
    let mut params = BTreeMap::new();
    for (name, value) in given {
        if !is_param_name(&name.value) {
            let message = format!("`{}` cannot be the name of a parameter", name.value);
            let help = "a lower-case letter, then up to 62 of a-z, 0-9 and _";
            report.error(&name.at, "invalid_param_name", message).help(help);
        }
        if let Some(spec) = value.into_object().and_then(|object| param(&name, object.value, needs, report)) {
            params.insert(name.value, spec);
        }
    }
    params
}

fn param(
    name: &Placed<String>,
    mut object: Object,
    needs: &[Need],
    report: &mut Report<'_>,
) -> Option<ParamSpec> {
    let kind = kind(name, &mut object, report)?;
    let default = match object.scalar("default") {
        None => None,
        Some(scalar) => Some(default(name, &kind, scalar, needs, report)?),
    };
    Some(ParamSpec { kind, default, description: object.text("description").map(|text| text.value) })
}

fn kind(name: &Placed<String>, object: &mut Object, report: &mut Report<'_>) -> Option<ParamKind> {
    let values_at = object.place("values");
    let type_name = object.text("type")?.value;
    let kind = match type_name.as_str() {
        "string" => ParamKind::String,
        "int" => ParamKind::Int,
        "float" => ParamKind::Float,
        "bool" => ParamKind::Bool,
        "date" => ParamKind::Date,
        "datetime" => ParamKind::Datetime,
        // The table of keys lets only the seven names through.
        _ => {
            if values_at.is_none() {
                let message = format!("the enum `{}` lacks its values", name.value);
                report.error(&name.at, "missing_key", message).help("add them: values: [first, second]");
                return None;
            }
            return Some(ParamKind::Enum { values: enum_values(object.texts("values"), report) });
        }
    };
    if let Some(at) = values_at {
        let message = format!("`values` belongs to an enum; `{}` is of type {type_name}", name.value);
        report.error(&at, "misplaced_key", message).help("remove it, or write type: enum");
    }
    Some(kind)
}

fn enum_values(given: Vec<Placed<String>>, report: &mut Report<'_>) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    for value in given {
        if values.contains(&value.value) {
            let message = format!("the value `{}` stands twice", value.value);
            report.error(&value.at, "duplicate_value", message).help("remove one");
        } else {
            values.push(value.value);
        }
    }
    values
}

fn default(
    name: &Placed<String>,
    kind: &ParamKind,
    scalar: Placed<Scalar>,
    needs: &[Need],
    report: &mut Report<'_>,
) -> Option<ParamDefault> {
    if let Scalar::Text(text) = &scalar.value
        && text.starts_with("${")
    {
        return expression(kind, text, &scalar.at, needs, report);
    }
    match read(kind, Given::from(&scalar.value), Reading::AsDeclared) {
        Ok(value) => Some(ParamDefault::Value(value)),
        Err(mismatch) => {
            let message = format!("the default of `{}` {}", name.value, mismatch.message);
            let code = mismatch.code;
            let reported = report.error(&scalar.at, code, message);
            if let Some(help) = mismatch.help {
                reported.help(help);
            }
            None
        }
    }
}

fn expression(
    kind: &ParamKind,
    text: &str,
    at: &Place,
    needs: &[Need],
    report: &mut Report<'_>,
) -> Option<ParamDefault> {
    let Some(reference) = ParamDefault::from_reference(text) else {
        let reported = report.error(at, "unknown_expression", format!("`{}` means nothing", shown(text)));
        match nearest(text, EXPRESSIONS) {
            Some(near) => reported.did_you_mean(Some(near)),
            None => reported.help(format!("there are {}", EXPRESSIONS.join(", "))),
        }
        return None;
    };
    match &reference {
        ParamDefault::ScheduleDate | ParamDefault::SchedulePreviousDate if *kind != ParamKind::Date => {
            let message = format!("`{text}` is a date; the parameter is of type {}", kind.name());
            report.error(at, "wrong_type", message).help("write type: date");
            None
        }
        ParamDefault::NeedsOutput { workflow, key }
            if !needs.iter().any(|it| it.workflow.name == *workflow) =>
        {
            let message = format!("`{text}` names no workflow that stands in `needs`");
            let reported = report.error(at, "unknown_expression", message);
            match nearest(workflow.as_str(), needs.iter().map(|need| need.workflow.name.as_str())) {
                Some(near) => reported.did_you_mean(Some(&format!("${{needs.{near}.output.{key}}}"))),
                None => reported.help(format!("add it: needs: [{{workflow: {workflow}}}]")),
            }
            None
        }
        ParamDefault::Value(_)
        | ParamDefault::ScheduleDate
        | ParamDefault::SchedulePreviousDate
        | ParamDefault::NeedsOutput { .. } => Some(reference),
    }
}

/// Nobody gives parameters to a run that nobody asked for, so all of them need a default; `key` is what starts it.
pub(super) fn check_defaults(
    names: &[Placed<String>],
    params: &BTreeMap<String, ParamSpec>,
    (key, matrix): (&str, Option<&Matrix>),
    report: &mut Report<'_>,
) {
    let in_matrix = |name: &str| matrix.is_some_and(|matrix| matrix.values.contains_key(name));
    let lacks = |name: &&Placed<String>| {
        params.get(&name.value).is_some_and(|spec| spec.default.is_none()) && !in_matrix(&name.value)
    };
    for name in names.iter().filter(lacks) {
        let message = format!(
            "the parameter `{}` has no default, and nobody gives it to a run that starts by itself",
            name.value
        );
        report
            .error(&name.at, "missing_default", message)
            .help(format!("give it a default, or remove `{key}`"));
    }
}
