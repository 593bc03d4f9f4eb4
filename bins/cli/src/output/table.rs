//! Tables that fit the terminal: one line a row; what is too long ends in an ellipsis, ids never do.

use anstyle::{AnsiColor, Style};
use comfy_table::{
    Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Row, Table as Grid, Width, presets,
};

/// A table with a heading.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Field>>,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// Whether its content may be cut where the terminal is narrow.
    pub fit: Fit,
}

/// What happens to a column where the terminal is narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is never cut.
    Whole,
    /// It is cut with an ellipsis.
    Cut,
}

/// What stands in a cell.
#[derive(Debug, Clone)]
pub struct Field {
    text: String,
    style: Style,
}

impl Field {
    /// Plain text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::new() }
    }

    /// Text in a colour.
    pub fn coloured(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Field {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// A column that is never cut.
pub const fn whole(name: &'static str) -> Column {
    Column { name, fit: Fit::Whole }
}

/// A column that may be cut.
pub const fn cut(name: &'static str) -> Column {
    Column { name, fit: Fit::Cut }
}

impl Table {
    /// An empty table.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row; it has as many fields as there are columns.
    pub fn row(&mut self, fields: impl IntoIterator<Item = Field>) {
        self.rows.push(fields.into_iter().collect());
    }

    /// The table, at most `width` characters wide (unless ids alone need more), or as wide as it likes.
    pub fn render(&self, width: Option<u16>, colours: bool) -> String {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING).force_no_tty();
        if colours {
            grid.enforce_styling();
        }
        match width {
            Some(width) => grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => grid.set_content_arrangement(ContentArrangement::Disabled),
        };
        let heading: Vec<Cell> =
            self.columns.iter().map(|column| Cell::new(column.name).add_attribute(Attribute::Dim)).collect();
        let mut heading = Row::from(heading);
        heading.max_height(1);
        grid.set_header(heading);
        for fields in &self.rows {
            let cells: Vec<Cell> = fields.iter().map(cell).collect();
            let mut row = Row::from(cells);
            row.max_height(1);
            grid.add_row(row);
        }
        self.constrain(&mut grid, width);
        let lines: Vec<String> = grid.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }

    fn constrain(&self, grid: &mut Grid, width: Option<u16>) {
        let last = self.columns.len().saturating_sub(1);
        for (index, column) in self.columns.iter().enumerate() {
            let Some(drawn) = grid.column_mut(index) else { continue };
            drawn.set_padding((0, if index == last { 0 } else { 2 }));
            match (column.fit, width) {
                (Fit::Whole, _) | (Fit::Cut, None) => drawn.set_constraint(ColumnConstraint::ContentWidth),
                (Fit::Cut, Some(_)) => drawn.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(8))),
            };
        }
    }
}

fn cell(field: &Field) -> Cell {
    // A line break or an escape in a message must not break the table.
    let text: String = field.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut cell = Cell::new(text);
    if let Some(anstyle::Color::Ansi(colour)) = field.style.get_fg_color() {
        cell = cell.fg(terminal_colour(colour));
    }
    if field.style.get_effects().contains(anstyle::Effects::BOLD) {
        cell = cell.add_attribute(Attribute::Bold);
    }
    if field.style.get_effects().contains(anstyle::Effects::DIMMED) {
        cell = cell.add_attribute(Attribute::Dim);
    }
    cell
}

fn terminal_colour(colour: AnsiColor) -> Color {
    match colour {
        AnsiColor::Black | AnsiColor::BrightBlack => Color::DarkGrey,
        AnsiColor::Red | AnsiColor::BrightRed => Color::DarkRed,
        AnsiColor::Green | AnsiColor::BrightGreen => Color::DarkGreen,
        AnsiColor::Yellow | AnsiColor::BrightYellow => Color::DarkYellow,
        AnsiColor::Blue | AnsiColor::BrightBlue => Color::DarkBlue,
        AnsiColor::Magenta | AnsiColor::BrightMagenta => Color::DarkMagenta,
        AnsiColor::Cyan | AnsiColor::BrightCyan => Color::DarkCyan,
        AnsiColor::White | AnsiColor::BrightWhite => Color::Grey,
    }
}
