//! `config.yaml`: from text to a [`WorkflowConfig`], or to all the problems of it, each with its place.

mod build;
mod graph;
mod keys;
mod parse;
mod problem;
mod render;
mod schema;
mod script;
mod types;
mod write;

pub use graph::{NeedsOf, check_needs};
#[cfg(test)]
pub(crate) use keys::CONFIG;
pub(crate) use parse::decode;
pub use parse::{ParseContext, Parsed, parse};
pub use problem::{Location, Problem, Severity};
pub use render::{render, render_github};
pub use schema::{SCHEMA_PATH, json_schema};
pub use script::check_script;
pub use types::{ParamDefault, ParamKind, ParamSpec, WorkflowConfig};
pub use write::to_yaml;
