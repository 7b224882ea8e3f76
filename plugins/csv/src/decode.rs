//! Text to rows.

use std::borrow::Cow;

use engine_sdk::columns::{ColumnType, RowBuilder, Unreadable, Value};
use engine_sdk::prelude::*;
use memchr::memchr_iter;

use crate::config::{Config, Dialect};
use crate::plain::{Plain, Scratch};
use crate::scan::{Found, Problem, Scanner, Span};
use crate::text::Text;

/// More columns than any real file has; bounds what a header may cost.
const MOST_COLUMNS: usize = 16_384;

pub fn decode(config: &Config, dialect: Dialect, cx: Context, input: Batches) -> Result<Batches> {
    let mut reading = Reading {
        text: Text::new(input, cx, config),
        scanner: Scanner::new(dialect, MOST_COLUMNS),
        dialect,
        config: config.clone(),
        header: None,
        header_read: false,
        preamble: Vec::new(),
        columns: Vec::new(),
        rows: RowBuilder::new([]),
        scratch: String::new(),
        values: Vec::new(),
        plain: Scratch::default(),
        skipping: false,
        records: 0,
    };
    reading.learn_columns()?;
    Ok(Batches::new(reading.rows.schema(), reading))
}

struct Reading {
    text: Text,
    scanner: Scanner,
    dialect: Dialect,
    config: Config,
    /// The first file's name and header, which every other must repeat.
    header: Option<(String, Vec<String>)>,
    header_read: bool,
    /// What a refused record needs in front of it to be read alone.
    preamble: Vec<u8>,
    columns: Vec<(String, ColumnType)>,
    rows: RowBuilder,
    scratch: String,
    /// Empty between two rows; kept for its memory.
    values: Vec<Value<'static>>,
    plain: Scratch,
    /// Inside a record that was too long and has been refused already.
    skipping: bool,
    /// Records not yet counted with the engine.
    records: u64,
}

impl Reading {
    /// Reads as far as it takes to know the columns.
    fn learn_columns(&mut self) -> Result<()> {
        if !self.config.columns.is_empty() {
            return self.set_columns(self.config.columns.clone());
        }
        let Some((body, length)) = self.find()? else {
            return self.set_columns(Vec::new());
        };
        if self.config.header {
            let names = self.read_header(body, length)?;
            self.set_columns(names)
        } else {
            let count = self.scanner.count();
            self.set_columns((1..=count).map(|number| format!("column_{number}")).collect())?;
            // The scanner has not moved: the record is found again as a record.
            self.scanner.reset();
            Ok(())
        }
    }

