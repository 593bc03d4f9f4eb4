//! How a workflow's executions stand in line.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ParamValue;
use crate::execution::{Concurrency, OnConflict, Priority, Queueing};

/// What a configuration says of it; with an execution's parameters it becomes that one's [`Queueing`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueueingRules {
    /// What it is worth to wait for them.
    #[serde(default)]
    pub priority: Priority,
    /// How many of them may run at one time.
    #[serde(default)]
    pub concurrency: Option<ConcurrencyRule>,
    /// How long they may wait to be started.
    #[serde(default)]
    pub start_within: Option<Duration>,
}

impl QueueingRules {
    /// That of one execution.
    pub fn resolve(&self, params: &BTreeMap<String, ParamValue>) -> Queueing {
        let concurrency = self.concurrency.as_ref().map(|rule| Concurrency {
            limit: rule.limit,
            key: rule.key.resolve(params),
            on_conflict: rule.on_conflict,
        });
        Queueing { priority: self.priority, concurrency, start_within: self.start_within }
    }
}

/// How many executions may run at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConcurrencyRule {
    /// So many.
    pub limit: NonZeroU32,
    /// Those whose key is the same count together; an empty one is the same for all.
    pub key: KeyTemplate,
    /// What happens to one that can't start at once.
    pub on_conflict: OnConflict,
}

/// Text with references to parameters: `${params.region}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyTemplate(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Param(String),
}

/// Something in a text begins with `${` and refers to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` means nothing here: a key refers to parameters, as in ${{params.region}}")]
pub struct UnknownReference(pub String);

impl KeyTemplate {
    /// The parameters that it refers to, in order.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Param(name) => Some(name.as_str()),
        })
    }

    /// The text with the parameters' values in it; of a parameter that is not there, nothing.
    pub fn resolve(&self, params: &BTreeMap<String, ParamValue>) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Param(name) => params.get(name).map(ParamValue::to_text).unwrap_or_default(),
        };
        self.0.iter().map(text).collect()
    }
}

impl FromStr for KeyTemplate {
    type Err = UnknownReference;

    fn from_str(text: &str) -> Result<Self, UnknownReference> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, reference)) = rest.split_once("${") {
            let unknown = || UnknownReference(format!("${{{reference}"));
            let (inner, after) = reference.split_once('}').ok_or_else(unknown)?;
            let name = inner.strip_prefix("params.").filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| UnknownReference(format!("${{{inner}}}")))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Param(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }
}

impl TryFrom<String> for KeyTemplate {
    type Error = UnknownReference;

    fn try_from(text: String) -> Result<Self, UnknownReference> {
        text.parse()
    }
}

impl From<KeyTemplate> for String {
    fn from(template: KeyTemplate) -> Self {
        template.to_string()
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Param(name) => write!(f, "${{params.{name}}}"),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_takes_the_values_of_parameters_and_reads_back_as_it_was_written() {
        let params = BTreeMap::from([
            ("region".to_owned(), ParamValue::String("eu".to_owned())),
            ("n".to_owned(), ParamValue::Int(3)),
        ]);
        for (text, resolved) in [
            ("${params.region}", "eu"),
            ("a-${params.n}/${params.region}$}", "a-3/eu$}"),
            ("all", "all"),
            ("", ""),
        ] {
            let template: KeyTemplate = text.parse().unwrap();
            assert_eq!(template.to_string(), text);
            assert_eq!(template.resolve(&params), resolved);
        }
    }

    #[test]
    fn a_reference_to_anything_else_is_named() {
        let unknown = |text: &str| text.parse::<KeyTemplate>().unwrap_err().0;
        assert_eq!(unknown("x-${schedule.date}-y"), "${schedule.date}");
        assert_eq!(unknown("${params.}"), "${params.}");
        assert_eq!(unknown("${params.region"), "${params.region");
    }
}
