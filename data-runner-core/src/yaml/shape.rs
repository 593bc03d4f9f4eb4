//! What may stand where: tables that the reader and the JSON Schema share.

use std::time::Duration;

use super::{Kind, Node, Scalar, write_duration, write_size};

/// One key of a mapping.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) need: Need,
    /// For people; the description in the JSON Schema.
    pub(crate) about: &'static str,
}

/// Whether a key must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
}

/// What a value may be.
pub(crate) enum Shape {
    Text(TextRule),
    Choice(&'static [&'static str]),
    /// A reference to a secret. Whatever else stands there is hidden: it may be the secret.
    Reference,
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    Number {
        min: f64,
        max: f64,
    },
    Duration {
        min: Duration,
        max: Duration,
    },
    /// In bytes.
    Size {
        min: u64,
        max: u64,
    },
    /// Any scalar but nothing.
    Scalar,
    List {
        of: &'static Shape,
        min: usize,
        max: usize,
    },
    /// Names that the text chooses.
    Map {
        of: &'static Shape,
        max: usize,
    },
    Object(&'static [Key]),
    /// The first when the value is a scalar, the second otherwise.
    Either {
        scalar: &'static Shape,
        other: &'static Shape,
    },
}

/// What a text may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextRule {
    /// In bytes.
    pub(crate) max: usize,
    pub(crate) empty: Empty,
}

/// Whether a text may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    Allowed,
    Refused,
}

impl Shape {
    /// A text that is not empty.
    pub(crate) const fn text(max: usize) -> Self {
        Self::Text(TextRule { max, empty: Empty::Refused })
    }

    /// A text that may be empty.
    pub(crate) const fn free_text(max: usize) -> Self {
        Self::Text(TextRule { max, empty: Empty::Allowed })
    }

    /// What is expected, to be read after "must be".
    pub(crate) fn expectation(&self) -> String {
        match self {
            Self::Text(_) => "text".to_owned(),
            Self::Choice([name]) => (*name).to_owned(),
            Self::Reference => {
                "a reference: env://NAME, aws-ssm:///path/name or aws-secretsmanager://id#key".to_owned()
            }
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::Bool => "true or false".to_owned(),
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Duration { min, max } => {
                let (min, max) = (write_duration(*min), write_duration(*max));
                format!("a duration from {min} to {max}, such as 30s, 5m, 6h, 2d or 1h30m")
            }
            Self::Size { min, max } => {
                format!("a size from {} to {}, such as 50GiB", write_size(*min), write_size(*max))
            }
            Self::Scalar => "text, a number, true or false".to_owned(),
            Self::List { of, .. } => match of {
                Self::Text(_) | Self::Choice(_) | Self::Reference => "a list of texts".to_owned(),
                Self::Object(_) => "a list of mappings".to_owned(),
                Self::Bool
                | Self::Int { .. }
                | Self::Number { .. }
                | Self::Duration { .. }
                | Self::Size { .. }
                | Self::Scalar
                | Self::List { .. }
                | Self::Map { .. }
                | Self::Either { .. } => "a list".to_owned(),
            },
            Self::Map { .. } => "a mapping of names to values".to_owned(),
            Self::Object(keys) => {
                let names: Vec<_> = keys.iter().map(|k| k.name).collect();
                if names.len() > 6 {
                    "a mapping of keys to values".to_owned()
                } else {
                    format!("a mapping with the keys {}", names.join(", "))
                }
            }
            Self::Either { scalar, other } => format!("{} or {}", scalar.expectation(), other.expectation()),
        }
    }

    /// The shape that a node of this kind must have: the alternative, where there is a choice.
    pub(crate) fn for_node(&'static self, node: &Node) -> &'static Self {
        match (self, &node.kind) {
            (Self::Either { scalar, .. }, Kind::Scalar(value)) if *value != Scalar::Null => {
                scalar.for_node(node)
            }
            (Self::Either { other, .. }, Kind::List(_) | Kind::Map(_)) => other.for_node(node),
            _ => self,
        }
    }
}
