//! What is wrong with a file, where, and what to do about it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::source::Span;

/// How much a diagnostic weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing runs until it is mended.
    Error,
    /// It runs, but probably not as meant.
    Warning,
}

impl Severity {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A remark beside a diagnostic, with a place of its own if it has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The remark.
    pub message: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "place")]
    pub span: Option<Span>,
}

/// One finding about a file. Never holds the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How much it weighs.
    pub severity: Severity,
    /// A stable name of the finding, such as `unknown-key`.
    pub code: &'static str,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where. Absent when the whole file is meant and there is none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "place")]
    pub span: Option<Span>,
    /// A few words that stand beside the underline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Further remarks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

impl Diagnostic {
    /// A finding that must be mended.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message.into())
    }

    /// A finding that does not stop a run.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into())
    }

    fn new(severity: Severity, code: &'static str, message: String) -> Self {
        Self { severity, code, message, span: None, label: None, hint: None, notes: Vec::new() }
    }

    /// Where it is.
    #[must_use]
    pub fn at(mut self, span: &Span) -> Self {
        self.span = Some(span.clone());
        self
    }

    /// A few words beside the underline.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// What to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A further remark.
    #[must_use]
    pub fn note(mut self, message: impl Into<String>) -> Self {
        self.notes.push(Note { message: message.into(), span: None });
        self
    }

    /// A further remark about another place.
    #[must_use]
    pub fn note_at(mut self, message: impl Into<String>, span: &Span) -> Self {
        self.notes.push(Note { message: message.into(), span: Some(span.clone()) });
        self
    }
}

fn place<S: Serializer>(span: &Option<Span>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Place<'a> {
        file: &'a str,
        line: usize,
        column: usize,
        end_line: usize,
        end_column: usize,
        start_byte: usize,
        end_byte: usize,
    }
    span.as_ref()
        .map(|span| {
            let range = span.range();
            let (line, column) = span.source().position(range.start);
            let (end_line, end_column) = span.source().position(range.end);
            Place {
                file: span.source().name(),
                line,
                column,
                end_line,
                end_column,
                start_byte: range.start,
                end_byte: range.end,
            }
        })
        .serialize(serializer)
}

/// Everything that was found, in the order of files and places.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics {
    all: Vec<Diagnostic>,
}

/// How many findings are kept. A file with more is not what it claims to be,
/// and nobody reads on.
const KEPT: usize = 200;

impl Diagnostics {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one. What was already said at the same place is not said again, and
    /// beyond 200 findings the rest is dropped.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.all.len() < KEPT && !self.all.contains(&diagnostic) {
            self.all.push(diagnostic);
        }
    }

    /// Adds all of `others`.
    pub fn extend(&mut self, others: Self) {
        for diagnostic in others.all {
            self.push(diagnostic);
        }
    }

    /// All of them, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.all.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// How many are errors.
    pub fn errors(&self) -> usize {
        self.all.iter().filter(|found| found.severity == Severity::Error).count()
    }

    /// How many are warnings.
    pub fn warnings(&self) -> usize {
        self.all.len() - self.errors()
    }

    /// Whether no further finding would be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.all.len() >= KEPT
    }

    /// In the order in which a reader meets them: by file, then by place.
    /// Files keep the order in which they first appear.
    pub fn sort(&mut self) {
        let mut files: Vec<String> = Vec::new();
        for span in self.all.iter().filter_map(|found| found.span.as_ref()) {
            if !files.iter().any(|known| known == span.source().name()) {
                files.push(span.source().name().to_owned());
            }
        }
        self.all.sort_by_key(|found| {
            found.span.as_ref().map(|span| {
                let file = files.iter().position(|known| known == span.source().name());
                (file, span.range().start)
            })
        });
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { all: vec![diagnostic] }
    }
}

/// As [`Diagnostics::render`] without colours.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(crate::render::Style::Plain))
    }
}

impl std::error::Error for Diagnostics {}

/// The first error with its place, and how many more there are.
impl From<Diagnostics> for engine_abi::Error {
    fn from(diagnostics: Diagnostics) -> Self {
        let errors = diagnostics.errors();
        let Some(first) = diagnostics.all.into_iter().min_by_key(|found| found.severity) else {
            return Self::new(engine_abi::ErrorKind::Config, "the pipeline is wrong");
        };
        let place = first.span.map(|span| format!("{span}: ")).unwrap_or_default();
        let more = if errors > 1 { format!(" (and {} more)", errors - 1) } else { String::new() };
        let mut error = Self::new(engine_abi::ErrorKind::Config, format!("{place}{}{more}", first.message));
        error.hint = first.hint.or(first.label);
        error
    }
}
