//! Texts and places in them.
//!
//! A [`Span`] carries its [`Source`], so that diagnostics about several files
//! travel together and need no table beside them.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// One text that was read, shared by every span into it.
#[derive(Clone)]
pub struct Source(Arc<Text>);

struct Text {
    name: String,
    text: String,
    /// Byte offset at which each line starts; the first is 0.
    line_starts: Vec<usize>,
    /// Byte ranges that hold secrets. Known only once the schemas are, which is
    /// after spans were handed out: hence the lock.
    secrets: Mutex<Vec<Range<usize>>>,
    quotable: bool,
}

impl Source {
    /// A text under the name that diagnostics show for it.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::build(name.into(), text.into(), true)
    }

    /// A text of which diagnostics show no line, such as a `.env` file.
    pub fn unquotable(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::build(name.into(), text.into(), false)
    }

    fn build(name: String, text: String, quotable: bool) -> Self {
        let bytes = text.as_bytes();
        let mut line_starts = vec![0];
        for (at, byte) in bytes.iter().enumerate() {
            let ends_line = *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
            if ends_line {
                line_starts.push(at + 1);
            }
        }
        Self(Arc::new(Text { name, text, line_starts, secrets: Mutex::default(), quotable }))
    }

    /// The name, as diagnostics show it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// A span of this text. Bounds outside it are drawn in.
    pub fn span(&self, range: Range<usize>) -> Span {
        let start = range.start.min(self.0.text.len());
        let end = range.end.clamp(start, self.0.text.len());
        Span { source: self.clone(), start, end }
    }

    /// Line and column (both from 1, columns in characters) of a byte offset.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.0.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.0.line_starts[line - 1];
        let column = self.0.text.get(start..offset).map_or(offset - start, |before| before.chars().count());
        (line, column + 1)
    }

    /// The byte range of a line (from 1), without its line break.
    pub(crate) fn line(&self, line: usize) -> Range<usize> {
        let start = self.0.line_starts.get(line - 1).copied().unwrap_or(self.0.text.len());
        let end = self.0.line_starts.get(line).copied().unwrap_or(self.0.text.len());
        let kept = self.0.text[start..end].trim_end_matches(['\n', '\r']);
        start..start + kept.len()
    }

    /// Whether diagnostics may show lines of this text.
    pub(crate) fn is_quotable(&self) -> bool {
        self.0.quotable
    }

    /// The byte ranges that diagnostics must not show.
    pub(crate) fn secrets(&self) -> Vec<Range<usize>> {
        self.0.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.0.name)
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.name == other.0.name && self.0.text == other.0.text)
    }
}

impl Eq for Source {}

/// A byte range of a [`Source`].
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    source: Source,
    start: usize,
    end: usize,
}

impl Span {
    /// The text that it is a part of.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Its bytes within the source.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The line on which it starts, from 1.
    pub fn line(&self) -> usize {
        self.source.position(self.start).0
    }

    /// The column at which it starts, from 1, in characters.
    pub fn column(&self) -> usize {
        self.source.position(self.start).1
    }

    /// The text as written.
    pub fn text(&self) -> &str {
        self.source.text().get(self.range()).unwrap_or_default()
    }

    /// The first occurrence of `part` within it, or else all of it.
    pub(crate) fn find(&self, part: &str) -> Self {
        match self.text().find(part) {
            Some(at) if !part.is_empty() => self.source.span(self.start + at..self.start + at + part.len()),
            _ => self.clone(),
        }
    }

    /// Says that its text is a secret: no diagnostic will show it.
    pub(crate) fn hide(&self) {
        let mut secrets = self.source.0.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let range = self.range();
        if !secrets.contains(&range) {
            secrets.push(range);
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.source.position(self.start);
        write!(f, "{}:{line}:{column}", self.source.name())
    }
}

/// The place alone: the text may hold secrets.
impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
