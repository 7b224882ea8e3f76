//! Workbooks to rows.
//!
//! A workbook is put aside until it is whole: what is in it stands at its end. `archive` and `xml` read the container
//! and what is packed in it, `book` finds sheets, looks and shared texts, `cells` goes through a sheet, `table` knows
//! where its columns are, and `value` what cells mean.

mod archive;
mod book;
mod cells;
mod letter;
mod look;
mod strings;
mod table;
mod value;
mod xml;

use std::collections::VecDeque;

use chrono_tz::Tz;
use engine_sdk::columns::{ColumnType, RowBuilder, Value};
use engine_sdk::prelude::*;
use engine_sdk::spool::Files;

use crate::config::Config;
use crate::sheet::letters;
use book::{Book, damaged};
use table::{Table, meanings};
use value::{Guess, Read, show};

pub use cells::letters as column_of;

pub fn decode(config: &Config, zone: Tz, cx: Context, input: Batches) -> Result<Batches> {
    let mut reading = Reading {
        files: Files::new(input, cx.clone()),
        config: config.clone(),
        zone,
        columns: Vec::new(),
        places: None,
        first: String::new(),
        open: None,
        rows: RowBuilder::new([]),
        scratch: String::new(),
        records: 0,
        cx: cx.clone(),
    };
    reading.learn_columns().map_err(|error| if cx.cancelled() { Error::cancelled() } else { error })?;
    Ok(Batches::new(reading.rows.schema(), reading))
}

struct Reading {
    files: Files,
    config: Config,
    zone: Tz,
    columns: Vec<(String, ColumnType)>,
    /// The first column and the last one, where no header says it.
    places: Option<(usize, usize)>,
    /// How messages call the first sheet with columns, which all others must have.
    first: String,
    open: Option<Open>,
    rows: RowBuilder,
    /// The values of a row that had to become texts.
    scratch: String,
    /// Records not yet counted with the engine.
    records: u64,
    cx: Context,
}

/// A workbook that is being read.
struct Open {
    book: Book,
    /// The sheets that are still to be read.
    sheets: VecDeque<usize>,
    table: Option<Table>,
}

impl Reading {
    /// Begins to read the next file, if there is one.
    fn open(&mut self) -> Result<Option<Open>> {
        let Some(file) = self.files.next_file()? else { return Ok(None) };
        let book = Book::open(file, &self.config, &self.cx)?;
        let sheets = book.chosen(self.config.sheet.as_ref())?;
        let shown = book.sheets.iter().filter(|sheet| !sheet.is_hidden).count();
        if self.config.sheet.is_none() && shown > 1 {
            let left_out = engine_sdk::counted(shown - 1, "more sheet");
            let read = &book.sheets[sheets[0]].name;
            let text =
                format!("{} has {left_out} than {read}, which is read: say with `sheet` which", book.file().title());
            self.cx.log(Level::Warn, text);
        }
        Ok(Some(Open { book, sheets: sheets.into(), table: None }))
    }

    /// Reads as far as it takes to know the columns.
    fn learn_columns(&mut self) -> Result<()> {
        while let Some(open) = self.open()? {
            let is_known = self.learn_from(&open)?;
            self.open = Some(open);
            if is_known {
                break;
            }
        }
        self.rows = RowBuilder::new(self.columns.iter().map(|(name, kind)| (name.as_str(), *kind)));
        Ok(())
    }

    /// Learns the columns from a workbook. False: there are none in it.
    fn learn_from(&mut self, open: &Open) -> Result<bool> {
        let mut names: Option<Vec<String>> = None;
        let mut guesses: Vec<Option<Guess>> = Vec::new();
        for at in &open.sheets {
            let Some(mut table) = Table::open(&open.book, *at, &self.config, None)? else { continue };
            if self.first.is_empty() {
                self.first = format!("{}, sheet {}", open.book.file().title(), table.sheet);
                names.clone_from(&table.names);
                self.places = Some((table.first, table.last));
                if let Some(names) = &names {
                    self.check_names(names)?;
                    if names.iter().all(|name| self.config.types.contains_key(name)) {
                        break;
                    }
                }
            }
            table.learn(&open.book, &self.config, &mut guesses)?;
        }
        let names = match (names, self.places) {
            (Some(names), _) => names,
            (None, Some((begin, _))) => {
                // No header and no setting says where the columns are: they are where something is.
                let Some(first) = guesses.iter().position(Option::is_some) else {
                    self.first.clear();
                    return Ok(false);
                };
                guesses.drain(..first);
                let places = (begin + first, begin + first + guesses.len() - 1);
                self.places = Some(places);
                let names = (places.0..=places.1).map(letters).collect::<Vec<_>>();
                self.check_names(&names)?;
                names
            }
            (None, None) => return Ok(false),
        };
        let kinds = guesses.into_iter().map(|guess| guess.unwrap_or_default().kind());
        let kinds = kinds.chain(std::iter::repeat(ColumnType::Text));
        let typed = |(name, kind): (String, ColumnType)| {
            let kind = self.config.types.get(&name).copied().unwrap_or(kind);
            (name, kind)
        };
        self.columns = names.into_iter().zip(kinds).map(typed).collect();
        Ok(true)
    }

