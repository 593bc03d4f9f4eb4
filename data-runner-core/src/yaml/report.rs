//! Where things stand, and what is wrong with them.

use std::rc::Rc;

use crate::workflow::config::{Location, Problem, Severity};

/// More than this nobody reads; the rest is counted.
const MAX_PROBLEMS: usize = 100;
/// What is kept of a very long line, in characters.
const MAX_LINE: usize = 1_000;

/// A place in one of the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// The text's number in the [`Report`].
    pub(crate) source: usize,
    /// From 1.
    pub(crate) line: u32,
    /// In characters, from 1.
    pub(crate) column: u32,
    /// In characters; 0 means up to the end of the line.
    pub(crate) length: u32,
}

impl Span {
    /// The start of a text.
    pub(crate) const fn start(source: usize) -> Self {
        Self { source, line: 1, column: 1, length: 1 }
    }
}

/// A JSON pointer (RFC 6901) that shares its front with its neighbours, and costs nothing until it is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pointer(Option<Rc<Segment>>);

#[derive(Debug)]
struct Segment {
    parent: Pointer,
    name: String,
}

impl Pointer {
    /// The pointer to what is called `name` in this.
    pub(crate) fn child(&self, name: impl Into<String>) -> Self {
        Self(Some(Rc::new(Segment { parent: self.clone(), name: name.into() })))
    }

    /// The last name, if this is not the whole document.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|segment| segment.name.as_str())
    }

    /// What a person calls it: `params.day.type`.
    pub(crate) fn dotted(&self) -> String {
        self.names().join(".")
    }

    fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        let mut at = self;
        while let Some(segment) = &at.0 {
            names.push(segment.name.as_str());
            at = &segment.parent;
        }
        names.reverse();
        names
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.names().iter().try_for_each(|name| write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")))
    }
}

/// A place with the value that is meant.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) span: Span,
    pub(crate) pointer: Pointer,
}

struct Source<'t> {
    name: String,
    lines: Vec<&'t str>,
}

struct Draft {
    place: Place,
    severity: Severity,
    code: &'static str,
    message: String,
    help: Option<String>,
}

/// Collects problems about one or more texts.
pub(crate) struct Report<'t> {
    sources: Vec<Source<'t>>,
    drafts: Vec<Draft>,
    hidden: Vec<Span>,
}

/// A problem that was just reported, and may still get its help.
pub(crate) struct Reported<'r>(&'r mut Draft);

impl Reported<'_> {
    /// Says what was expected, or the nearest valid name.
    pub(crate) fn help(self, help: impl Into<String>) {
        self.0.help = Some(help.into());
    }

    /// Says what was probably meant, if anything is known.
    pub(crate) fn did_you_mean(self, name: Option<&str>) {
        self.0.help = name.map(|name| format!("did you mean `{name}`?"));
    }
}

impl<'t> Report<'t> {
    /// A report on `text`, which is source number 0.
    pub(crate) fn new(file: &str, text: &'t str) -> Self {
        let mut report = Self { sources: Vec::new(), drafts: Vec::new(), hidden: Vec::new() };
        report.add_source(file, text);
        report
    }

    /// Adds a text; the answer is its number.
    pub(crate) fn add_source(&mut self, name: &str, text: &'t str) -> usize {
        self.sources.push(Source { name: name.to_owned(), lines: lines(text) });
        self.sources.len() - 1
    }

    /// Reports an error.
    pub(crate) fn error(
        &mut self,
        at: &Place,
        code: &'static str,
        message: impl Into<String>,
    ) -> Reported<'_> {
        self.push(at, Severity::Error, code, message.into())
    }

    /// Reports a warning.
    pub(crate) fn warning(
        &mut self,
        at: &Place,
        code: &'static str,
        message: impl Into<String>,
    ) -> Reported<'_> {
        self.push(at, Severity::Warning, code, message.into())
    }

    fn push(
        &mut self,
        place: &Place,
        severity: Severity,
        code: &'static str,
        message: String,
    ) -> Reported<'_> {
        let at = self.drafts.len();
        self.drafts.push(Draft { place: place.clone(), severity, code, message, help: None });
        Reported(&mut self.drafts[at])
    }

    /// Keeps a secret out of the report: wherever its line is shown, it is starred out.
    pub(crate) fn hide(&mut self, secret: &Place) {
        self.hidden.push(secret.span);
    }

    /// Everything that was reported, in the order of the texts.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.drafts.sort_by_key(|draft| draft.place.span);
        let more = self.drafts.len().saturating_sub(MAX_PROBLEMS);
        let mut problems: Vec<Problem> =
            self.drafts.iter().take(MAX_PROBLEMS).map(|draft| self.problem(draft)).collect();
        if more > 0 {
            // Counted as an error if one is among them: what is not shown must not make a text look valid.
            let hidden = self.drafts.iter().skip(MAX_PROBLEMS);
            let error = hidden.map(|draft| draft.severity).any(|severity| severity == Severity::Error);
            problems.push(Problem {
                code: "too_many_problems".to_owned(),
                severity: if error { Severity::Error } else { Severity::Warning },
                message: format!("{more} more problems are not shown"),
                help: None,
                location: None,
            });
        }
        problems
    }

    /// A line as it may be shown: not too long, and without secrets.
    fn shown_line(&self, text: &str, at: Span) -> String {
        let mut line: Vec<char> = text.chars().take(MAX_LINE).collect();
        for secret in self.hidden.iter().filter(|secret| (secret.source, secret.line) == (at.source, at.line))
        {
            let length = if secret.length == 0 { usize::MAX } else { secret.length as usize };
            line.iter_mut().skip(secret.column as usize - 1).take(length).for_each(|c| *c = '*');
        }
        line.into_iter().collect()
    }

    fn problem(&self, draft: &Draft) -> Problem {
        let Span { source, line, column, length } = draft.place.span;
        let location = self.sources.get(source).map(|source| {
            let text = source.lines.get(line as usize - 1).copied().unwrap_or_default();
            let rest = text.trim_end().chars().skip(column as usize - 1).count();
            let length = if length == 0 { u32::try_from(rest).unwrap_or(u32::MAX) } else { length };
            Location {
                file: source.name.clone(),
                line,
                column,
                length: length.max(1),
                text: self.shown_line(text, draft.place.span),
                pointer: draft.place.pointer.to_string(),
            }
        });
        Problem {
            code: draft.code.to_owned(),
            severity: draft.severity,
            message: draft.message.clone(),
            help: draft.help.clone(),
            location,
        }
    }
}

/// Lines as YAML counts them: they end with CR LF, LF or CR.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(['\n', '\r']) {
        lines.push(&rest[..end]);
        let width = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + width..];
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_escaped_as_rfc_6901_wants() {
        let pointer = Pointer::default().child("labels").child("a/b~c");
        assert_eq!(pointer.to_string(), "/labels/a~1b~0c");
        assert_eq!(pointer.dotted(), "labels.a/b~c");
        assert_eq!(Pointer::default().to_string(), "");
    }

    #[test]
    fn lines_end_in_all_three_ways() {
        assert_eq!(lines("a\nb\r\nc\rd"), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_flood_of_problems_is_cut_and_the_rest_is_counted() {
        let mut report = Report::new("f", "text");
        let place = Place { span: Span::start(0), pointer: Pointer::default() };
        for _ in 0..250 {
            report.error(&place, "bad", "bad").did_you_mean(None);
        }
        let problems = report.into_problems();
        assert_eq!(problems.len(), 101);
        assert_eq!(problems[100].message, "150 more problems are not shown");
        assert_eq!(problems[100].severity, Severity::Error);
    }
}
