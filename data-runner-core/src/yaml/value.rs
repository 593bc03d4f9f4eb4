//! Values that were checked: typed, and with their places.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Place, Scalar};

/// Something with its place.
#[derive(Debug, Clone)]
pub(crate) struct Placed<T> {
    pub(crate) at: Place,
    pub(crate) value: T,
}

/// A value that has the shape it must have.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Bool(bool),
    Int(i64),
    Number(f64),
    Duration(Duration),
    Size(u64),
    Scalar(Scalar),
    /// Items that were refused (and reported) are missing.
    List(Vec<Placed<Value>>),
    /// Likewise.
    Map(Vec<(Placed<String>, Placed<Value>)>),
    Object(Object),
}

/// A mapping with the keys of a table. Keys that are absent, or were refused and reported, read as `None`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object {
    pub(super) fields: BTreeMap<&'static str, Placed<Value>>,
    pub(super) keys: BTreeMap<&'static str, Place>,
}

impl Placed<Value> {
    /// The object, if it is one.
    pub(crate) fn into_object(self) -> Option<Placed<Object>> {
        let Value::Object(value) = self.value else {
            return None;
        };
        Some(Placed { at: self.at, value })
    }

    /// The items, if it is a list.
    pub(crate) fn into_list(self) -> Vec<Placed<Value>> {
        let Value::List(items) = self.value else {
            return Vec::new();
        };
        items
    }

    /// The scalar, if it is one.
    pub(crate) fn into_scalar(self) -> Option<Placed<Scalar>> {
        let Value::Scalar(value) = self.value else {
            return None;
        };
        Some(Placed { at: self.at, value })
    }

    /// The text, if it is one.
    pub(crate) fn into_text(self) -> Option<Placed<String>> {
        let Value::Text(value) = self.value else {
            return None;
        };
        Some(Placed { at: self.at, value })
    }
}

impl Object {
    /// The place of a key that is there, be its value refused or not.
    pub(crate) fn place(&self, key: &str) -> Option<Place> {
        self.keys.get(key).cloned()
    }

    /// Takes a value of any shape.
    pub(crate) fn take(&mut self, key: &str) -> Option<Placed<Value>> {
        self.fields.remove(key)
    }

    /// Takes a text (or the choice of one).
    pub(crate) fn text(&mut self, key: &str) -> Option<Placed<String>> {
        self.take(key)?.into_text()
    }

    /// Takes a whole number.
    pub(crate) fn int(&mut self, key: &str) -> Option<i64> {
        let Value::Int(value) = self.take(key)?.value else {
            return None;
        };
        Some(value)
    }

    /// Takes a number.
    pub(crate) fn number(&mut self, key: &str) -> Option<f64> {
        let Value::Number(value) = self.take(key)?.value else {
            return None;
        };
        Some(value)
    }

    /// Takes a duration.
    pub(crate) fn duration(&mut self, key: &str) -> Option<Duration> {
        let Value::Duration(value) = self.take(key)?.value else {
            return None;
        };
        Some(value)
    }

    /// Takes a size in bytes.
    pub(crate) fn size(&mut self, key: &str) -> Option<u64> {
        let Value::Size(value) = self.take(key)?.value else {
            return None;
        };
        Some(value)
    }

    /// Takes a true or a false.
    pub(crate) fn bool(&mut self, key: &str) -> Option<bool> {
        let Value::Bool(value) = self.take(key)?.value else {
            return None;
        };
        Some(value)
    }

    /// Takes any scalar.
    pub(crate) fn scalar(&mut self, key: &str) -> Option<Placed<Scalar>> {
        self.take(key)?.into_scalar()
    }

    /// Takes a list; an absent one is empty.
    pub(crate) fn list(&mut self, key: &str) -> Vec<Placed<Value>> {
        self.take(key).map(Placed::into_list).unwrap_or_default()
    }

    /// Takes a list of texts; an absent one is empty.
    pub(crate) fn texts(&mut self, key: &str) -> Vec<Placed<String>> {
        self.list(key).into_iter().filter_map(Placed::into_text).collect()
    }

    /// Takes a mapping of free names; an absent one is empty.
    pub(crate) fn map(&mut self, key: &str) -> Vec<(Placed<String>, Placed<Value>)> {
        let Some(Placed { value: Value::Map(entries), .. }) = self.take(key) else {
            return Vec::new();
        };
        entries
    }

    /// Takes a mapping of free names to texts; an absent one is empty.
    pub(crate) fn text_map(&mut self, key: &str) -> Vec<(Placed<String>, Placed<String>)> {
        self.map(key).into_iter().filter_map(|(name, value)| Some((name, value.into_text()?))).collect()
    }

    /// Takes an object; an absent one has no keys.
    pub(crate) fn object(&mut self, key: &str) -> Object {
        self.take(key).and_then(Placed::into_object).map(|object| object.value).unwrap_or_default()
    }
}
