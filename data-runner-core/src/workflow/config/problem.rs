//! What is wrong with a text, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is wrong, or probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable code, such as `unknown_key`.
    pub code: String,
    /// Whether it can be run nevertheless.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What was expected, or the nearest valid name.
    pub help: Option<String>,
    /// Where; `None` when it is about the whole.
    pub location: Option<Location>,
}

/// Whether a problem forbids to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The file's path, relative to the repository.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters are meant, at least 1.
    pub length: u32,
    /// The text of the line, without its end.
    pub text: String,
    /// The JSON pointer (RFC 6901) of the value that is meant.
    pub pointer: String,
}

impl fmt::Display for Problem {
    /// `file:line:column: code: message`, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.location {
            write!(f, "{}:{}:{}: ", at.file, at.line, at.column)?;
        }
        write!(f, "{}: {}", self.code, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}
