//! From text to a tree: limits first, then YAML, then duplicate keys.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as YamlSpan};

use super::report::{Place, Pointer, Report, Span};
use super::{Entry, Kind, Node, Scalar};

const MAX_DEPTH: usize = 16;
const MAX_NODES: usize = 10_000;
const MAX_KEY_BYTES: usize = 256;

/// What became of a text.
pub(crate) enum Loaded {
    /// It says nothing.
    Empty,
    /// It is YAML; some of it may be refused and reported nevertheless.
    Tree(Node),
    /// It cannot be read; that is reported.
    Broken,
}

/// Reads `text`, which is number `source` of the report.
pub(crate) fn load(text: &str, source: usize, report: &mut Report<'_>) -> Loaded {
    if let Some(span) = control_character(text, source) {
        let help = "remove it; in double quotes it can be written as an escape such as \\u0007";
        report.error(&whole(span), "invalid_character", "there is a control character").help(help);
        return Loaded::Broken;
    }
    let mut loader = Loader { source, report, open: Vec::new(), root: None, nodes: 0, documents: 0 };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                if loader.event(event, span).is_err() {
                    return Loaded::Broken;
                }
            }
            Err(error) => {
                let at = *error.marker();
                let span = loader.span(YamlSpan { start: at, end: at });
                let help = if begins_with_star(text, span) {
                    "put text that begins with * in quotes, such as \"*/15 * * * *\"; nothing after this place was read"
                } else {
                    "nothing after this place was read; indent with spaces, and put text that holds `: ` or ` #` in quotes"
                };
                loader
                    .report
                    .error(&whole(Span { length: 1, ..span }), "invalid_yaml", error.info())
                    .help(help);
                return Loaded::Broken;
            }
        }
    }
    match loader.root.take() {
        None => Loaded::Empty,
        Some(node) if matches!(node.kind, Kind::Scalar(Scalar::Null)) => Loaded::Empty,
        Some(node) => Loaded::Tree(node),
    }
}

/// Whether a value of this line begins with `*`, up to the place where it could not be read: YAML means something else
/// by that than cron does.
fn begins_with_star(text: &str, at: Span) -> bool {
    let line = text.lines().nth(at.line as usize - 1).unwrap_or_default();
    let up_to: String = line.chars().take(at.column as usize).collect();
    [": *", "- *"].iter().any(|front| up_to.contains(front))
}

fn whole(span: Span) -> Place {
    Place { span, pointer: Pointer::default() }
}

/// The first character that YAML forbids. The parser takes NUL for the end of the text, and so would hide what follows.
fn control_character(text: &str, source: usize) -> Option<Span> {
    let (mut line, mut column) = (1, 1);
    let mut before = '\0';
    for character in text.chars() {
        match character {
            '\n' if before == '\r' => {}
            '\n' | '\r' => (line, column) = (line + 1, 1),
            '\t' => column += 1,
            c if c.is_control() && c != '\u{85}' => {
                return Some(Span { source, line, column, length: 1 });
            }
            _ => column += 1,
        }
        before = character;
    }
    None
}

/// The text cannot be read further; that is reported.
struct Stop;

enum Open {
    List { at: Span, items: Vec<Node> },
    Map { at: Span, entries: Vec<Entry>, lines: BTreeMap<String, u32>, key: Option<PendingKey> },
}

/// A key that waits for its value.
enum PendingKey {
    Valid {
        key: String,
        at: Span,
    },
    /// It was reported; its value is dropped.
    Refused,
}

struct Loader<'r, 't> {
    source: usize,
    report: &'r mut Report<'t>,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
}

