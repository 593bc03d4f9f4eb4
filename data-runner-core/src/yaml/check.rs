//! A tree against its shape: everything that can be said without knowing what the keys mean.

use super::duration::read_duration;
use super::shape::Empty;
use super::size::{meant_size, read_size};
use super::{
    Entry, Key, Kind, Need, Node, Object, Place, Placed, Pointer, Report, Scalar, Shape, Span, Value, nearest,
};
use crate::workflow::SecretRef;

/// Reads `node` as `shape` wants it. `None`: it cannot be, and that is reported; of lists and mappings, what can be
/// read is, so that one pass finds all that is wrong.
pub(crate) fn check(
    node: &Node,
    shape: &'static Shape,
    pointer: &Pointer,
    report: &mut Report<'_>,
) -> Option<Placed<Value>> {
    let at = Place { span: node.at, pointer: pointer.clone() };
    let value = match (shape.for_node(node), &node.kind) {
        (_, Kind::Refused) => return None,
        (Shape::List { of, min, max }, Kind::List(items)) => {
            count(items.len(), *min, *max, "items", &at, report)?;
            let read =
                |(index, item): (usize, &Node)| check(item, of, &pointer.child(index.to_string()), report);
            Value::List(items.iter().enumerate().filter_map(read).collect())
        }
        (Shape::Map { of, max }, Kind::Map(entries)) => {
            count(entries.len(), 0, *max, "entries", &at, report)?;
            let read = |entry: &Entry| {
                let pointer = pointer.child(&entry.key);
                let value = check(&entry.value, of, &pointer, report)?;
                let at = Place { span: entry.key_at, pointer };
                Some((Placed { at, value: entry.key.clone() }, value))
            };
            Value::Map(entries.iter().filter_map(read).collect())
        }
        (Shape::Object(keys), Kind::Map(entries)) => Value::Object(object(entries, keys, &at, report)),
        (Shape::Reference, kind) => Value::Text(reference(kind, shape, &at, report)?),
        (shape, Kind::Scalar(scalar)) => read_scalar(scalar, shape, &at, report)?,
        (shape, Kind::List(_) | Kind::Map(_)) => {
            wrong_type(shape, node.kind.describe(), &at, report);
            return None;
        }
    };
    Some(Placed { at, value })
}

fn object(entries: &[Entry], keys: &'static [Key], at: &Place, report: &mut Report<'_>) -> Object {
    let mut object = Object::default();
    for entry in entries {
        let pointer = at.pointer.child(&entry.key);
        let key_at = Place { span: entry.key_at, pointer: pointer.clone() };
        match keys.iter().find(|key| key.name == entry.key) {
            None => {
                let message = format!("there is no key `{}` here", shown(&entry.key));
                let known = keys.iter().map(|key| key.name);
                let reported = report.error(&key_at, "unknown_key", message);
                match nearest(&entry.key, known.clone()) {
                    Some(name) => reported.did_you_mean(Some(name)),
                    None => reported.help(format!("the keys are {}", known.collect::<Vec<_>>().join(", "))),
                }
            }
            Some(key) => {
                object.keys.insert(key.name, key_at);
                if let Some(value) = check(&entry.value, &key.shape, &pointer, report) {
                    object.fields.insert(key.name, value);
                }
            }
        }
    }
    for key in keys.iter().filter(|key| key.need == Need::Required) {
        if !entries.iter().any(|entry| entry.key == key.name) {
            let message = match at.pointer.name() {
                None => format!("the key `{}` is missing", key.name),
                Some(_) => format!("`{}` lacks the key `{}`", at.pointer.dotted(), key.name),
            };
            report.error(at, "missing_key", message).help(key.about);
        }
    }
    object
}

fn count(
    length: usize,
    min: usize,
    max: usize,
    what: &str,
    at: &Place,
    report: &mut Report<'_>,
) -> Option<()> {
    if (min..=max).contains(&length) {
        return Some(());
    }
    let message = format!("`{}` has {length} {what}", at.pointer.dotted());
    report.error(at, "out_of_range", message).help(format!("it may have {min} to {max}"));
    None
}

fn wrong_type(shape: &Shape, found: &str, at: &Place, report: &mut Report<'_>) {
    let message = match at.pointer.name() {
        None => format!("the text must be {}, not {found}", shape.expectation()),
        Some(_) => format!("`{}` must be {}, not {found}", at.pointer.dotted(), shape.expectation()),
    };
    report.error(at, "wrong_type", message).did_you_mean(None);
}

