//! What is answered when a request is refused (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A problem document, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable name of the kind of problem: `urn:data-runner:problem:` and a code such as `workflow_not_found`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind for people; the same in each case.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What it is in this case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do about it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The single faults, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

/// One fault of a request, or of a file that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// The JSON pointer (RFC 6901) of the value that is meant, in the request's body or in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The file, if it is about one; relative to the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column in characters, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// A stable code.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What was expected, or the nearest valid name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}
