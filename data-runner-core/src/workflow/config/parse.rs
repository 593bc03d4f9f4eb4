//! The way in: bytes to a configuration, or to all that is wrong with them.

use super::build::build;
use super::keys::CONFIG;
use super::{Problem, Severity, WorkflowConfig};
use crate::id::{Revision, WorkflowName};
use crate::workflow::{Definition, DefinitionState, WorkerTypes};
use crate::yaml::{Loaded, MAX_BYTES, Place, Pointer, Report, Span, check, load};

/// What the text alone does not say.
#[derive(Debug, Clone, Copy)]
pub struct ParseContext<'a> {
    /// The worker types that are known.
    pub worker_types: &'a WorkerTypes,
    /// The names of the files in the workflow's folder, relative to it; `None`: not known, so that nothing is said
    /// about missing ones.
    pub files: Option<&'a [String]>,
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed<T> {
    /// It can be used.
    Valid {
        /// What it says.
        value: T,
        /// What is valid but probably not meant.
        warnings: Vec<Problem>,
    },
    /// It cannot be used.
    Broken {
        /// All that is wrong with it (at least one error), in the order of the text.
        problems: Vec<Problem>,
    },
}

impl<T> Parsed<T> {
    /// Whatever was found: errors and warnings.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Valid { warnings, .. } => warnings,
            Self::Broken { problems } => problems,
        }
    }

    /// The value, if it can be used.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Valid { value, .. } => Some(value),
            Self::Broken { .. } => None,
        }
    }

    /// The value and its warnings.
    ///
    /// # Errors
    /// All that is wrong, if it cannot be used.
    pub fn into_result(self) -> Result<(T, Vec<Problem>), Vec<Problem>> {
        match self {
            Self::Valid { value, warnings } => Ok((value, warnings)),
            Self::Broken { problems } => Err(problems),
        }
    }

    /// The same with more problems, such as those of the script that the configuration names. An error among them
    /// makes it broken.
    #[must_use]
    pub fn with_problems(self, more: Vec<Problem>) -> Self {
        let (value, mut problems) = match self {
            Self::Valid { value, warnings } => (Some(value), warnings),
            Self::Broken { problems } => (None, problems),
        };
        problems.extend(more);
        Self::new(value, problems)
    }

    /// Decides by the problems. A missing value has its reason among them.
    pub(crate) fn new(value: Option<T>, problems: Vec<Problem>) -> Self {
        let broken = problems.iter().any(|problem| problem.severity == Severity::Error);
        match value {
            Some(value) if !broken => Self::Valid { value, warnings: problems },
            Some(_) | None => Self::Broken { problems },
        }
    }
}

impl Parsed<WorkflowConfig> {
    /// What the registry keeps of it.
    pub fn into_definition(self, revision: Revision) -> DefinitionState {
        match self {
            Self::Valid { value, warnings } => {
                DefinitionState::Valid(Definition { revision, config: value, warnings })
            }
            Self::Broken { problems } => DefinitionState::Broken { revision, problems },
        }
    }
}

/// Reads a `config.yaml`.
///
/// `file` is its path in the repository, such as `workflows/orders/config.yaml`: it stands in the problems, and its
/// folder names the workflow. The text may have up to 256 KiB; YAML 1.2 without anchors, aliases and tags. All that is
/// wrong is found at once, except after broken YAML, where nothing can be said of the rest.
pub fn parse(file: &str, text: &[u8], context: &ParseContext<'_>) -> Parsed<WorkflowConfig> {
    let text = match decode(file, text) {
        Ok(text) => text,
        Err(problems) => return Parsed::Broken { problems },
    };
    let mut report = Report::new(file, text);
    let top = Place { span: Span::start(0), pointer: Pointer::default() };
    check_folder(file, &top, &mut report);
    let config = match load(text, 0, &mut report) {
        Loaded::Broken => None,
        Loaded::Empty => {
            let help = "it needs at least worker_type and instance_size";
            report.error(&top, "empty_file", "there is nothing in it").help(help);
            None
        }
        Loaded::Tree(node) => check(&node, &CONFIG, &Pointer::default(), &mut report)
            .and_then(|value| value.into_object())
            .and_then(|object| build(object.value, file, context, &mut report)),
    };
    Parsed::new(config, report.into_problems())
}

/// The text, without a byte order mark.
///
/// # Errors
/// The one problem that forbids to look at it at all: its size, or its encoding.
pub(crate) fn decode<'t>(file: &str, bytes: &'t [u8]) -> Result<&'t str, Vec<Problem>> {
    if bytes.len() > MAX_BYTES {
        let mut report = Report::new(file, "");
        let top = Place { span: Span::start(0), pointer: Pointer::default() };
        let message = format!("the file has {} bytes; up to {MAX_BYTES} are read", bytes.len());
        report.error(&top, "file_too_big", message).help("move data into files of their own");
        return Err(report.into_problems());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            // What comes before the first wrong byte is as it was, so that byte's place can be told.
            let text = String::from_utf8_lossy(bytes);
            let (before, _) = text.split_at(error.valid_up_to());
            let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let line = number(before.matches('\n').count() + 1);
            let column = number(before.rsplit('\n').next().unwrap_or_default().chars().count() + 1);
            let span = Span { line, column, ..Span::start(0) };
            let mut report = Report::new(file, &text);
            let place = Place { span, pointer: Pointer::default() };
            report.error(&place, "not_utf8", "the file is not UTF-8").help("save it as UTF-8");
            Err(report.into_problems())
        }
    }
}

/// The folder's name is the workflow's.
fn check_folder(file: &str, top: &Place, report: &mut Report<'_>) {
    let Some((folder, _)) = file.rsplit_once('/') else {
        return;
    };
    let name = folder.rsplit('/').next().unwrap_or(folder);
    if let Err(error) = name.parse::<WorkflowName>() {
        let message = format!("the folder's name `{name}` cannot be a workflow's name");
        report.error(top, "invalid_workflow_name", message).help(format!("rename it: {}", error.expected));
    }
}
