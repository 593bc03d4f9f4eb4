//! Masking: what a job prints is searched for the values of its secrets before anything of it is written down.
//!
//! A value is found as it is, in base64 (also as a part of something larger), percent-encoded, and escaped as in JSON;
//! see [`forms`]. Whatever is found becomes `***`, however the output is cut into reads.

mod forms;
mod matcher;

use std::collections::BTreeSet;
use std::sync::Arc;

use data_runner_core::execution::Failure;
use serde_json::Value;

use matcher::{Matcher, NodeId};

/// What stands in the place of a secret.
const MASK: &[u8] = b"***";

/// The values to look for. Clones share them.
#[derive(Clone)]
pub(crate) struct Secrets {
    matcher: Arc<Matcher>,
}

impl Secrets {
    /// Looks for each of `values` in all its forms. Values of less than four bytes are not looked for: everything
    /// would be masked, and by that the value told.
    pub(crate) fn new<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let forms: BTreeSet<Vec<u8>> = values.flat_map(forms::forms).collect();
        Self { matcher: Arc::new(Matcher::new(&forms)) }
    }

    /// The same bytes with every secret masked.
    pub(crate) fn mask(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = MaskedStream::new(self.clone());
        let mut masked = Vec::with_capacity(bytes.len());
        stream.push(bytes, &mut masked);
        stream.finish(&mut masked);
        masked
    }

    /// The same text with every secret masked.
    pub(crate) fn mask_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.mask(text.as_bytes())).into_owned()
    }

    /// The same failure with every secret masked.
    pub(crate) fn mask_failure(&self, failure: Failure) -> Failure {
        Failure {
            cause: failure.cause,
            message: self.mask_text(&failure.message),
            hint: failure.hint.map(|hint| self.mask_text(&hint)),
        }
    }

    /// The same value with every secret masked in its texts and names; a number that is a secret becomes a text.
    pub(crate) fn mask_json(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.mask_text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.mask_json(item)).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(name, value)| (self.mask_text(&name), self.mask_json(value)))
                .collect(),
            Value::Number(number) => {
                let text = number.to_string();
                let masked = self.mask_text(&text);
                if masked == text { Value::Number(number) } else { Value::String(masked) }
            }
            other @ (Value::Null | Value::Bool(_)) => other,
        }
    }
}

/// One stream of output on its way through the mask.
///
/// What might be the beginning of a secret is held back until it is known whether it is one: never more than the
/// longest form of a secret.
pub(crate) struct MaskedStream {
    secrets: Secrets,
    node: NodeId,
    /// Bytes that came in and are neither given out nor swallowed.
    held: Vec<u8>,
    /// Stretches of `held` that are secrets, in order, apart from each other.
    found: Vec<(usize, usize)>,
    /// So many of the next bytes belong to a secret whose mask is given out.
    swallow: usize,
}

impl MaskedStream {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self { secrets, node: Matcher::ROOT, held: Vec::new(), found: Vec::new(), swallow: 0 }
    }

    /// Takes `bytes` in and gives out what is certain now.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut at = self.held.len();
        self.held.extend_from_slice(bytes);
        let matcher = Arc::clone(&self.secrets.matcher);
        while at < self.held.len() {
            if self.node == Matcher::ROOT {
                at += matcher.skip(&self.held[at..]);
                if at == self.held.len() {
                    break;
                }
            }
            self.node = matcher.next(self.node, self.held[at]);
            at += 1;
            let length = matcher.longest_match(self.node);
            if length > 0 {
                self.add(at, length);
            }
        }
        self.give_out(self.held.len() - matcher.depth(self.node), out);
    }

    /// The stream has ended: gives out all that was held back.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.give_out(self.held.len(), out);
        self.node = Matcher::ROOT;
    }

    /// The `length` bytes before `end` are a secret. What of it was given out or swallowed before was one too.
    fn add(&mut self, end: usize, length: usize) {
        let start = end.saturating_sub(length);
        if start < self.swallow {
            self.swallow = self.swallow.max(end);
            return;
        }
        let mut start = start;
        while let Some(&(earlier, until)) = self.found.last() {
            if until <= start {
                break;
            }
            start = start.min(earlier);
            self.found.pop();
        }
        self.found.push((start, end));
    }

    /// Gives out what no secret to come can begin before: the first `certain` bytes of what is held.
    fn give_out(&mut self, certain: usize, out: &mut Vec<u8>) {
        let mut done = self.swallow.min(certain);
        let mut swallowed_to = self.swallow;
        let mut passed = 0;
        for &(start, end) in &self.found {
            if start >= certain {
                break;
            }
            if start >= swallowed_to {
                out.extend_from_slice(&self.held[done..start]);
                out.extend_from_slice(MASK);
            }
            swallowed_to = swallowed_to.max(end);
            done = swallowed_to.min(certain);
            passed += 1;
        }
        out.extend_from_slice(&self.held[done..certain]);
        self.held.drain(..certain);
        self.found.drain(..passed);
        for (start, end) in &mut self.found {
            *start -= certain;
            *end -= certain;
        }
        self.swallow = swallowed_to.saturating_sub(certain);
    }
}

#[cfg(test)]
mod tests;
