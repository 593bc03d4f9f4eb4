//! Parameters: what is given against what is declared.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde_json::{Map, Value};

use super::config::{Location, ParamDefault, ParamKind, ParamSpec, Problem, Severity};
use super::{ParamValue, ScheduleDates};
use crate::id::WorkflowName;
use crate::yaml::{Scalar, nearest, shown};

/// Linux refuses an environment variable of 128 KiB, and all parameters stand in one together as well.
const MAX_TEXT_BYTES: usize = 32 * 1024;

impl ParamKind {
    /// The name of the type in `config.yaml`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::Datetime => "datetime",
            Self::Enum { .. } => "enum",
        }
    }
}

/// Gives every declared parameter its value.
///
/// A value is JSON of the declared type, or text that reads as such (as the command line has it: `3`, `true`). What is
/// not given has its default; `references` is what a default may refer to.
///
/// # Errors
/// Everything that is wrong at once: `unknown_param`, `missing_param`, `missing_output`, `wrong_type`, `invalid_value`,
/// `unknown_value`.
/// The location's file is `params`, its line is `NAME=value` and its pointer is `/params/NAME`.
pub fn resolve(
    specs: &BTreeMap<String, ParamSpec>,
    given: &Map<String, Value>,
    references: &References,
) -> Result<BTreeMap<String, ParamValue>, Vec<Problem>> {
    let mut problems: Vec<Problem> = given
        .keys()
        .filter(|name| !specs.contains_key(*name))
        .map(|name| unknown(name, specs, given))
        .collect();
    let mut values = BTreeMap::new();
    for (name, spec) in specs {
        let value = match (given.get(name), &spec.default) {
            (Some(given), _) => read(&spec.kind, Given::from(given), Reading::TextToo)
                .map_err(|mismatch| mismatched(name, Some(given), "", mismatch)),
            (None, Some(ParamDefault::Value(value))) => Ok(value.clone()),
            (None, Some(ParamDefault::ScheduleDate)) => Ok(ParamValue::Date(references.dates.date)),
            (None, Some(ParamDefault::SchedulePreviousDate)) => {
                Ok(ParamValue::Date(references.dates.previous))
            }
            (None, Some(ParamDefault::NeedsOutput { workflow, key })) => {
                references.output(name, &spec.kind, workflow, key)
            }
            (None, None) => {
                let help = format!("it has no default; it must be {}", expectation(&spec.kind));
                Err(missing(name, help))
            }
        };
        match value {
            Ok(value) => drop(values.insert(name.clone(), value)),
            Err(problem) => problems.push(*problem),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

/// What the defaults of parameters may refer to.
#[derive(Debug, Clone, PartialEq)]
pub struct References {
    /// Of the tick, or of a run by hand: today and yesterday, in UTC.
    pub dates: ScheduleDates,
    /// What the needed workflows wrote whose success started this run: null if they wrote nothing. Empty for other runs.
    pub outputs: BTreeMap<WorkflowName, Value>,
}

impl References {
    /// Those of a run by hand.
    pub fn by_hand(today: Date) -> Self {
        let previous = today.yesterday().unwrap_or(today);
        Self { dates: ScheduleDates { date: today, previous }, outputs: BTreeMap::new() }
    }

    /// One key of what a needed workflow wrote, as the declared type.
    fn output(
        &self,
        name: &str,
        kind: &ParamKind,
        workflow: &WorkflowName,
        key: &str,
    ) -> Result<ParamValue, Box<Problem>> {
        let Some(output) = self.outputs.get(workflow) else {
            let help =
                format!("`{workflow}` gives it when its success starts the run; another run must give it");
            return Err(missing(name, help));
        };
        let Some(value) = output.get(key) else {
            let message =
                format!("the parameter `{name}` is missing: the output of `{workflow}` has no `{key}`");
            let help = format!("`{workflow}` must write it to DATA_RUNNER_OUTPUT: {{\"{key}\": …}}");
            return Err(Box::new(problem(name, None, "missing_output", message, Some(help))));
        };
        let source = format!(", which is `{key}` of the output of `{workflow}`,");
        read(kind, Given::from(value), Reading::TextToo)
            .map_err(|mismatch| mismatched(name, Some(value), &source, mismatch))
    }
}

fn missing(name: &str, help: String) -> Box<Problem> {
    let message = format!("the parameter `{name}` is missing");
    Box::new(problem(name, None, "missing_param", message, Some(help)))
}

fn mismatched(name: &str, given: Option<&Value>, source: &str, mismatch: Mismatch) -> Box<Problem> {
    let message = format!("the parameter `{name}`{source} {}", mismatch.message);
    Box::new(problem(name, given, mismatch.code, message, mismatch.help))
}

fn unknown(name: &str, specs: &BTreeMap<String, ParamSpec>, given: &Map<String, Value>) -> Problem {
    let names = specs.keys().map(String::as_str);
    let help = match nearest(name, names.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if specs.is_empty() => "it declares none".to_owned(),
        None => format!("it declares {}", names.collect::<Vec<_>>().join(", ")),
    };
    let message = format!("the workflow has no parameter `{}`", shown(name));
    problem(name, given.get(name), "unknown_param", message, Some(help))
}

fn problem(name: &str, given: Option<&Value>, code: &str, message: String, help: Option<String>) -> Problem {
    let text = given.map_or_else(String::new, |value| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{}={}", shown(name), shown(&value))
    });
    let location = Location {
        file: "params".to_owned(),
        line: 1,
        column: 1,
        length: u32::try_from(text.chars().count()).unwrap_or(u32::MAX).max(1),
        text,
        pointer: format!("/params/{}", name.replace('~', "~0").replace('/', "~1")),
    };
    Problem { code: code.to_owned(), severity: Severity::Error, message, help, location: Some(location) }
}

/// Whether a text may name a parameter: `[a-z][a-z0-9_]*`, up to 63 characters.
pub(crate) fn is_param_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// A value as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Given<'a> {
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Nested,
}

impl<'a> From<&'a Value> for Given<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Nothing,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => {
                number.as_i64().map_or(Self::Float(number.as_f64().unwrap_or(f64::NAN)), Self::Int)
            }
            Value::String(text) => Self::Text(text),
            Value::Array(_) | Value::Object(_) => Self::Nested,
        }
    }
}

