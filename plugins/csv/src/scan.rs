//! Finds where a record and its fields begin and end.
//!
//! The scanner can stop at any byte and go on when more bytes have come, so a
//! record is looked at once however its pieces are cut.

use memchr::{memchr_iter, memchr2};

use crate::config::Dialect;

/// Where a field stands, relative to the record's first byte; without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    pub quoted: bool,
    /// Holds escapes that must be taken out.
    pub escaped: bool,
}

/// What is wrong with a record's quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The file ends inside a quoted field.
    Unterminated,
    /// Something stands between a closing quote and the delimiter.
    AfterQuote,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A record; its fields and problem are in the scanner. `body` bytes
    /// without the line end, `length` with it.
    Record { body: usize, length: usize },
    /// A blank line or a comment of this many bytes.
    Nothing { length: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RecordStart,
    Comment,
    FieldStart,
    Unquoted,
    Quoted,
    AfterQuote,
}

pub struct Scanner {
    dialect: Dialect,
    ends_unquoted: [bool; 256],
    state: State,
    at: usize,
    span: Span,
    fields: Vec<Span>,
    count: usize,
    /// How many fields are kept; more are only counted.
    limit: usize,
    problem: Option<Problem>,
    any_quoted: bool,
    /// A blank line is a record of one field.
    blank_is_record: bool,
}

const NO_SPAN: Span = Span { start: 0, end: 0, quoted: false, escaped: false };

impl Scanner {
    pub fn new(dialect: Dialect, limit: usize) -> Self {
        let mut ends_unquoted = [false; 256];
        for byte in [dialect.delimiter, b'\n', b'\r'] {
            ends_unquoted[usize::from(byte)] = true;
        }
        Self {
            dialect,
            ends_unquoted,
            state: State::RecordStart,
            at: 0,
            span: NO_SPAN,
            fields: Vec::new(),
            count: 0,
            limit,
            problem: None,
            any_quoted: false,
            blank_is_record: false,
        }
    }

    /// From now on, records have this many fields.
    pub fn expect(&mut self, fields: usize) {
        self.limit = fields;
        // With one column, a blank line is how a missing value looks.
        self.blank_is_record = fields == 1;
    }

    /// The fields of the record that was found, up to the limit.
    pub fn fields(&self) -> &[Span] {
        &self.fields
    }

    /// How many fields the record has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether it has stopped in the middle of a comment.
    pub fn is_in_comment(&self) -> bool {
        self.state == State::Comment
    }

    pub fn problem(&self) -> Option<Problem> {
        self.problem
    }

    /// How many lines a found record takes.
    pub fn lines(&self, body: &[u8]) -> u64 {
        let inside = if self.any_quoted { memchr_iter(b'\n', body).count() } else { 0 };
        inside as u64 + 1
    }

    /// Begins the next record.
    pub fn reset(&mut self) {
        self.state = State::RecordStart;
        self.at = 0;
        self.fields.clear();
        self.count = 0;
        self.problem = None;
        self.any_quoted = false;
    }

    /// Forgets the bytes looked at so far, which the caller throws away, but not
    /// where in the record they end. Answers how many they are.
    pub fn forget(&mut self) -> usize {
        self.fields.clear();
        self.span = NO_SPAN;
        std::mem::take(&mut self.at)
    }

