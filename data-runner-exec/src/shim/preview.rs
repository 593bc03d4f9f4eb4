//! The beginning of the last table that a job printed, found in what it prints anyway.
//!
//! DuckDB's CLI draws results as boxes; nothing else of it begins a line with a box's corner and has a line under its
//! third one, but plans of EXPLAIN, which have no such line.

use data_runner_core::execution::{Preview, SqlReport};

const TOP: &[u8] = "┌".as_bytes();
const UNDER_HEADER: &[u8] = "├".as_bytes();
const ROW: &[u8] = "│".as_bytes();
const BOTTOM: &[u8] = "└".as_bytes();

/// What is kept of a line, in bytes.
const LINE: usize = 2 << 10;

/// Looks for tables in a stream.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// The beginning of the line that has begun, of at most [`LINE`] bytes and one character.
    line: Vec<u8>,
    /// The table that is being printed.
    open: Option<Table>,
    last: Option<Table>,
}

#[derive(Debug, Default)]
struct Table {
    text: String,
    lines: usize,
    rows: usize,
    /// No more of it is kept.
    full: bool,
    /// Something of it is missing.
    cut: bool,
}

impl Tables {
    /// Takes in what was printed.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.extend(&bytes[..end]);
            self.end_of_line();
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    /// The last table that was printed, or has begun to be.
    pub(super) fn finish(mut self) -> Option<Preview> {
        if let Some(open) = self.open.take() {
            self.close(Table { cut: true, ..open });
        }
        self.last.map(|table| Preview { text: table.text, cut: table.cut })
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = (LINE + 4).saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.starts_with(TOP) {
            self.open = Some(Table::default());
        }
        let Some(table) = &mut self.open else {
            self.line = reuse(line);
            return;
        };
        table.add(&line);
        let is_table = table.lines != 3 || line.starts_with(UNDER_HEADER);
        if !is_table {
            self.open = None;
        } else if line.starts_with(BOTTOM)
            && let Some(table) = self.open.take()
        {
            self.close(table);
        }
        self.line = reuse(line);
    }

    fn close(&mut self, table: Table) {
        if table.lines > 2 {
            self.last = Some(table);
        }
    }
}

impl Table {
    fn add(&mut self, line: &[u8]) {
        self.lines += 1;
        let is_bottom = line.starts_with(BOTTOM);
        if self.full && !is_bottom {
            return;
        }
        if self.lines > 3 && line.starts_with(ROW) {
            self.rows += 1;
        }
        let shown = String::from_utf8_lossy(line);
        let end = shown.floor_char_boundary(LINE);
        let too_much = self.rows > SqlReport::ROWS || self.text.len() + end > SqlReport::PREVIEW_BYTES;
        if too_much && !is_bottom {
            (self.full, self.cut) = (true, true);
            return;
        }
        self.text.push_str(&shown[..end]);
        if end < shown.len() {
            self.text.push('…');
            self.cut = true;
        }
        self.text.push('\n');
    }
}

fn reuse(mut line: Vec<u8>) -> Vec<u8> {
    line.clear();
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preview(printed: &str, piece: usize) -> Option<(String, bool)> {
        let mut tables = Tables::default();
        printed.as_bytes().chunks(piece).for_each(|bytes| tables.push(bytes));
        tables.finish().map(|preview| (preview.text, preview.cut))
    }

    fn table(rows: usize) -> String {
        let rows: String = (0..rows).map(|n| format!("│ {n} │\n")).collect();
        format!("┌───┐\n│ a │\n├───┤\n{rows}└───┘\n")
    }

    #[test]
    fn the_last_table_is_found_whatever_stands_around_it_and_however_it_comes() {
        let printed = format!("before\n{}between └───┘\n{}after\n", table(5), table(1));
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(preview(&printed, piece), Some((table(1), false)), "{piece}");
        }
        assert_eq!(preview("no table\n", 3), None);
    }

    #[test]
    fn of_many_rows_the_first_are_shown_with_the_bottom_of_the_table() {
        let (text, cut) = preview(&table(5000), 4096).unwrap_or_default();
        assert!(cut && text.ends_with("│ 19 │\n└───┘\n"), "{text}");
        assert_eq!(preview(&table(20), 4096), Some((table(20), false)));
    }

    #[test]
    fn a_plan_is_no_table() {
        let plan = "┌───┐\n│ PROJECTION │\n│  ───  │\n└─┬─┘\n┌─┴─┐\n│ SCAN │\n└───┘\n";
        assert_eq!(preview(&format!("{}{plan}", table(1)), 5), Some((table(1), false)));
    }

    #[test]
    fn a_table_that_was_not_finished_is_shown_as_far_as_it_came() {
        assert_eq!(
            preview("┌───┐\n│ a │\n├───┤\n│ 1 │\n│ 2", 4),
            Some(("┌───┐\n│ a │\n├───┤\n│ 1 │\n".to_owned(), true))
        );
        assert_eq!(preview("┌───┐\n│ a │\n", 4), None);
    }

    #[test]
    fn wide_lines_and_large_tables_are_cut_between_characters() {
        let wide = format!("┌─┐\n│ é │\n├─┤\n│{}│\n└─┘\n", "é".repeat(5000));
        let (text, cut) = preview(&wide, 1000).unwrap_or_default();
        assert!(cut && text.contains("é…\n") && text.ends_with("└─┘\n"));
        let large = format!("┌─┐\n│ é │\n├─┤\n{}└─┘\n", format!("│{}│\n", "x".repeat(1500)).repeat(18));
        let (text, cut) = preview(&large, 1000).unwrap_or_default();
        assert!(
            cut && text.len() <= SqlReport::PREVIEW_BYTES + LINE && text.ends_with("└─┘\n"),
            "{}",
            text.len()
        );
    }
}