    fn set_columns(&mut self, names: Vec<String>) -> Result<()> {
        if names.len() > MOST_COLUMNS {
            return Err(Error::config(format!("{}: more than {MOST_COLUMNS} columns", self.place()))
                .hint("check `delimiter` and `quote`"));
        }
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                return Err(Error::config(format!("{}: two columns are named `{name}`", self.place()))
                    .hint("name them with `columns`"));
            }
        }
        if let Some(unknown) = self.config.types.keys().find(|name| !names.is_empty() && !names.contains(name)) {
            return Err(Error::config(format!("`types` names `{unknown}`, but there is no such column"))
                .hint(format!("the columns are: {}", names.join(", "))));
        }
        let kind = |name: &String| self.config.types.get(name).copied().unwrap_or(ColumnType::Text);
        self.columns = names.into_iter().map(|name| (kind(&name), name)).map(|(kind, name)| (name, kind)).collect();
        self.rows = RowBuilder::new(self.columns.iter().map(|(name, kind)| (name.as_str(), *kind)));
        self.scanner.expect(self.columns.len());
        Ok(())
    }

    fn place(&self) -> String {
        match self.text.name.as_str() {
            "" => format!("line {}", self.text.line),
            name => format!("{name}, line {}", self.text.line),
        }
    }

    /// Finds the next record, header or not, without passing it. Answers its
    /// lengths without and with its line end.
    fn find(&mut self) -> Result<Option<(usize, usize)>> {
        loop {
            if self.text.pass_preamble() {
                match self.scanner.scan(self.text.ahead(), self.text.ended) {
                    Some(Found::Record { body, length }) if self.skipping => {
                        self.skipping = false;
                        let lines = self.scanner.lines(&self.text.ahead()[..body]);
                        self.pass(length, lines);
                        continue;
                    }
                    Some(Found::Record { body, length }) if body <= self.config.max_record.as_usize() => {
                        return Ok(Some((body, length)));
                    }
                    Some(Found::Record { body, length }) => {
                        self.refuse_long()?;
                        let lines = self.scanner.lines(&self.text.ahead()[..body]);
                        self.pass(length, lines);
                        continue;
                    }
                    Some(Found::Nothing { length }) => {
                        self.pass(length, 1);
                        continue;
                    }
                    None if self.sure_bytes() > self.config.max_record.as_usize() => {
                        if !self.skipping && !self.scanner.is_in_comment() {
                            self.refuse_long()?;
                            self.skipping = true;
                        }
                        let looked_at = self.scanner.forget();
                        let gone = &self.text.ahead()[..looked_at];
                        let lines = memchr_iter(b'\n', gone).count() as u64;
                        self.text.advance(looked_at, lines);
                    }
                    None => {}
                }
            }
            if self.text.ended {
                self.skipping = false;
                if !self.text.next_file()? {
                    return Ok(None);
                }
                self.scanner.reset();
                self.header_read = false;
            }
            self.text.more()?;
        }
    }

    /// How many of the bytes ahead belong to the record: a carriage return may be half a line end.
    fn sure_bytes(&self) -> usize {
        let ahead = self.text.ahead();
        ahead.len() - usize::from(ahead.ends_with(b"\r"))
    }

    fn pass(&mut self, length: usize, lines: u64) {
        self.text.advance(length, lines);
        self.scanner.reset();
    }

    /// A record that is tried again is a file of its own, and lines in front of it are left out there too.
    fn fill_preamble(&mut self) {
        if self.preamble.is_empty() && !self.config.header {
            self.preamble = "\n".repeat(self.config.skip_rows as usize).into_bytes();
        }
    }

    fn refuse_long(&mut self) -> Result<()> {
        let kept = self.config.max_record.as_usize().min(self.text.ahead().len());
        if self.config.header && !self.header_read {
            return Err(Error::config(format!("{}: the header is longer than {kept} bytes", self.place()))
                .hint("check `quote` and `delimiter`, or raise `max_record`"));
        }
        let reason = format!(
            "line {}: the record is longer than {kept} bytes (`max_record`); only its beginning is kept",
            self.text.line
        );
        self.records += 1;
        self.fill_preamble();
        let record = [&self.preamble, &self.text.ahead()[..kept]].concat();
        self.text.cx.reject_bytes(&self.text.name, &record, "too_long", &reason)
    }

    /// Reads the record that was found as a header, and passes it.
    fn read_header(&mut self, body: usize, length: usize) -> Result<Vec<String>> {
        let data = &self.text.ahead()[..body];
        let wrong = |what: &str| Error::config(format!("{}: the header {what}", self.place()));
        if self.scanner.problem().is_some() {
            return Err(wrong("is not quoted as it should be").hint("check `quote` and `skip_rows`"));
        }
        let text = std::str::from_utf8(data).map_err(|_| wrong("is not UTF-8").hint("convert the file to UTF-8"))?;
        let mut names = Vec::with_capacity(self.scanner.count());
        for (at, span) in self.scanner.fields().iter().enumerate() {
            let name = field(text, span, self.dialect);
            names.push(if name.is_empty() { format!("column_{}", at + 1) } else { name.into_owned() });
        }
        if self.scanner.count() > names.len() && self.columns.is_empty() {
            return Err(wrong(&format!("has {} columns", self.scanner.count())).hint("check `delimiter` and `quote`"));
        }
        let expected = self.config.columns.len();
        if expected > 0 && self.scanner.count() != expected {
            return Err(wrong(&format!("has {} columns, but `columns` names {expected}", self.scanner.count())));
        }
        if let Some((first, header)) = &self.header
            && (*header != names || self.scanner.count() != names.len())
        {
            return Err(Error::config(format!(
                "{} has the columns {}, but {first} has {}",
                self.text.name,
                names.join(", "),
                header.join(", ")
            ))
            .hint("files of one stream have the same header; read the others with a pipeline of their own"));
        }
        self.header.get_or_insert_with(|| (self.text.name.clone(), names.clone()));
        let mut preamble = "\n".repeat(self.config.skip_rows as usize).into_bytes();
        preamble.extend_from_slice(data);
        preamble.push(b'\n');
        self.preamble = preamble;
        let lines = self.scanner.lines(data);
        self.header_read = true;
        self.pass(length, lines);
        Ok(names)
    }

    /// Reads the record that was found into a row or refuses it, and passes it.
    fn read_record(&mut self, body: usize, length: usize) -> Result<()> {
        self.fill_preamble();
        let data = &self.text.ahead()[..body];
        let mut values = recycled(std::mem::take(&mut self.values));
        self.scratch.clear();
        let row =
            Row { scanner: &self.scanner, columns: &self.columns, dialect: self.dialect, nulls: &self.config.nulls };
        match row.read(data, &mut self.scratch, &mut values) {
            Ok(()) => self.rows.push(&values),
            Err((code, reason)) => {
                let reason = format!("line {}: {reason}", self.text.line);
                let record = [&self.preamble, data].concat();
                self.text.cx.reject_bytes(&self.text.name, &record, code, &reason)?;
            }
        }
        self.values = recycled(values);
        self.records += 1;
        let lines = self.scanner.lines(data);
        self.pass(length, lines);
        Ok(())
    }

    /// Reads records for as long as nothing is out of the ordinary.
    fn read_plain(&mut self) {
        if self.skipping || !self.text.is_in_records() || (self.config.header && !self.header_read) {
            return;
        }
        let plain = Plain {
            dialect: self.dialect,
            columns: &self.columns,
            nulls: &self.config.nulls,
            max_record: self.config.max_record.as_usize(),
        };
        loop {
            let passed = plain.read(self.text.ahead(), &mut self.rows, &mut self.plain);
            if passed.records == 0 {
                return;
            }
            self.text.advance(passed.bytes, passed.records);
            self.records += passed.records;
            // What the scanner has seen of the record that follows is found again.
            self.scanner.reset();
        }
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        while !self.rows.is_full() {
            self.read_plain();
            if self.rows.is_full() {
                break;
            }
            let Some((body, length)) = self.find()? else { break };
            if self.config.header && !self.header_read {
                self.read_header(body, length)?;
            } else {
                self.read_record(body, length)?;
            }
        }
        self.text.cx.progress(std::mem::take(&mut self.records), 0);
        if self.rows.is_empty() { Ok(None) } else { self.rows.finish().map(Some) }
    }
}

