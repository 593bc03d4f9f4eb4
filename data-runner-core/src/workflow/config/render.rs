//! Problems for people, and for GitHub's annotations.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Location, Problem, Severity};

/// Problems as a compiler shows them: the line, a caret under what is meant, and the help. Ends with a line that counts
/// them; empty when there are none. `styled` adds ANSI colours.
pub fn render(problems: &[Problem], styled: bool) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for problem in problems {
        text.push_str(&renderer.render(&[group(problem)]));
        text.push_str("\n\n");
    }
    text.push_str(&summary(problems));
    text.push('\n');
    text
}

/// "2 errors, 1 warning".
fn summary(problems: &[Problem]) -> String {
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let several = |count: usize, what| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{count} {what}s")),
    };
    let parts = [several(count(Severity::Error), "error"), several(count(Severity::Warning), "warning")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn group(problem: &Problem) -> Group<'_> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(plain(&problem.message)).id(&problem.code));
    if let Some(at) = &problem.location {
        group = match caret(at) {
            Some((text, span)) => group.element(
                Snippet::source(text)
                    .path(&at.file)
                    .line_start(at.line as usize)
                    .annotation(AnnotationKind::Primary.span(span)),
            ),
            None => {
                group.element(Origin::path(&at.file).line(at.line as usize).char_column(at.column as usize))
            }
        };
    }
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(plain(help)));
    }
    group
}

/// The line, and what is meant in it as bytes; `None` when there is nothing to point at.
fn caret(at: &Location) -> Option<(String, std::ops::Range<usize>)> {
    let text = plain(&at.text);
    let offset =
        |characters: usize| text.char_indices().nth(characters).map_or(text.len(), |(offset, _)| offset);
    let column = (at.column as usize).saturating_sub(1);
    let (start, end) = (offset(column), offset(column.saturating_add(at.length as usize)));
    (start < text.len()).then_some((text, start..end))
}

/// Without control characters: what stands in a file must not steer a terminal. As many characters as before.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Problems as GitHub's workflow commands, a line each, so that they show up beside the changed lines.
pub fn render_github(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        let command = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut properties = Vec::new();
        if let Some(at) = &problem.location {
            properties.push(format!("file={}", property(&at.file)));
            properties.push(format!("line={}", at.line));
            properties.push(format!("col={}", at.column));
        }
        properties.push(format!("title={}", property(&problem.code)));
        let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        let message = data(&format!("{}{help}", problem.message));
        text.push_str(&format!("::{command} {}::{message}\n", properties.join(",")));
    }
    text
}

/// The escapes of a command's message.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The escapes of a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str, column: u32, length: u32) -> Problem {
        Problem {
            code: "unknown_key".to_owned(),
            severity: Severity::Error,
            message: "there is no key `timout` here".to_owned(),
            help: Some("did you mean `timeout`?".to_owned()),
            location: Some(Location {
                file: "workflows/a,b/config.yaml".to_owned(),
                line: 3,
                column,
                length,
                text: text.to_owned(),
                pointer: "/timout".to_owned(),
            }),
        }
    }

    #[test]
    fn a_person_sees_the_line_with_a_caret_under_what_is_meant() {
        let warning = Problem { severity: Severity::Warning, location: None, ..problem("", 1, 1) };
        insta::assert_snapshot!(render(&[problem("timout: 6h", 1, 6), warning], false));
        assert_eq!(render(&[], false), "");
        assert!(render(&[problem("timout: 6h", 1, 6)], true).contains("\u{1b}["));
    }

    #[test]
    fn what_stands_in_a_file_cannot_steer_a_terminal_or_break_the_rendering() {
        for (text, column, length) in [
            ("", 1, 1),
            ("a", 99, 1),
            ("né: \u{1b}[31m", 2, 99),
            ("日本: x", 1, 2),
            ("\u{200b}\ta", u32::MAX, u32::MAX),
        ] {
            let rendered = render(&[problem(text, column, length)], false);
            assert!(!rendered.contains('\u{1b}'), "{rendered}");
            assert!(rendered.contains("workflows/a,b/config.yaml:3"), "{rendered}");
        }
    }

    #[test]
    fn github_gets_one_escaped_command_for_each_problem() {
        assert_eq!(
            render_github(&[problem("timout: 6h", 1, 6)]),
            "::error file=workflows/a%2Cb/config.yaml,line=3,col=1,title=unknown_key::there is no key `timout` here (did you mean `timeout`?)\n"
        );
    }
}
