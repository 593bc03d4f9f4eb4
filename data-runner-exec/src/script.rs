//! What an SQL script uses, as far as its text tells.

use std::path::Path;

/// A script that is about to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Script {
    /// It uses S3.
    pub s3: bool,
    /// Its statements cannot be profiled: it looks at profiles itself, by settings or by EXPLAIN ANALYZE (which prints in
    /// the format that is set), or it forbids itself to touch files, which holds for the profile's too.
    pub unprofiled: bool,
}

impl Script {
    /// Looks at the script `sql`, whose code is in the folder `code`. What it reads from other files of its own by `.read`
    /// may be any of them.
    pub(crate) fn of(sql: &[u8], code: &Path) -> Self {
        let reads_others = mentions(sql, b".read");
        let unprofiled = is_unprofiled(sql) || (reads_others && any_unprofiled(code));
        Self { s3: mentions(sql, b"s3://"), unprofiled }
    }
}

/// `.safe_mode` of the command line, `enable_external_access` and `disabled_filesystems` make DuckDB 1.5 fail the next
/// statement whose profile it cannot write.
const NO_FILES: [&[u8]; 3] = [b"safe_mode", b"external_access", b"disabled_filesystems"];

fn is_unprofiled(sql: &[u8]) -> bool {
    let itself = mentions(sql, b"profil") || (mentions(sql, b"explain") && mentions(sql, b"analy"));
    itself || NO_FILES.iter().any(|word| mentions(sql, word))
}

/// Whether any SQL file below a folder cannot be profiled. One that cannot be read may be such.
fn any_unprofiled(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return true };
    entries.flatten().any(|entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => any_unprofiled(&path),
            Ok(_) if path.extension().is_some_and(|it| it == "sql") => {
                std::fs::read(&path).map_or(true, |sql| is_unprofiled(&sql))
            }
            Ok(_) => false,
            Err(_) => true,
        }
    })
}

/// Whether the text holds a word that is given in lower case, in whatever case.
fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_script_that_cannot_be_profiled_is_known_by_its_text_and_by_what_it_reads() {
        let code = tempfile::tempdir().unwrap();
        let unprofiled = |sql: &str| Script::of(sql.as_bytes(), code.path()).unprofiled;
        for sql in
            ["PRAGMA enable_profiling;", "SET PROFILING_MODE = 'detailed';", "Explain (Analyze) SELECT 1;"]
        {
            assert!(unprofiled(sql), "{sql}");
        }
        for sql in ["SELECT 1;", "EXPLAIN SELECT 1;", "ANALYZE;", ".read lib/other.sql"] {
            assert!(!unprofiled(sql), "{sql}");
        }
        std::fs::create_dir(code.path().join("lib")).unwrap();
        std::fs::write(code.path().join("lib/other.sql"), "SET enable_profiling = 'json';").unwrap();
        assert!(unprofiled(".READ lib/other.sql"));
        assert!(!unprofiled("SELECT 1;"));
    }

    #[test]
    fn a_script_that_names_s3_uses_it() {
        let s3 = |sql: &str| Script::of(sql.as_bytes(), Path::new("/nowhere")).s3;
        assert!(s3("SELECT * FROM 's3://bucket/a.parquet'") && !s3("SELECT 's3'"));
    }
}
