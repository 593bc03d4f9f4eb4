//! `config.yaml`: from text to a [`WorkflowConfig`], or to all the problems of it, each with its place.

mod problem;
mod stub;
mod types;
pub use stub::*;

pub use problem::{Location, Problem, Severity};
pub use types::{ParamDefault, ParamKind, ParamSpec, WorkflowConfig};
