//! What the server says when it refuses.

use std::fmt;

use data_runner_rest::api::{Fault, Problem};

/// A refusal: a problem document (RFC 9457), read by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Box<Problem>);

impl Refusal {
    /// What stands in an answer of that status, which may be no problem document at all.
    pub fn read(status: u16, reason: &str, body: &str) -> Self {
        let document = serde_json::from_str::<Problem>(body).map(|problem| Problem { status, ..problem });
        let body = body.trim();
        Self(Box::new(document.unwrap_or_else(|_| Problem {
            kind: "about:blank".to_owned(),
            title: format!("the server answered {status} {reason}"),
            status,
            detail: (!body.is_empty() && body.len() < 400).then(|| body.to_owned()),
            hint: None,
            errors: Vec::new(),
        })))
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// What to do about it, as far as it or its status tells.
    pub fn help(&self) -> Option<String> {
        let known = match self.0.status {
            401 => {
                let put = "put it into DATA_RUNNER_TOKEN, or into a context with `data-runner context add`";
                return Some(match &self.0.hint {
                    Some(hint) => format!("{hint}; {put}"),
                    None => format!("get a token of this server and {put}"),
                });
            }
            403 => Some("the token has no right to do this; use one with a wider scope"),
            429 | 503 => Some("try again in a moment"),
            _ => None,
        };
        self.0.hint.clone().or(known.map(ToOwned::to_owned))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.detail.as_deref().unwrap_or(&self.0.title))?;
        // A single fault is often what the detail says already.
        let said = self.0.detail.as_deref().unwrap_or_default();
        for fault in self.0.errors.iter().filter(|fault| !said.contains(&fault.message)) {
            write!(f, "\n  - {}", line(fault))?;
        }
        Ok(())
    }
}

fn line(fault: &Fault) -> String {
    // Parameters of a call are no file, though they are told as one.
    let file = fault.file.as_ref().filter(|file| file.contains('.'));
    let place = match (file, fault.line, fault.column) {
        _ if fault.file.is_some() && file.is_none() => String::new(),
        (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
        (None, Some(line), Some(column)) => format!("line {line}, column {column}: "),
        (Some(file), _, _) => format!("{file}: "),
        (None, _, _) => match fault.pointer.as_deref() {
            Some("") | None => String::new(),
            Some(pointer) => format!("{pointer}: "),
        },
    };
    let help = fault.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{place}{}{help}", fault.message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_problem_document_reads_as_a_sentence_with_its_faults() {
        let body = r#"{"type": "urn:data-runner:problem:invalid_params", "title": "Invalid parameters", "status": 422,
            "detail": "the parameters of etl/daily do not fit", "hint": "see workflow show", "errors": [
            {"pointer": "/params/day", "code": "wrong_type", "message": "no date", "help": "YYYY-MM-DD"}]}"#;
        let refusal = Refusal::read(422, "Unprocessable", body);
        assert_eq!(
            refusal.to_string(),
            "the parameters of etl/daily do not fit\n  - /params/day: no date (YYYY-MM-DD)"
        );
        assert_eq!(refusal.help().as_deref(), Some("see workflow show"));
    }

    #[test]
    fn a_token_that_is_wanted_is_told_where_to_put() {
        let refusal = Refusal::read(401, "Unauthorized", "");
        assert!(
            refusal
                .help()
                .unwrap()
                .starts_with("get a token of this server and put it into DATA_RUNNER_TOKEN")
        );
        let body = r#"{"type": "x", "title": "A token is needed", "status": 401, "hint": "ask an operator"}"#;
        let help = Refusal::read(401, "Unauthorized", body).help().unwrap();
        assert!(help.starts_with("ask an operator; put it into DATA_RUNNER_TOKEN"), "{help}");
    }

    #[test]
    fn an_answer_of_something_else_is_shown_as_it_is() {
        let refusal = Refusal::read(502, "Bad Gateway", "upstream is down\n");
        assert_eq!((refusal.to_string().as_str(), refusal.status()), ("upstream is down", 502));
        assert_eq!(Refusal::read(502, "Bad Gateway", "").to_string(), "the server answered 502 Bad Gateway");
    }
}
