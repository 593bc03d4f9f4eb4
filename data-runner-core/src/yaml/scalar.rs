//! What a plain word means: the core schema of YAML 1.2.2 (chapter 10.3.2), where `no` is a text and `017` is seventeen.

/// A scalar with its type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    /// Nothing, `~` or `null`.
    Null,
    Bool(bool),
    Int(i64),
    /// Also a whole number that 64 bits cannot hold. The text is kept, to show it as it was written.
    Float(f64, String),
    Text(String),
}

impl Scalar {
    /// Types a scalar that stands without quotes.
    pub(crate) fn plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            _ => {}
        }
        if let Some(number) = int(text) {
            return number.map_or_else(
                || Self::Float(text.parse().unwrap_or(f64::INFINITY), text.to_owned()),
                Self::Int,
            );
        }
        float(text).map_or_else(|| Self::Text(text.to_owned()), |number| Self::Float(number, text.to_owned()))
    }

    /// What a person calls it.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Float(..) => "a number",
            Self::Text(_) => "text",
        }
    }

    /// The value as text that means the same when it is read without quotes.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(_, text) | Self::Text(text) => text.clone(),
        }
    }
}

/// `None`: no whole number. `Some(None)`: one that 64 bits cannot hold.
fn int(text: &str) -> Option<Option<i64>> {
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let valid = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            return valid.then(|| i64::from_str_radix(digits, radix).ok());
        }
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| text.parse().ok())
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        ".nan" | ".NaN" | ".NAN" => return (unsigned == text).then_some(f64::NAN),
        _ => {}
    }
    // Rust reads more than YAML does ("inf", "nan"), so only what is made of these characters gets that far.
    let numeric = unsigned.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'-' | b'+'));
    let starts = unsigned.bytes().find(|b| *b != b'.').is_some_and(|b| b.is_ascii_digit());
    // What is too large for a number is written without quotes as text, and so it is read.
    (numeric && starts).then(|| text.parse().ok()).flatten().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_have_the_types_of_the_core_schema() {
        use Scalar::{Bool, Int, Null, Text};
        for (text, scalar) in [
            ("", Null),
            ("~", Null),
            ("true", Bool(true)),
            ("no", Text("no".into())),
            ("on", Text("on".into())),
            ("017", Int(17)),
            ("-3", Int(-3)),
            ("0o17", Int(15)),
            ("0xff", Int(255)),
            ("0x", Text("0x".into())),
            ("1_000", Text("1_000".into())),
            ("12:30", Text("12:30".into())),
            ("2026-08-01", Text("2026-08-01".into())),
            ("inf", Text("inf".into())),
            ("nan", Text("nan".into())),
            ("e5", Text("e5".into())),
            ("-", Text("-".into())),
            (".", Text(".".into())),
            ("1.4.4", Text("1.4.4".into())),
            ("69e396", Text("69e396".into())),
            ("3.12", Scalar::Float(3.12, "3.12".into())),
            (".5", Scalar::Float(0.5, ".5".into())),
            ("1e3", Scalar::Float(1000.0, "1e3".into())),
            ("-.inf", Scalar::Float(f64::NEG_INFINITY, "-.inf".into())),
            ("99999999999999999999", Scalar::Float(1e20, "99999999999999999999".into())),
        ] {
            assert_eq!(Scalar::plain(text), scalar, "{text:?}");
        }
    }
}