impl<'a> From<&'a Scalar> for Given<'a> {
    fn from(scalar: &'a Scalar) -> Self {
        match scalar {
            Scalar::Null => Self::Nothing,
            Scalar::Bool(value) => Self::Bool(*value),
            Scalar::Int(number) => Self::Int(*number),
            Scalar::Float(number, _) => Self::Float(*number),
            Scalar::Text(text) => Self::Text(text),
        }
    }
}

/// How strictly a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Numbers and booleans must be such.
    AsDeclared,
    /// Text may stand for them: a command line has nothing else.
    TextToo,
}

/// Why a value is none of the declared type. The message goes on after the parameter's name.
#[derive(Debug)]
pub(crate) struct Mismatch {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// Reads a value as the declared type.
pub(crate) fn read(kind: &ParamKind, given: Given<'_>, reading: Reading) -> Result<ParamValue, Mismatch> {
    let given = match (kind, given, reading) {
        (ParamKind::Int, Given::Text(text), Reading::TextToo) => text.parse().map_or(given, Given::Int),
        (ParamKind::Float, Given::Text(text), Reading::TextToo) => number(text).map_or(given, Given::Float),
        (ParamKind::Bool, Given::Text("true"), Reading::TextToo) => Given::Bool(true),
        (ParamKind::Bool, Given::Text("false"), Reading::TextToo) => Given::Bool(false),
        _ => given,
    };
    match (kind, given) {
        (ParamKind::String, Given::Text(text)) => free_text(text),
        (ParamKind::Int, Given::Int(number)) => Ok(ParamValue::Int(number)),
        (ParamKind::Float, Given::Int(number)) => Ok(ParamValue::Float(number as f64)),
        (ParamKind::Float, Given::Float(number)) if number.is_finite() => Ok(ParamValue::Float(number)),
        (ParamKind::Bool, Given::Bool(value)) => Ok(ParamValue::Bool(value)),
        (ParamKind::Date, Given::Text(text)) => {
            let shape = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            let date = shape.then(|| text.parse().ok()).flatten();
            date.map(ParamValue::Date).ok_or_else(|| invalid(kind, text))
        }
        (ParamKind::Datetime, Given::Text(text)) => {
            text.parse().map(ParamValue::Datetime).map_err(|_| invalid(kind, text))
        }
        (ParamKind::Enum { values }, Given::Text(text)) if values.iter().any(|value| value == text) => {
            Ok(ParamValue::Enum(text.to_owned()))
        }
        (ParamKind::Enum { values }, Given::Text(text)) => Err(Mismatch {
            code: "unknown_value",
            message: format!("cannot be `{}`", shown(text)),
            help: Some(match nearest(text, values.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it must be {}", expectation(kind)),
            }),
        }),
        (ParamKind::Int | ParamKind::Float | ParamKind::Bool, Given::Text(text))
            if reading == Reading::TextToo =>
        {
            Err(invalid(kind, text))
        }
        (ParamKind::Int, Given::Float(number)) => Err(invalid(kind, &number.to_string())),
        (kind, given) => Err(wrong_type(kind, given)),
    }
}

/// A finite number; neither "inf" nor "nan", which Rust would read.
fn number(text: &str) -> Option<f64> {
    let digits = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    text.parse().ok().filter(|number: &f64| digits && number.is_finite())
}

fn free_text(text: &str) -> Result<ParamValue, Mismatch> {
    let message = if text.len() > MAX_TEXT_BYTES {
        format!("has {} bytes; up to {MAX_TEXT_BYTES} are taken", text.len())
    } else if text.contains('\0') {
        "holds a NUL character".to_owned()
    } else {
        return Ok(ParamValue::String(text.to_owned()));
    };
    Err(Mismatch { code: "invalid_value", message, help: None })
}

fn invalid(kind: &ParamKind, text: &str) -> Mismatch {
    Mismatch {
        code: "invalid_value",
        message: format!("cannot be `{}`", shown(text)),
        help: Some(format!("it must be {}", expectation(kind))),
    }
}

fn wrong_type(kind: &ParamKind, given: Given<'_>) -> Mismatch {
    let (found, quoted) = match given {
        Given::Nothing => ("nothing", None),
        Given::Bool(value) => ("true or false", Some(value.to_string())),
        Given::Int(number) => ("a number", Some(number.to_string())),
        Given::Float(number) if number.is_finite() => ("a number", Some(number.to_string())),
        Given::Float(_) => ("infinite or no number", None),
        Given::Text(_) => ("text", None),
        Given::Nested => ("a list or a mapping", None),
    };
    let wants_text = matches!(kind, ParamKind::String | ParamKind::Enum { .. });
    Mismatch {
        code: "wrong_type",
        message: format!("must be {}, not {found}", expectation(kind)),
        help: quoted.filter(|_| wants_text).map(|text| format!("put it in quotes: \"{text}\"")),
    }
}

fn expectation(kind: &ParamKind) -> String {
    match kind {
        ParamKind::String => "text".to_owned(),
        ParamKind::Int => "a whole number of 64 bits".to_owned(),
        ParamKind::Float => "a finite number".to_owned(),
        ParamKind::Bool => "true or false".to_owned(),
        ParamKind::Date => "a date such as 2026-08-01".to_owned(),
        ParamKind::Datetime => "a moment with its offset, such as 2026-08-01T06:00:00Z".to_owned(),
        ParamKind::Enum { values } => {
            let first: Vec<&str> = values.iter().take(10).map(String::as_str).collect();
            let more = if values.len() > first.len() { ", …" } else { "" };
            format!("one of {}{more}", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;
