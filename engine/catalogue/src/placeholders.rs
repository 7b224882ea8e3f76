//! SQL in pieces: code, texts, names, comments and placeholders; and what the code in front of a placeholder wants.

use crate::query::Quoting;

/// A piece of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Words and signs.
    Code(&'a str),
    /// A text, with its quotes and without them; `escapes`: a backslash says something of what follows it.
    Text { whole: &'a str, inner: &'a str, escapes: bool },
    /// A name in quotes.
    Name(&'a str),
    /// A comment.
    Comment(&'a str),
    /// `:name`
    Value(&'a str),
    /// `{{name}}`
    Placeholder { whole: &'a str, name: &'a str },
}

/// Takes a query apart.
///
/// # Errors
/// What does not end.
pub(crate) fn pieces(sql: &str, quoting: Quoting) -> Result<Vec<Piece<'_>>, String> {
    let bytes = sql.as_bytes();
    let mut pieces = Vec::new();
    let (mut at, mut code) = (0, 0);
    while at < bytes.len() {
        let rest = &sql[at..];
        let found = match bytes[at] {
            b'\'' => {
                let escapes = quoting.backslashes || (quoting.postgres && escape_string(bytes, at));
                let end = quoted(rest, b'\'', escapes).ok_or("a text in quotes does not end")?;
                Some((Piece::Text { whole: &rest[..end], inner: &rest[1..end - 1], escapes }, end))
            }
            b'"' => {
                let end = quoted(rest, b'"', quoting.backslashes).ok_or("what begins with `\"` does not end")?;
                let (whole, inner, escapes) = (&rest[..end], &rest[1..end - 1], quoting.backslashes);
                let text = Piece::Text { whole, inner, escapes };
                Some((if quoting.double_is_text { text } else { Piece::Name(&rest[..end]) }, end))
            }
            b'`' if quoting.backticks => {
                let end = quoted(rest, b'`', false).ok_or("a name in backticks does not end")?;
                Some((Piece::Name(&rest[..end]), end))
            }
            b'[' if quoting.brackets => {
                let end = quoted(rest, b']', false).ok_or("a name in brackets does not end")?;
                Some((Piece::Name(&rest[..end]), end))
            }
            b'-' if rest.starts_with("--") => Some(line(rest)),
            b'#' if quoting.hash_comments => Some(line(rest)),
            b'/' if rest.starts_with("/*") => {
                let end = rest.find("*/").ok_or("a comment does not end")? + 2;
                Some((Piece::Comment(&rest[..end]), end))
            }
            b'$' if quoting.postgres && !follows_word(bytes, at) => dollar_quoted(rest)?,
            b'{' if rest.starts_with("{{") => {
                let end = rest.find("}}").ok_or("a placeholder `{{` does not end")? + 2;
                Some((Piece::Placeholder { whole: &rest[..end], name: rest[2..end - 2].trim() }, end))
            }
            b':' if rest.starts_with("::") => {
                at += 2;
                None
            }
            b':' => {
                let name = &rest[1..1 + word(&rest[1..])];
                let begins = name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
                let is_value = begins && !follows_word(bytes, at) && !(at > 0 && b"])\"'`".contains(&bytes[at - 1]));
                is_value.then_some((Piece::Value(name), 1 + name.len()))
            }
            _ => None,
        };
        match found {
            Some((piece, length)) => {
                if code < at {
                    pieces.push(Piece::Code(&sql[code..at]));
                }
                pieces.push(piece);
                at += length;
                code = at;
            }
            None if at < bytes.len() => {
                // A letter may have several bytes.
                at += sql[at..].chars().next().map_or(1, char::len_utf8);
            }
            None => {}
        }
    }
    if code < sql.len() {
        pieces.push(Piece::Code(&sql[code..]));
    }
    Ok(pieces)
}

fn line(rest: &str) -> (Piece<'_>, usize) {
    let end = rest.find('\n').unwrap_or(rest.len());
    (Piece::Comment(&rest[..end]), end)
}

/// The length of what begins with a quote and ends with `end`, which twice stands for itself.
fn quoted(rest: &str, end: u8, backslashes: bool) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if backslashes => at += 2,
            byte if byte == end && bytes.get(at + 1) == Some(&end) => at += 2,
            byte if byte == end => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

fn dollar_quoted(rest: &str) -> Result<Option<(Piece<'_>, usize)>, String> {
    let tag = 1 + word(&rest[1..]);
    if rest.as_bytes().get(tag) != Some(&b'$') {
        return Ok(None);
    }
    let mark = &rest[..=tag];
    let end = rest[mark.len()..].find(mark).ok_or("a text in dollars does not end")?;
    let length = end + 2 * mark.len();
    let inner = &rest[mark.len()..mark.len() + end];
    Ok(Some((Piece::Text { whole: &rest[..length], inner, escapes: false }, length)))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The length of the word that a text begins with.
fn word(text: &str) -> usize {
    text.bytes().position(|byte| !is_word(byte)).unwrap_or(text.len())
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && is_word(bytes[at - 1])
}

/// Whether the quote here begins `e'…'`.
fn escape_string(bytes: &[u8], at: usize) -> bool {
    at > 0 && bytes[at - 1].eq_ignore_ascii_case(&b'e') && !follows_word(bytes, at - 1)
}

/// What was said so far of the part of a query that is at hand.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// Each parenthesis that is open, the innermost last; the first is the query itself.
    open: Vec<Level>,
    /// The last word or sign.
    last: String,
    /// It stands right in front of what comes next.
    touches: bool,
}

#[derive(Debug, Default, Clone)]
struct Level {
    /// The word that began the part: `FROM`, `WHERE`, `ORDER`.
    clause: String,
    /// It is that of a function such as `EXTRACT(… FROM …)`.
    of_function: bool,
}

/// Words that begin a part of a query.
const CLAUSES: [&str; 19] = [
    "SELECT",
    "FROM",
    "JOIN",
    "WHERE",
    "ON",
    "USING",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "SET",
    "VALUES",
    "INTO",
    "PARTITION",
];
/// Words behind which only a name can stand.
const NAMING: [&str; 9] = ["FROM", "JOIN", "INTO", "UPDATE", "TABLE", "AS", "BY", "SCHEMA", "COLLATE"];
/// Words that stand in front of a text that is no value of its own.
const TYPES: [&str; 5] = ["DATE", "TIME", "TIMESTAMP", "DATETIME", "INTERVAL"];
/// Functions whose arguments have words between them.
const WORDY: [&str; 5] = ["EXTRACT", "SUBSTRING", "TRIM", "OVERLAY", "POSITION"];

impl Context {
    /// Passes words and signs.
    pub(crate) fn pass(&mut self, code: &str) {
        if self.open.is_empty() {
            self.open.push(Level::default());
        }
        let mut rest = code;
        while let Some(letter) = rest.chars().next() {
            let length = match word(rest) {
                0 => letter.len_utf8(),
                length => length,
            };
            if !letter.is_whitespace() {
                self.step(&rest[..length]);
            }
            self.touches = !letter.is_whitespace();
            rest = &rest[length..];
        }
    }

    fn step(&mut self, what: &str) {
        let what = what.to_uppercase();
        match what.as_str() {
            "(" => {
                let of_function = WORDY.contains(&self.last.as_str());
                self.open.push(Level { clause: String::new(), of_function });
            }
            ")" if self.open.len() > 1 => _ = self.open.pop(),
            clause if CLAUSES.contains(&clause) => {
                if let Some(level) = self.open.last_mut() {
                    what.clone_into(&mut level.clause);
                }
            }
            _ => {}
        }
        self.last = what;
    }

    pub(crate) fn pass_value(&mut self) {
        "?".clone_into(&mut self.last);
        self.touches = true;
    }

    pub(crate) fn pass_name(&mut self) {
        "NAME".clone_into(&mut self.last);
        self.touches = true;
    }

    /// A word such as `DATE` that stands in front of a text and makes something of it.
    pub(crate) fn typed_before(&self) -> Option<&str> {
        TYPES.iter().find(|word| **word == self.last).copied()
    }

    /// Whether the letter of `N'…'` or `E'…'` stands right in front.
    pub(crate) fn has_prefix(&self) -> bool {
        self.touches && matches!(self.last.as_str(), "N" | "E")
    }

    /// Whether only a name, or a part of one, can stand here.
    pub(crate) fn wants_name(&self) -> bool {
        let sign = |last: &str| last.chars().next().is_some_and(|letter| !is_word(letter as u8) && letter.is_ascii());
        if self.touches && (!sign(&self.last) || self.last == "." || self.last == "?") {
            return true;
        }
        let level = self.open.last().cloned().unwrap_or_default();
        if level.of_function {
            return false;
        }
        let clause = level.clause.as_str();
        match self.last.as_str() {
            last if NAMING.contains(&last) => true,
            "," => matches!(clause, "FROM" | "JOIN" | "GROUP" | "ORDER" | "PARTITION"),
            // A direction, or another part of a name.
            last => matches!(clause, "FROM" | "JOIN" | "GROUP" | "ORDER") && !sign(last) && !is_operator_word(last),
        }
    }
}

/// Words behind which a value can stand wherever they are.
fn is_operator_word(word: &str) -> bool {
    const WORDS: [&str; 16] = [
        "WHEN", "THEN", "ELSE", "CASE", "AND", "OR", "NOT", "LIKE", "ILIKE", "IN", "BETWEEN", "IS", "DIV", "MOD",
        "INTERVAL", "SAMPLE",
    ];
    WORDS.contains(&word)
}
