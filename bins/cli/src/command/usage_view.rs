//! How it looks what an attempt used, and what its engine told of its statements.

use std::fmt::Write as _;
use std::time::Duration;

use data_runner_rest::api::{Attempt, SqlReport, SqlStatement, Usage};

use crate::output::{Field, Table, cut, style, time, whole};

/// What an attempt used beside memory and processors, as lines of a page: name and value.
pub fn facts(usage: &Usage) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let mut fact = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    let pair = |a: Option<u64>, b: Option<u64>, words: [&str; 2]| {
        let (a, b) = (a.map(time::bytes)?, b.map(time::bytes)?);
        Some(format!("{} {a}, {} {b}", words[0], words[1]))
    };
    fact("disk", pair(usage.disk_read_bytes, usage.disk_written_bytes, ["read", "wrote"]));
    fact("folder", usage.peak_folder_bytes.map(|bytes| format!("{} at most", time::bytes(bytes))));
    fact("spilled", usage.peak_spill_bytes.map(|bytes| format!("{} at most", time::bytes(bytes))));
    fact("network", pair(usage.received_bytes, usage.sent_bytes, ["received", "sent"]));
    facts
}

/// The sections about statements and the last result.
pub fn sql(attempt: &Attempt) -> String {
    let mut text = String::new();
    let Some(sql) = &attempt.sql else { return text };
    if !sql.statements.is_empty() {
        let _ = writeln!(text, "\n{}\n{}", style::bold("Statements"), indented(&statements(sql)));
    }
    if let Some(preview) = &sql.preview {
        let title = if preview.cut { "Last result (its beginning)" } else { "Last result" };
        let _ = writeln!(text, "\n{}\n{}", style::bold(title), indented(&harmless(&preview.text)));
    }
    text
}

fn statements(sql: &SqlReport) -> String {
    let mut table = Table::new([
        whole("TOOK"),
        whole("CPU"),
        whole("ROWS"),
        whole("ROWS READ"),
        whole("READ"),
        whole("RESULT"),
        cut("STATEMENT"),
    ]);
    for statement in &sql.statements {
        table.row([
            Field::new(seconds(statement.seconds)),
            Field::new(seconds(statement.cpu_seconds)),
            Field::new(statement.rows.to_string()),
            Field::new(statement.rows_read.to_string()),
            Field::new(time::bytes(statement.bytes_read)),
            Field::new(time::bytes(statement.result_bytes)),
            Field::new(one_line(statement)),
        ]);
    }
    // A page is read by people; `-o json` has the whole texts.
    let mut text = table.render(Some(WIDTH), false);
    if sql.left_out > 0 {
        let _ = write!(text, "\n{} quicker ones are left out", sql.left_out);
    }
    text
}

/// How wide a page's tables are.
const WIDTH: u16 = 110;

fn one_line(statement: &SqlStatement) -> String {
    harmless(&statement.text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Short times need more digits than long ones.
fn seconds(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.3}s")
    } else {
        time::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }
}

/// Without what could move a terminal's cursor.
fn harmless(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
    text.trim_end().chars().map(shown).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