fn read_scalar(scalar: &Scalar, shape: &Shape, at: &Place, report: &mut Report<'_>) -> Option<Value> {
    if *scalar == Scalar::Null {
        let message = format!("`{}` has no value; it must be {}", at.pointer.dotted(), shape.expectation());
        report.error(at, "wrong_type", message).help("give it a value, or remove the key");
        return None;
    }
    match (shape, scalar) {
        (Shape::Scalar, value) => return Some(Value::Scalar(value.clone())),
        (Shape::Text(rule), Scalar::Text(text)) => {
            if text.is_empty() && rule.empty == Empty::Refused {
                let message = format!("`{}` must not be empty", at.pointer.dotted());
                report.error(at, "invalid_value", message).did_you_mean(None);
            } else if text.len() > rule.max {
                let message = format!("`{}` has {} bytes", at.pointer.dotted(), text.len());
                report.error(at, "out_of_range", message).help(format!("it may have up to {}", rule.max));
            } else if text.contains('\0') {
                let message = format!("`{}` holds a NUL character", at.pointer.dotted());
                report.error(at, "invalid_value", message).did_you_mean(None);
            } else {
                return Some(Value::Text(text.clone()));
            }
        }
        (Shape::Text(_), Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(..)) => {
            let message = format!("`{}` must be text, not {}", at.pointer.dotted(), scalar.describe());
            let help = format!("put it in quotes: \"{}\"", shown(&scalar.to_text()));
            report.error(at, "wrong_type", message).help(help);
        }
        (Shape::Choice(names), Scalar::Text(text)) => {
            if names.contains(&text.as_str()) {
                return Some(Value::Text(text.clone()));
            }
            unknown_choice(text, names, shape, at, report);
        }
        (Shape::Bool, Scalar::Bool(value)) => return Some(Value::Bool(*value)),
        (Shape::Int { min, max }, Scalar::Int(number)) => {
            if (*min..=*max).contains(number) {
                return Some(Value::Int(*number));
            }
            out_of_range(scalar, shape, at, report);
        }
        (Shape::Int { .. }, Scalar::Float(..)) => out_of_range(scalar, shape, at, report),
        (Shape::Number { min, max }, Scalar::Int(_) | Scalar::Float(..)) => {
            let number = match scalar {
                Scalar::Int(number) => *number as f64,
                Scalar::Float(number, _) => *number,
                Scalar::Null | Scalar::Bool(_) | Scalar::Text(_) => f64::NAN,
            };
            if (*min..=*max).contains(&number) {
                return Some(Value::Number(number));
            }
            out_of_range(scalar, shape, at, report);
        }
        (Shape::Duration { min, max }, Scalar::Text(_) | Scalar::Int(_)) => {
            match read_duration(&scalar.to_text()) {
                Some(duration) if (*min..=*max).contains(&duration) => {
                    return Some(Value::Duration(duration));
                }
                Some(_) => out_of_range(scalar, shape, at, report),
                None => no_duration(scalar, at, report),
            }
        }
        (Shape::Size { min, max }, Scalar::Text(_) | Scalar::Int(_)) => match read_size(&scalar.to_text()) {
            Some(bytes) if (*min..=*max).contains(&bytes) => return Some(Value::Size(bytes)),
            Some(_) => out_of_range(scalar, shape, at, report),
            None => no_size(scalar, at, report),
        },
        (_, scalar) => wrong_type(shape, scalar.describe(), at, report),
    }
    None
}

fn unknown_choice(text: &str, names: &[&str], shape: &Shape, at: &Place, report: &mut Report<'_>) {
    let message = format!("`{}` cannot be `{}`", at.pointer.dotted(), shown(text));
    let reported = report.error(at, "unknown_value", message);
    match nearest(text, names.iter().copied()) {
        Some(name) => reported.did_you_mean(Some(name)),
        None => reported.help(format!("it must be {}", shape.expectation())),
    }
}

/// Reads a reference to a secret. What is none may be the secret itself, and is shown nowhere.
fn reference(kind: &Kind, shape: &Shape, at: &Place, report: &mut Report<'_>) -> Option<String> {
    match kind {
        Kind::Scalar(Scalar::Text(text)) if text.parse::<SecretRef>().is_ok() => return Some(text.clone()),
        Kind::Scalar(Scalar::Null) => {
            let message = format!("`{}` has no value", at.pointer.dotted());
            report.error(at, "wrong_type", message).help(format!("write {}", shape.expectation()));
        }
        Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) | Kind::Refused => {
            // Where a list or a mapping ends is not known; the rest of the line is hidden.
            let length = if matches!(kind, Kind::Scalar(_)) { at.span.length } else { 0 };
            report.hide(&Place { span: Span { length, ..at.span }, pointer: at.pointer.clone() });
            let message = format!("`{}` holds a value that is no reference to a secret", at.pointer.dotted());
            report.error(at, "literal_secret", message).help(format!("write {}", shape.expectation()));
        }
    }
    None
}

fn no_duration(scalar: &Scalar, at: &Place, report: &mut Report<'_>) {
    let text = scalar.to_text();
    let reported = report.error(at, "invalid_value", format!("`{}` is not a duration", shown(&text)));
    if matches!(scalar, Scalar::Int(_)) {
        reported.help(format!("say the unit: {text}s, {text}m or {text}h"));
    } else {
        reported.help("a duration is written like 30s, 5m, 6h, 2d or 1h30m");
    }
}

fn no_size(scalar: &Scalar, at: &Place, report: &mut Report<'_>) {
    let text = scalar.to_text();
    let reported = report.error(at, "invalid_value", format!("`{}` is not a size", shown(&text)));
    match meant_size(&text) {
        Some(meant) => reported.did_you_mean(Some(&meant)),
        None => reported.help("a size is written like 512MiB, 50GiB or 1TiB"),
    }
}

fn out_of_range(scalar: &Scalar, shape: &Shape, at: &Place, report: &mut Report<'_>) {
    let message = format!("`{}` cannot be {}", at.pointer.dotted(), shown(&scalar.to_text()));
    report.error(at, "out_of_range", message).help(format!("it must be {}", shape.expectation()));
}

/// A piece of the text for a message: on one line, and not too long.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut shown: String =
        text.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().count() > MOST {
        shown.push('…');
    }
    shown
}
