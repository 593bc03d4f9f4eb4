//! How its executions stand in line.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::execution::{OnConflict, Priority};
use crate::workflow::config::ParamSpec;
use crate::workflow::{ConcurrencyRule, KeyTemplate, QueueingRules};
use crate::yaml::{Object, Placed, Report, Value, nearest};

pub(super) fn queueing(
    config: &mut Object,
    params: &BTreeMap<String, ParamSpec>,
    report: &mut Report<'_>,
) -> QueueingRules {
    // The table of keys lets only numbers from 0 to 100 through.
    let priority = config.int("priority").and_then(|points| u8::try_from(points).ok());
    let concurrency = config.take("concurrency").and_then(|given| concurrency(given, params, report));
    QueueingRules {
        priority: priority.map(Priority::new).unwrap_or_default(),
        concurrency,
        start_within: config.duration("start_within"),
    }
}

fn concurrency(
    given: Placed<Value>,
    params: &BTreeMap<String, ParamSpec>,
    report: &mut Report<'_>,
) -> Option<ConcurrencyRule> {
    let (limit, key, on_conflict) = match given.value {
        Value::Int(limit) => (Some(limit), None, None),
        Value::Object(mut rule) => (rule.int("limit"), rule.text("key"), rule.text("on_conflict")),
        // The table of keys lets nothing else through.
        Value::Text(_)
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Duration(_)
        | Value::Size(_)
        | Value::Scalar(_)
        | Value::List(_)
        | Value::Map(_) => (None, None, None),
    };
    let limit = limit.and_then(|limit| u32::try_from(limit).ok()).and_then(NonZeroU32::new);
    let key = key.map(|text| template(&text, params, report)).unwrap_or_default();
    let named = |name: Placed<String>| OnConflict::ALL.into_iter().find(|it| it.as_str() == name.value);
    Some(ConcurrencyRule { limit: limit?, key, on_conflict: on_conflict.and_then(named).unwrap_or_default() })
}

fn template(
    text: &Placed<String>,
    params: &BTreeMap<String, ParamSpec>,
    report: &mut Report<'_>,
) -> KeyTemplate {
    let mut unknown = |reference: &str, near: Option<&str>| {
        let message = format!("`{reference}` means nothing here");
        let reported = report.error(&text.at, "unknown_expression", message);
        match near {
            Some(near) => reported.did_you_mean(Some(&format!("${{params.{near}}}"))),
            None => reported.help("a key refers to declared parameters, as in ${params.region}"),
        }
    };
    match text.value.parse::<KeyTemplate>() {
        Ok(template) => {
            for name in template.params().filter(|name| !params.contains_key(*name)) {
                let near = nearest(name, params.keys().map(String::as_str));
                unknown(&format!("${{params.{name}}}"), near);
            }
            template
        }
        Err(error) => {
            unknown(&error.0, None);
            KeyTemplate::default()
        }
    }
}
