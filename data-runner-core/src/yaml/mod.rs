//! Configuration text, read strictly: YAML becomes a tree that knows its places, a table of keys says what is
//! expected, and everything that is wrong is found in one pass.
//!
//! The way of a text: [`load`] (limits, YAML, duplicate keys) → [`check`] against a [`Shape`] (unknown and missing
//! keys, types, ranges) → typed values with their places, from which `workflow::config` and `settings` build theirs.
//! The same [`Shape`] makes the JSON Schema, so that both can only say the same.

mod check;
mod duration;
mod load;
mod nearest;
// A test that looks at files, which nothing else of core does.
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]
mod reference;
mod report;
mod scalar;
mod schema;
mod shape;
mod size;
mod value;

pub(crate) use check::{check, shown};
pub(crate) use duration::write_duration;
pub(crate) use load::{Loaded, load};
pub(crate) use nearest::nearest;
pub(crate) use report::{Place, Pointer, Report, Span};
pub(crate) use scalar::Scalar;
pub(crate) use schema::json_schema;
pub(crate) use shape::{Key, Need, Shape};
pub(crate) use size::write_size;
pub(crate) use value::{Object, Placed, Value};

/// The longest text that is read, in bytes. Longer ones are refused before anything looks at them.
pub(crate) const MAX_BYTES: usize = 256 * 1024;

/// A node of the tree, with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: report::Span,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something that was reported already; whoever meets it says nothing.
    Refused,
}

/// A key of a mapping and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: report::Span,
    pub(crate) value: Node,
}

impl Kind {
    /// What a person calls it.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Scalar(scalar) => scalar.describe(),
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
            Self::Refused => "something else",
        }
    }
}
