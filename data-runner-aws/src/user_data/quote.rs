//! Values as shell reads them.

/// One word of shell that is `value`, whatever it holds: between single quotes nothing means anything but the quote.
pub(super) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use super::quoted;

    #[test]
    fn a_shell_reads_every_value_as_it_is() {
        for value in
            ["", "plain", "it's", "''", "a\nb\n", "$(id) `id` $HOME", "\\", "\\'", "!\"*?~#;&|<>(){}", "ä\t "]
        {
            let script = format!("printf '%s|' {}", quoted(value));
            let said = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("{value}|"));
        }
    }
}