impl Loader<'_, '_> {
    fn event(&mut self, event: Event<'_>, span: YamlSpan) -> Result<(), Stop> {
        let at = self.span(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    let help = "keep one, without the `---` line that begins the next";
                    self.report
                        .error(&whole(at), "several_documents", "there is more than one document")
                        .help(help);
                    return Err(Stop);
                }
                Ok(())
            }
            Event::Alias(_) => {
                self.count(at)?;
                let help = "write the value out";
                self.report.error(&self.place(at), "alias_not_allowed", "an alias is not allowed").help(help);
                self.finish(Node { at, kind: Kind::Refused });
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.begin(at, anchor, tag.is_some())?;
                let scalar = match style {
                    ScalarStyle::Plain => Scalar::plain(&text),
                    ScalarStyle::SingleQuoted
                    | ScalarStyle::DoubleQuoted
                    | ScalarStyle::Literal
                    | ScalarStyle::Folded => Scalar::Text(text.into_owned()),
                };
                self.finish(Node { at, kind: Kind::Scalar(scalar) });
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(at, anchor, tag.is_some())?;
                self.enter(Open::List { at, items: Vec::new() }, at)
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(at, anchor, tag.is_some())?;
                self.enter(Open::Map { at, entries: Vec::new(), lines: BTreeMap::new(), key: None }, at)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let node = match open {
                        Open::List { at, items } => Node { at, kind: Kind::List(items) },
                        Open::Map { at, entries, .. } => Node { at, kind: Kind::Map(entries) },
                    };
                    self.finish(node);
                }
                Ok(())
            }
        }
    }

    fn count(&mut self, at: Span) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("there are more than {MAX_NODES} values");
            self.report
                .error(&self.place(at), "too_many_values", message)
                .help("move data into files of their own");
            return Err(Stop);
        }
        Ok(())
    }

    fn begin(&mut self, at: Span, anchor: usize, tagged: bool) -> Result<(), Stop> {
        self.count(at)?;
        if anchor != 0 {
            let help = "write the value out wherever it is needed";
            self.report.error(&self.place(at), "anchor_not_allowed", "an anchor is not allowed").help(help);
        }
        if tagged {
            let help = "remove the tag; quotes make a text of anything";
            self.report.error(&self.place(at), "tag_not_allowed", "a tag is not allowed").help(help);
        }
        Ok(())
    }

    fn enter(&mut self, open: Open, at: Span) -> Result<(), Stop> {
        if self.open.len() >= MAX_DEPTH {
            let message = format!("values are nested more than {MAX_DEPTH} deep");
            self.report.error(&self.place(at), "too_deep", message).did_you_mean(None);
            return Err(Stop);
        }
        self.open.push(open);
        Ok(())
    }

    /// Puts a complete node where it belongs.
    fn finish(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => self.key(node),
                Some(PendingKey::Refused) => {}
                Some(PendingKey::Valid { key, at }) => {
                    // Nothing stands nowhere: what is said of it is said of its key.
                    let nothing = matches!(node.kind, Kind::Scalar(Scalar::Null)) && node.at.length <= 1;
                    let value = if nothing { Node { at, ..node } } else { node };
                    entries.push(Entry { key, key_at: at, value });
                }
            },
        }
    }

    fn key(&mut self, node: Node) {
        let at = self.place(node.at);
        let text = match &node.kind {
            Kind::Scalar(scalar) => scalar.to_text(),
            Kind::List(_) | Kind::Map(_) | Kind::Refused => String::new(),
        };
        let Some(Open::Map { lines, key, .. }) = self.open.last_mut() else {
            return;
        };
        if matches!(node.kind, Kind::Refused) {
            *key = Some(PendingKey::Refused);
        } else if text.is_empty() || text.len() > MAX_KEY_BYTES {
            *key = Some(PendingKey::Refused);
            let message = format!("a key must be a text of 1 to {MAX_KEY_BYTES} bytes");
            self.report.error(&at, "invalid_key", message).did_you_mean(None);
        } else if let Some(line) = lines.get(&text) {
            *key = Some(PendingKey::Refused);
            let place = Place { pointer: at.pointer.child(&text), ..at };
            let help = format!("it is on line {line} already");
            self.report.error(&place, "duplicate_key", format!("`{text}` is given twice")).help(help);
        } else {
            lines.insert(text.clone(), node.at.line);
            *key = Some(PendingKey::Valid { key: text, at: node.at });
        }
    }

    /// Where the loader stands, as a pointer to what is being read.
    fn place(&self, span: Span) -> Place {
        let mut pointer = Pointer::default();
        for open in &self.open {
            pointer = match open {
                Open::List { items, .. } => pointer.child(items.len().to_string()),
                Open::Map { key: Some(PendingKey::Valid { key, .. }), .. } => pointer.child(key),
                Open::Map { .. } => pointer,
            };
        }
        Place { span, pointer }
    }

    fn span(&self, span: YamlSpan) -> Span {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (start, end) = (span.start, span.end);
        let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 0 };
        Span {
            source: self.source,
            line: number(start.line().max(1)),
            column: number(start.col()).saturating_add(1),
            length: number(length),
        }
    }
}
