//! Scripts, as far as their bytes go: whether what runs them could read them at all.

use super::{Location, Problem, Severity};
use crate::workflow::{ScriptLanguage, WorkerTypeSpec};

/// Checks the bytes of a script.
///
/// Python and SQL must be UTF-8 without NUL characters. A Python script that names another encoding (PEP 263, in one
/// of its first two lines) is left to Python, which reads it by that encoding. Scripts in languages of an embedder's
/// own are not looked at.
pub fn check_script(file: &str, bytes: &[u8], worker_type: &WorkerTypeSpec) -> Vec<Problem> {
    match worker_type.language {
        ScriptLanguage::Other => return Vec::new(),
        ScriptLanguage::Python | ScriptLanguage::Sql => {}
    }
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        return vec![problem(
            file,
            bytes,
            at,
            "nul_in_script",
            "the script holds a NUL character",
            "remove it",
        )];
    }
    let elsewhere = worker_type.language == ScriptLanguage::Python
        && declared_encoding(bytes)
            .is_some_and(|name| !matches!(name.as_str(), "utf-8" | "utf8" | "utf-8-sig"));
    match std::str::from_utf8(bytes) {
        Err(error) if !elsewhere => {
            let help = match worker_type.language {
                ScriptLanguage::Python => "save it as UTF-8, or name its encoding: # -*- coding: latin-1 -*-",
                ScriptLanguage::Sql | ScriptLanguage::Other => "save it as UTF-8",
            };
            vec![problem(file, bytes, error.valid_up_to(), "not_utf8", "the script is not UTF-8", help)]
        }
        Ok(_) | Err(_) => Vec::new(),
    }
}

/// The encoding that a Python script names, in lower case and with hyphens: a comment in the first or second line that
/// holds `coding:` or `coding=` (the second counts only after a line that is blank or a comment).
fn declared_encoding(bytes: &[u8]) -> Option<String> {
    for line in bytes.split(|b| *b == b'\n').take(2) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let comment = line.strip_prefix('#')?;
        if let Some((_, after)) = comment.split_once("coding")
            && let Some(name) = after.strip_prefix([':', '='])
        {
            let name = name.trim_start();
            let end =
                name.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(name.len());
            return Some(name[..end].to_ascii_lowercase().replace('_', "-"));
        }
    }
    None
}

fn problem(file: &str, bytes: &[u8], at: usize, code: &str, message: &str, help: &str) -> Problem {
    let start = bytes[..at].iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    let end = bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |length| at + length);
    let line = bytes[..start].iter().filter(|b| **b == b'\n').count() + 1;
    let column = String::from_utf8_lossy(&bytes[start..at]).chars().count() + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let text = String::from_utf8_lossy(&bytes[start..end.min(start + 1_000)]);
    Problem {
        code: code.to_owned(),
        severity: Severity::Error,
        message: message.to_owned(),
        help: Some(help.to_owned()),
        location: Some(Location {
            file: file.to_owned(),
            line: number(line),
            column: number(column),
            length: 1,
            text: text.trim_end_matches('\r').replace('\0', "\u{fffd}"),
            pointer: String::new(),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::workflow::WorkerTypes;

    fn check(worker_type: &str, bytes: &[u8]) -> Vec<String> {
        let types = WorkerTypes::default();
        let problems = check_script("w/x/script", bytes, types.get(worker_type).unwrap());
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_script_that_cannot_be_read_is_refused_where_it_stops_being_text() {
        assert_eq!(check("duckdb", "select 'ñ'".as_bytes()), [""; 0]);
        assert_eq!(
            check("duckdb", b"select 1;\nselect '\xff'"),
            ["w/x/script:2:9: not_utf8: the script is not UTF-8 (save it as UTF-8)"]
        );
        assert_eq!(
            check("polars", b"x = '\0'"),
            ["w/x/script:1:6: nul_in_script: the script holds a NUL character (remove it)"]
        );
        assert!(check("polars", b"x = '\xf1'")[0].contains("not_utf8"));
    }

    #[test]
    fn python_reads_other_encodings_when_the_script_names_one() {
        assert_eq!(check("polars", b"# -*- coding: latin-1 -*-\nx = '\xf1'"), [""; 0]);
        assert_eq!(
            check("polars", b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\nx = '\xf1'"),
            [""; 0]
        );
        assert_eq!(check("polars", b"# coding: utf_8\nx = '\xf1'").len(), 1);
        assert_eq!(check("polars", b"import x\n# coding: latin-1\nx = '\xf1'").len(), 1, "it comes too late");
        assert_eq!(check("duckdb", b"# coding: latin-1\n'\xf1'").len(), 1, "SQL knows no such thing");
    }
}
