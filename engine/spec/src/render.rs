//! Diagnostics as a compiler prints them: the place, the line itself, an
//! underline and what to do next.

use std::fmt::Write as _;
use std::ops::Range;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::source::Span;

/// With or without terminal colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// With ANSI escape codes.
    Coloured,
}

/// How many characters of a long line are shown.
const WIDTH: usize = 160;
/// How many characters of a long line are shown in front of the place.
const LEAD: usize = 60;
/// How many bytes of a long line, on either side of the place, are looked at.
const LOOKED_AT: usize = 4096;
/// Names of keys whose values are not shown, whatever the schema says: a file
/// that cannot be read yet has no schema.
const SECRET_KEYS: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "auth_key",
    "access_key",
    "secret_key",
    "private_key",
    "credentials",
];

impl Diagnostics {
    /// All of them, as a compiler prints them, with an empty line after each.
    pub fn render(&self, style: Style) -> String {
        let mut out = String::new();
        for diagnostic in self {
            diagnostic.render_into(&mut out, style);
            out.push('\n');
        }
        out
    }

    /// How many there are, such as `2 errors, 1 warning`. Empty without any.
    pub fn summary(&self) -> String {
        let count = |number: usize, word: &str| match number {
            0 => None,
            1 => Some(format!("1 {word}")),
            _ => Some(format!("{number} {word}s")),
        };
        let parts = [count(self.errors(), "error"), count(self.warnings(), "warning")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Diagnostic {
    /// This one, as a compiler prints it.
    pub fn render(&self, style: Style) -> String {
        let mut out = String::new();
        self.render_into(&mut out, style);
        out
    }

    fn render_into(&self, out: &mut String, style: Style) {
        let paint = Paint(style);
        let tone = match self.severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
        };
        let spans = self.span.iter().chain(self.notes.iter().filter_map(|note| note.span.as_ref()));
        let gutter = spans.map(|span| span.line().to_string().len()).max().unwrap_or(1);
        let head = paint.with(tone, &format!("{}[{}]", self.severity.as_str(), self.code));
        let message = paint.with("1", &format!(": {}", printable(&self.message)));
        let _ = writeln!(out, "{head}{message}");
        if let Some(span) = &self.span {
            excerpt(out, paint, gutter, span, ('^', tone), self.label.as_deref());
        } else if let Some(label) = &self.label {
            remark(out, paint, gutter, "note", label);
        }
        let open = self.span.as_ref().is_some_and(|span| span.source().is_quotable());
        let plain_notes = || self.notes.iter().filter(|note| note.span.is_none());
        if open && (self.hint.is_some() || plain_notes().next().is_some()) {
            let _ = writeln!(out, "{:gutter$} {}", "", paint.with("1;34", " |"));
        }
        for note in plain_notes() {
            remark(out, paint, gutter, "note", &note.message);
        }
        if let Some(hint) = &self.hint {
            remark(out, paint, gutter, "help", hint);
        }
        for (note, span) in self.notes.iter().filter_map(|note| Some((note, note.span.as_ref()?))) {
            let _ = writeln!(out, "{}: {}", paint.with("1;36", "note"), printable(&note.message));
            excerpt(out, paint, gutter, span, ('-', "1;36"), None);
        }
    }
}

#[derive(Clone, Copy)]
struct Paint(Style);

impl Paint {
    fn with(self, tone: &str, text: &str) -> String {
        match self.0 {
            Style::Plain => text.to_owned(),
            Style::Coloured => format!("\u{1b}[{tone}m{text}\u{1b}[0m"),
        }
    }
}

fn remark(out: &mut String, paint: Paint, gutter: usize, word: &str, text: &str) {
    let indent = format!("\n{:1$}", "", gutter + 5 + word.len() + 2);
    let text = text.lines().map(printable).collect::<Vec<_>>().join(&indent);
    let _ = writeln!(out, "{:gutter$}  {} {}: {text}", "", paint.with("1;34", "="), paint.with("1", word));
}

fn excerpt(out: &mut String, paint: Paint, gutter: usize, span: &Span, mark: (char, &str), label: Option<&str>) {
    let (mark, tone) = mark;
    let _ = writeln!(out, "{:gutter$} {} {}", "", paint.with("1;34", "-->"), printable(&span.to_string()));
    if !span.source().is_quotable() {
        if let Some(label) = label {
            remark(out, paint, gutter, "note", label);
        }
        return;
    }
    let line = span.line();
    let shown = Shown::of(span, line);
    let bar = paint.with("1;34", "|");
    let _ = writeln!(out, "{:gutter$}  {bar}", "");
    let number = paint.with("1;34", &format!("{line:>gutter$}"));
    let _ = writeln!(out, "{}", format!("{number}  {bar} {}", shown.text).trim_end());
    let underline = String::from(mark).repeat(shown.width);
    let label = label.map(|label| format!(" {}", printable(label))).unwrap_or_default();
    let marked = paint.with(tone, &format!("{underline}{label}"));
    let _ = writeln!(out, "{:gutter$}  {bar} {:indent$}{marked}", "", "", indent = shown.indent);
}

/// The part of a line that is shown, and where the underline goes.
struct Shown {
    text: String,
    indent: usize,
    width: usize,
}

impl Shown {
    fn of(span: &Span, line: usize) -> Self {
        let source = span.source();
        let whole = source.line(line);
        let text = source.text();
        let start = span.range().start.clamp(whole.start, whole.end);
        let end = span.range().end.clamp(start, whole.end);
        let near = text.floor_char_boundary(start.saturating_sub(LOOKED_AT).max(whole.start))
            ..text.ceil_char_boundary((start + LOOKED_AT).min(whole.end));
        let mut hidden = looks_secret(&text[near.clone()]);
        for range in &mut hidden {
            *range = range.start + near.start..range.end + near.start;
        }
        hidden.extend(source.secrets());

        let end = end.min(near.end);
        let mut characters: Vec<char> = Vec::new();
        let (mut indent, mut width) = (0_usize, 0_usize);
        for (at, character) in text[near.clone()].char_indices().map(|(at, character)| (at + near.start, character)) {
            let drawn = match character {
                _ if hidden.iter().any(|range| range.contains(&at)) => '*',
                '\t' => ' ',
                control if control.is_control() => '\u{fffd}',
                other => other,
            };
            if at < start {
                indent += 1;
            } else if at < end {
                width += 1;
            }
            characters.push(drawn);
        }
        let (mut cut_before, mut cut_after) = (near.start > whole.start, near.end < whole.end);
        if characters.len() > WIDTH {
            let from = indent.saturating_sub(LEAD);
            let to = (from + WIDTH).min(characters.len());
            cut_before |= from > 0;
            cut_after |= to < characters.len();
            characters.truncate(to);
            characters.drain(..from);
            indent -= from;
            width = width.min(characters.len() - indent);
        }
        let mut text: String = characters.into_iter().collect();
        if cut_before {
            text.insert(0, '…');
            indent += 1;
        }
        if cut_after {
            text.push('…');
        }
        Self { text, indent, width: width.max(1) }
    }
}

/// Byte ranges of a line that look like secrets: passwords within addresses,
/// and the values of keys that name secrets.
pub(crate) fn looks_secret(line: &str) -> Vec<Range<usize>> {
    let mut found = url_passwords(line);
    let lower = line.to_ascii_lowercase();
    for key in SECRET_KEYS {
        for (at, _) in lower.match_indices(key) {
            let rest = line[at + key.len()..].trim_start_matches(['"', '\'']).trim_start();
            let Some(value) = rest.strip_prefix([':', '=']) else { continue };
            let value = value.trim_start();
            let start = line.len() - value.len();
            let length = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value[1..].find(quote).map_or(value.len(), |end| end + 2),
                Some('$' | '|' | '>' | '{' | '[' | '*') | None => continue,
                Some(_) => value.find([',', '}', ']']).unwrap_or(value.len()),
            };
            if !value[..length].contains("${") {
                found.push(start..start + length);
            }
        }
    }
    found
}

/// Byte ranges of the passwords within `scheme://user:password@host` addresses.
/// A reference to the environment in their place is none.
pub(crate) fn url_passwords(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, separator) in text.match_indices("://") {
        let start = at + separator.len();
        let authority = text[start..].find(['/', '?', '#', ' ', '"', '\'', '\n']).map_or(text.len(), |end| start + end);
        // A password written unescaped may hold a slash or a question mark.
        let word = text[start..].find([' ', '"', '\'', '\n', '\t']).map_or(text.len(), |end| start + end);
        let user_info = match text[start..authority].rfind('@') {
            Some(end) => start..start + end,
            None => match text[start..word].rfind('@') {
                Some(end) if text[start..authority].contains(':') => start..start + end,
                _ => continue,
            },
        };
        let Some(colon) = text[user_info.clone()].find(':') else { continue };
        let password = user_info.start + colon + 1..user_info.end;
        let is_reference = text[password.clone()].starts_with("${") && text[password.clone()].ends_with('}');
        if !password.is_empty() && !is_reference {
            found.push(password);
        }
    }
    found
}

/// Text of unknown origin without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