impl Iterator for Reading {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}

/// What it takes to read one record.
pub struct Row<'a> {
    pub scanner: &'a Scanner,
    pub columns: &'a [(String, ColumnType)],
    pub dialect: Dialect,
    pub nulls: &'a [String],
}

impl Row<'_> {
    /// Fills `values`, or says why not: a code and a reason.
    pub fn read<'a>(
        &self,
        data: &'a [u8],
        scratch: &'a mut String,
        values: &mut Vec<Value<'a>>,
    ) -> Result<(), (&'static str, String)> {
        match self.scanner.problem() {
            Some(Problem::Unterminated) => {
                return Err(("unterminated_quote", "the file ends inside a quoted field".into()));
            }
            Some(Problem::AfterQuote) => {
                return Err(("bad_quote", "something stands between a closing quote and the next delimiter".into()));
            }
            None => {}
        }
        let (found, expected) = (self.scanner.count(), self.columns.len());
        if found != expected {
            return Err(("field_count", format!("{found} fields instead of {expected}")));
        }
        let text = std::str::from_utf8(data)
            .map_err(|error| ("not_utf8", format!("byte {} of the record is not UTF-8", error.valid_up_to() + 1)))?;
        let mut lengths = Vec::new();
        for span in self.scanner.fields().iter().filter(|span| span.escaped) {
            let cell = field(text, span, self.dialect);
            scratch.push_str(&cell);
            lengths.push(cell.len());
        }
        let (mut unescaped, mut lengths) = (scratch.as_str(), lengths.into_iter());
        for (span, (name, kind)) in self.scanner.fields().iter().zip(self.columns) {
            let cell = match if span.escaped { lengths.next() } else { None } {
                Some(length) => {
                    let (cell, rest) = unescaped.split_at(length);
                    unescaped = rest;
                    cell
                }
                None => plain(text, span, self.dialect),
            };
            let read = value(cell, span.quoted, *kind, self.nulls);
            values.push(read.map_err(|wrong| (wrong.code, format!("{name}: {:?} {}", shortened(cell), wrong.reason)))?);
        }
        Ok(())
    }
}

/// What a cell says.
pub fn value<'a>(cell: &'a str, quoted: bool, kind: ColumnType, nulls: &[String]) -> Result<Value<'a>, Unreadable> {
    let null = (!quoted && nulls.iter().any(|null| null == cell)) || (cell.is_empty() && kind != ColumnType::Text);
    if null { Ok(Value::Null) } else { kind.read(cell) }
}

/// Enough of a value to recognise it.
fn shortened(cell: &str) -> &str {
    &cell[..cell.floor_char_boundary(80)]
}

/// The text of a field.
fn field<'a>(text: &'a str, span: &Span, dialect: Dialect) -> Cow<'a, str> {
    let plain = plain(text, span, dialect);
    if !span.escaped {
        return Cow::Borrowed(plain);
    }
    let mut out = String::with_capacity(plain.len());
    let mut characters = plain.chars();
    while let Some(character) = characters.next() {
        let escapes = character == char::from(dialect.escape) || character == char::from(dialect.quote);
        match if escapes { characters.next() } else { Some(character) } {
            Some(character) => out.push(character),
            None => break,
        }
    }
    Cow::Owned(out)
}

/// The text of a field as it stands in the record.
fn plain<'a>(text: &'a str, span: &Span, dialect: Dialect) -> &'a str {
    let cell = &text[span.start..span.end];
    if dialect.trim && !span.quoted { cell.trim_end_matches([' ', '\t']) } else { cell }
}

/// The memory of a vector for values of another lifetime.
pub fn recycled<'b>(mut values: Vec<Value<'_>>) -> Vec<Value<'b>> {
    values.clear();
    values.into_iter().map(|_| Value::Null).collect()
}
