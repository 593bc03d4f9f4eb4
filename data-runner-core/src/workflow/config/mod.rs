//! `config.yaml`: from text to a [`WorkflowConfig`], or to all the problems of it, each with its place.

mod problem;
mod types;

pub use problem::{Location, Problem, Severity};
pub use types::{ParamDefault, ParamKind, ParamSpec, WorkflowConfig};