    /// Looks for the end of the record that `data` begins with. `None`: it needs
    /// more bytes. `end`: there are no more.
    pub fn scan(&mut self, data: &[u8], end: bool) -> Option<Found> {
        loop {
            match self.state {
                State::RecordStart => match *data.get(self.at)? {
                    byte @ (b'\n' | b'\r') if !self.blank_is_record => {
                        let length = line_end(data, self.at, byte, end)?;
                        return Some(Found::Nothing { length });
                    }
                    byte if self.dialect.comment == Some(byte) => self.state = State::Comment,
                    _ => self.state = State::FieldStart,
                },
                State::Comment => match memchr2(b'\n', b'\r', &data[self.at..]) {
                    Some(ahead) => {
                        self.at += ahead;
                        let length = line_end(data, self.at, data[self.at], end)?;
                        return Some(Found::Nothing { length });
                    }
                    None => {
                        self.at = data.len();
                        return end.then_some(Found::Nothing { length: data.len() });
                    }
                },
                State::FieldStart => self.field_start(data, end)?,
                State::Unquoted => {
                    let ends = |byte: &u8| self.ends_unquoted[usize::from(*byte)];
                    self.at = data[self.at..].iter().position(ends).map_or(data.len(), |ahead| self.at + ahead);
                    self.span.end = self.at;
                    if let Some(found) = self.end_of_field(data, end)? {
                        return Some(found);
                    }
                }
                State::Quoted => {
                    if let Some(found) = self.quoted(data, end)? {
                        return Some(found);
                    }
                }
                State::AfterQuote => match data.get(self.at) {
                    Some(b' ' | b'\t') if self.dialect.trim && data[self.at] != self.dialect.delimiter => self.at += 1,
                    Some(byte) if !self.ends_unquoted[usize::from(*byte)] => {
                        self.problem.get_or_insert(Problem::AfterQuote);
                        self.state = State::Unquoted;
                    }
                    _ => {
                        if let Some(found) = self.end_of_field(data, end)? {
                            return Some(found);
                        }
                    }
                },
            }
        }
    }

    fn field_start(&mut self, data: &[u8], end: bool) -> Option<()> {
        while self.dialect.trim
            && data.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t') && *byte != self.dialect.delimiter)
        {
            self.at += 1;
        }
        let quoted = match data.get(self.at) {
            Some(byte) => *byte == self.dialect.quote,
            None if end => false,
            None => return None,
        };
        self.at += usize::from(quoted);
        self.any_quoted |= quoted;
        self.span = Span { start: self.at, end: self.at, quoted, escaped: false };
        self.state = if quoted { State::Quoted } else { State::Unquoted };
        Some(())
    }

    /// Goes on inside quotes. The outer `None`: needs more bytes.
    fn quoted(&mut self, data: &[u8], end: bool) -> Option<Option<Found>> {
        let Dialect { quote, escape, .. } = self.dialect;
        let Some(ahead) = memchr2(quote, escape, &data[self.at..]) else {
            self.at = data.len();
            return if end { Some(Some(self.unterminated(data))) } else { None };
        };
        let at = self.at + ahead;
        self.at = at;
        let next = data.get(at + 1).copied();
        if next.is_none() && !end {
            return None;
        }
        if data[at] != quote {
            // An escape: whatever follows is text.
            if next.is_none() {
                self.at = data.len();
                return Some(Some(self.unterminated(data)));
            }
            self.span.escaped = true;
            self.at += 2;
        } else if next == Some(quote) {
            self.span.escaped = true;
            self.at += 2;
        } else {
            self.span.end = at;
            self.at += 1;
            self.state = State::AfterQuote;
        }
        Some(None)
    }

    fn unterminated(&mut self, data: &[u8]) -> Found {
        self.problem = Some(Problem::Unterminated);
        Found::Record { body: data.len(), length: data.len() }
    }

    /// At a delimiter, a line end or the end of the bytes. The outer `None`:
    /// needs more bytes.
    fn end_of_field(&mut self, data: &[u8], end: bool) -> Option<Option<Found>> {
        let byte = match data.get(self.at) {
            Some(byte) => *byte,
            None if !end => return None,
            None => {
                self.keep();
                return Some(Some(Found::Record { body: data.len(), length: data.len() }));
            }
        };
        if byte == self.dialect.delimiter {
            self.keep();
            self.at += 1;
            self.state = State::FieldStart;
            return Some(None);
        }
        let length = line_end(data, self.at, byte, end)?;
        self.keep();
        Some(Some(Found::Record { body: self.at, length }))
    }

    fn keep(&mut self) {
        if self.fields.len() < self.limit {
            self.fields.push(self.span);
        }
        self.count += 1;
    }
}

/// Where the line ends that has a line end at `at`. `None`: a carriage return
/// could be followed by a line feed that has not come yet.
fn line_end(data: &[u8], at: usize, byte: u8, end: bool) -> Option<usize> {
    match data.get(at + 1) {
        Some(b'\n') if byte == b'\r' => Some(at + 2),
        None if byte == b'\r' && !end => None,
        _ => Some(at + 1),
    }
}
