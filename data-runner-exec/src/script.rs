//! What an SQL script uses, as far as its text tells.

use std::path::Path;

/// A script that is about to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Script {
    /// It uses S3.
    pub s3: bool,
    /// It looks at profiles itself: by settings, or by EXPLAIN ANALYZE, which prints in the format that is set.
    pub profiles: bool,
}

impl Script {
    /// Looks at the script `sql`, whose code is in the folder `code`. What it reads from other files of its own by `.read`
    /// may be any of them.
    pub(crate) fn of(sql: &[u8], code: &Path) -> Self {
        let reads_others = mentions(sql, b".read");
        Self { s3: mentions(sql, b"s3://"), profiles: profiles(sql) || (reads_others && any_profiles(code)) }
    }
}

fn profiles(sql: &[u8]) -> bool {
    mentions(sql, b"profil") || (mentions(sql, b"explain") && mentions(sql, b"analy"))
}

/// Whether any SQL file below a folder looks at profiles. One that cannot be read may.
fn any_profiles(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return true };
    entries.flatten().any(|entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => any_profiles(&path),
            Ok(_) if path.extension().is_some_and(|it| it == "sql") => {
                std::fs::read(&path).map_or(true, |sql| profiles(&sql))
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
    fn a_script_that_looks_at_profiles_is_known_by_its_text_and_by_what_it_reads() {
        let code = tempfile::tempdir().unwrap();
        let profiles = |sql: &str| Script::of(sql.as_bytes(), code.path()).profiles;
        for sql in
            ["PRAGMA enable_profiling;", "SET PROFILING_MODE = 'detailed';", "Explain (Analyze) SELECT 1;"]
        {
            assert!(profiles(sql), "{sql}");
        }
        for sql in ["SELECT 1;", "EXPLAIN SELECT 1;", "ANALYZE;", ".read lib/other.sql"] {
            assert!(!profiles(sql), "{sql}");
        }
        std::fs::create_dir(code.path().join("lib")).unwrap();
        std::fs::write(code.path().join("lib/other.sql"), "SET enable_profiling = 'json';").unwrap();
        assert!(profiles(".READ lib/other.sql"));
        assert!(!profiles("SELECT 1;"));
    }

    #[test]
    fn a_script_that_names_s3_uses_it() {
        let s3 = |sql: &str| Script::of(sql.as_bytes(), Path::new("/nowhere")).s3;
        assert!(s3("SELECT * FROM 's3://bucket/a.parquet'") && !s3("SELECT 's3'"));
    }
}
