//! What an SQL engine told of a script: its statements, one by one, and the beginning of its last result.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is kept of a script that ran. It is part of an attempt's end, so it is small.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SqlReport {
    /// Its statements, in the order in which they ran: those that the engine profiles, and that succeeded.
    pub statements: Vec<Statement>,
    /// How many more there were: the quickest are left out when there are too many.
    pub left_out: u64,
    /// The beginning of the last result that was printed as a table.
    pub preview: Option<Preview>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Its text, or the beginning of that.
    pub text: String,
    /// How long it took.
    pub took: Duration,
    /// How long its operators worked, all threads together.
    pub cpu_time: Duration,
    /// Rows of its result; of one that writes, rows that it wrote or changed.
    pub rows: u64,
    /// Rows that it read from tables and files.
    pub rows_read: u64,
    /// Bytes that it read from files.
    pub bytes_read: u64,
    /// How large its result was in memory.
    pub result_bytes: u64,
}

/// The beginning of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// The table as it was printed.
    pub text: String,
    /// Whether there was more of it.
    pub cut: bool,
}

impl SqlReport {
    /// How many statements are kept.
    pub const STATEMENTS: usize = 50;
    /// How many characters of a statement are kept.
    pub const TEXT: usize = 400;
    /// How many rows of a preview are kept.
    pub const ROWS: usize = 20;
    /// How many bytes of a preview are kept.
    pub const PREVIEW_BYTES: usize = 8 << 10;

    /// Adds a statement; of too many, the quickest goes.
    pub fn add(&mut self, statement: Statement) {
        self.statements.push(statement);
        if self.statements.len() > Self::STATEMENTS {
            let quickest = self.statements.iter().enumerate().min_by_key(|(_, it)| it.took);
            if let Some((index, _)) = quickest {
                self.statements.remove(index);
                self.left_out += 1;
            }
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.preview.is_none()
    }
}

impl Statement {
    /// The beginning of a statement's text, of at most [`SqlReport::TEXT`] characters.
    pub fn shortened(text: &str) -> String {
        let text = text.trim();
        match text.char_indices().nth(SqlReport::TEXT) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(n: u64) -> Statement {
        Statement {
            text: format!("SELECT {n}"),
            took: Duration::from_millis(n),
            cpu_time: Duration::ZERO,
            rows: 1,
            rows_read: 0,
            bytes_read: 0,
            result_bytes: 8,
        }
    }

    #[test]
    fn of_too_many_statements_the_slowest_are_kept_in_their_order() {
        let mut report = SqlReport::default();
        (1..=60).chain(1..=3).rev().for_each(|n| report.add(statement(n)));
        let kept: Vec<u64> = report.statements.iter().map(|it| it.took.as_millis() as u64).collect();
        assert_eq!(kept, (11..=60).rev().collect::<Vec<_>>());
        assert_eq!(report.left_out, 13);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = "é".repeat(500);
        assert_eq!(Statement::shortened(&long), format!("{}…", "é".repeat(400)));
        assert_eq!(Statement::shortened("  SELECT 1;\n"), "SELECT 1;");
    }
}
