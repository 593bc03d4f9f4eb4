//! What goes to stdout: data, in the form that was asked for. Everything for people's eyes only goes to stderr.

pub mod money;
pub mod names;
pub mod style;
mod table;
pub mod time;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

pub use table::{Field, Table, cut, whole};

use crate::args::Format;
use crate::error::Error;

/// Where data goes, and in which form.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// The form.
    pub format: Format,
    /// The width of the terminal, if stdout is one.
    pub width: Option<u16>,
    /// Whether stdout shows colours.
    pub colours: bool,
}

impl Output {
    /// stdout as it is.
    pub fn stdout(format: Format) -> Self {
        let colours = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        Self { format, width: terminal_width(), colours }
    }

    /// Whether data is for people.
    pub fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Prints one thing: as a document, as its name, or as `table` draws it.
    pub fn one<T: Serialize>(
        &self,
        item: &T,
        name: impl FnOnce(&T) -> String,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), Error> {
        match self.format {
            Format::Table => self.line(&table(item)),
            Format::Name => self.line(&name(item)),
            Format::Json => self.line(&json(item, Layout::Pretty)?),
            Format::Ndjson => self.line(&json(item, Layout::Line)?),
            Format::Yaml => self.line(yaml(item)?.trim_end()),
        }
    }

    /// Prints many things of a kind.
    pub fn many<T: Serialize>(
        &self,
        items: &[T],
        name: impl Fn(&T) -> String,
        table: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Error> {
        match self.format {
            Format::Table => self.line(&table(items)),
            Format::Name => items.iter().try_for_each(|item| self.line(&name(item))),
            Format::Json => self.line(&json(&items, Layout::Pretty)?),
            Format::Ndjson => items.iter().try_for_each(|item| self.line(&json(item, Layout::Line)?)),
            Format::Yaml => self.line(yaml(&items)?.trim_end()),
        }
    }

    /// Prints one thing as a JSON document, whatever was asked for.
    pub fn json<T: Serialize>(&self, item: &T) -> Result<(), Error> {
        self.line(&json(item, Layout::Pretty)?)
    }

    /// Prints a text with a line break.
    pub fn line(&self, text: &str) -> Result<(), Error> {
        let mut out = anstream::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// Draws a table as wide as the terminal.
    pub fn draw(&self, table: &Table) -> String {
        table.render(self.width, self.colours)
    }
}

/// Says something to a person, on stderr. That nobody may read it is no reason to fail.
pub fn say(text: &str) {
    let mut err = anstream::stderr().lock();
    let _ = writeln!(err, "{text}");
}

/// Whether a person watches stderr, so that a line may move.
pub fn stderr_is_live() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

enum Layout {
    Pretty,
    Line,
}

fn json<T: Serialize>(item: &T, layout: Layout) -> Result<String, Error> {
    match layout {
        Layout::Pretty => serde_json::to_string_pretty(item),
        Layout::Line => serde_json::to_string(item),
    }
    .map_err(|source| Error::Answer { request: "print".to_owned(), source: source.into() })
}

fn yaml<T: Serialize>(item: &T) -> Result<String, Error> {
    serde_yaml::to_string(item)
        .map_err(|source| Error::Answer { request: "print".to_owned(), source: source.into() })
}

fn terminal_width() -> Option<u16> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let asked =
        rustix::termios::tcgetwinsize(&out).ok().map(|size| size.ws_col).filter(|columns| *columns >= 20);
    Some(asked.unwrap_or(80))
}