    fn check_names(&self, names: &[String]) -> Result<()> {
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(Error::config(format!("{}: two columns are named `{twice}`", self.first))
                .hint("name them with `columns`, or choose some of them with `range`"));
        }
        if let Some(unknown) = self.config.types.keys().find(|name| !seen.contains(name.as_str())) {
            return Err(Error::config(format!("`types` names `{unknown}`, but there is no such column"))
                .hint(format!("the columns are: {}", names.join(", "))));
        }
        Ok(())
    }

    /// Goes on to the next table. False: there is none.
    fn next_table(&mut self) -> Result<bool> {
        loop {
            let Some(open) = &mut self.open else {
                self.open = self.open()?;
                if self.open.is_none() {
                    return Ok(false);
                }
                continue;
            };
            let Some(at) = open.sheets.pop_front() else {
                self.open = None;
                continue;
            };
            // Where nobody had columns yet, there are no rows either.
            let places = self.places.filter(|_| !self.config.header);
            let Some(table) = Table::open(&open.book, at, &self.config, places)? else { continue };
            let names = || self.columns.iter().map(|(name, _)| name.as_str());
            if let Some(found) = table.names.as_ref().filter(|found| !names().eq(found.iter().map(String::as_str))) {
                return Err(Error::config(format!(
                    "{}, sheet {}, has the columns {}, but {} has {}",
                    open.book.file().title(),
                    table.sheet,
                    found.join(", "),
                    self.first,
                    names().collect::<Vec<_>>().join(", ")
                ))
                .hint("sheets of one stream have the same header; read the others with a pipeline of their own"));
            }
            open.table = Some(table);
            return Ok(true);
        }
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        while !self.rows.is_full() {
            let Some(Open { book, table: Some(table), .. }) = &mut self.open else {
                if !self.next_table()? {
                    break;
                }
                continue;
            };
            if !table.next(book)? {
                self.cx.check_cancelled()?;
                if let Some(open) = &mut self.open {
                    open.table = None;
                }
                continue;
            }
            self.records += 1;
            self.row()?;
        }
        self.cx.progress(std::mem::take(&mut self.records), 0);
        self.cx.check_cancelled()?;
        if self.rows.is_empty() { Ok(None) } else { self.rows.finish().map(Some) }
    }

    /// Takes the row that was read, or refuses it.
    fn row(&mut self) -> Result<()> {
        let Some(Open { book, table: Some(table), .. }) = &self.open else { return Ok(()) };
        self.scratch.clear();
        match values(&self.columns, book, table, &self.config, self.zone, &mut self.scratch) {
            Ok(values) => {
                let value = |read| match read {
                    Read::Value(value) => value,
                    Read::Appended(place) => Value::Text(&self.scratch[place]),
                };
                let values: Vec<_> = values.into_iter().map(value).collect();
                let text = |value: &Value<'_>| if let Value::Text(text) = value { text.len() } else { 0 };
                if values.iter().map(text).sum::<usize>() > cells::LARGEST_ROW {
                    let (sheet, row, most) = (&table.sheet, table.row.number, cells::LARGEST_ROW >> 20);
                    let why = format!("sheet {sheet}: row {row} has more than {most} MiB of text");
                    return Err(damaged(book.file(), why));
                }
                self.rows.push(&values);
                Ok(())
            }
            Err((code, reason)) => {
                let data = letter::letter(book, table, self.config.sheet.as_ref())?;
                self.cx.reject_bytes(&book.file().name, &data, code, &reason)
            }
        }
    }
}

/// The values of a row, or why there are none: a code and a reason.
fn values<'a>(
    columns: &[(String, ColumnType)],
    book: &'a Book,
    table: &'a Table,
    config: &'a Config,
    zone: Tz,
    scratch: &mut String,
) -> Result<Vec<Read<'a>>, (&'static str, String)> {
    let meanings = meanings(book, config);
    let mut values: Vec<_> = columns.iter().map(|_| Read::Value(Value::Null)).collect();
    for cell in &table.row.cells {
        let Some(seen) = meanings.of(&table.row, cell) else { continue };
        let place = cell.column.checked_sub(table.first).filter(|place| *place < columns.len());
        let Some(place) = place else {
            let mut shown = String::new();
            show(seen, &mut shown);
            if shown.is_empty() {
                continue;
            }
            let reason = format!(
                "{}: {:?} stands outside of the columns; say with `range` where the table is",
                table.place(cell.column),
                shortened(&shown)
            );
            return Err(("outside", reason));
        };
        let (name, kind) = &columns[place];
        values[place] = value::read(seen, *kind, zone, scratch).map_err(|wrong| {
            let mut shown = String::new();
            show(seen, &mut shown);
            let place = table.place(cell.column);
            (wrong.code, format!("{place}: {name}: {:?} {}", shortened(&shown), wrong.reason))
        })?;
    }
    Ok(values)
}

/// Enough of a value to recognise it.
fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}

impl Iterator for Reading {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batch();
        // Who was told to stop says that, and not what was half read.
        batch.map_err(|error| if self.cx.cancelled() { Error::cancelled() } else { error }).transpose()
    }
}
