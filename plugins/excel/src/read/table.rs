//! A table of a sheet: where it begins, how its columns are called, its rows.

use engine_sdk::prelude::*;

use super::book::{Book, damaged};
use super::cells::{Cells, Content, Row};
use super::value::{Guess, Meanings, show};
use crate::area::{ALL, Area};
use crate::config::Config;
use crate::sheet::{MOST_COLUMNS, letters};

/// A table that is being read.
pub struct Table {
    cells: Cells,
    /// Where it may stand.
    area: Area,
    /// Its columns, from 0, the last one included.
    pub first: usize,
    pub last: usize,
    /// The names in its header, or those that are given.
    pub names: Option<Vec<String>>,
    /// The row with the names.
    pub header: Option<Row>,
    /// As messages call it.
    pub sheet: String,
    /// The row that was read last.
    pub row: Row,
}

impl Table {
    /// Begins to read a sheet. None: there is nothing in it. `columns`: where they are, if it is known.
    pub fn open(book: &Book, at: usize, config: &Config, columns: Option<(usize, usize)>) -> Result<Option<Self>> {
        let area = config.range.unwrap_or(ALL);
        let mut table = Self {
            cells: book.cells(at)?,
            area,
            first: area.first_column,
            last: area.last_column.unwrap_or(MOST_COLUMNS - 1),
            names: None,
            header: None,
            sheet: book.sheets[at].name.clone(),
            row: Row::default(),
        };
        if config.header {
            if !table.next(book)? {
                return Ok(None);
            }
            table.learn_names(book, config)?;
        } else if let Some((first, last)) = columns {
            (table.first, table.last) = (first, last);
        } else if !config.columns.is_empty() {
            let last = table.first + config.columns.len() - 1;
            if last > table.last {
                return Err(Error::config(format!(
                    "`columns` names {} columns, and `range` has {}",
                    config.columns.len(),
                    table.last - table.first + 1
                ))
                .hint("name as many as there are in `range`"));
            }
            table.last = last;
            table.names = Some(config.columns.clone());
        } else if area.last_column.is_some() {
            table.names = Some((table.first..=table.last).map(letters).collect());
        }
        Ok(Some(table))
    }

    /// Takes the names of the columns from the row that was read.
    fn learn_names(&mut self, book: &Book, config: &Config) -> Result<()> {
        let meanings = meanings(book, config);
        let mut cells: Vec<(usize, String)> = Vec::new();
        for cell in &self.row.cells {
            let mut name = String::new();
            if let Some(seen) = meanings.of(&self.row, cell) {
                show(seen, &mut name);
            }
            if !name.trim().is_empty() {
                cells.push((cell.column, name));
            }
        }
        if self.area.last_column.is_none() {
            let places = || cells.iter().map(|(column, _)| *column);
            let (Some(first), Some(last)) = (places().min(), places().max()) else {
                return Err(self.wrong(book, "has no names").hint("say with `range` where the table begins"));
            };
            (self.first, self.last) = (first, last);
        }
        let mut names: Vec<String> = (self.first..=self.last).map(letters).collect();
        for (column, name) in cells {
            names[column - self.first] = name;
        }
        let expected = config.columns.len();
        if expected > 0 && names.len() != expected {
            return Err(self
                .wrong(book, &format!("names {} columns, but `columns` names {expected}", names.len()))
                .hint(format!("the header has: {}", names.join(", "))));
        }
        self.names = Some(if expected > 0 { config.columns.clone() } else { names });
        self.header = Some(std::mem::take(&mut self.row));
        Ok(())
    }

    /// What is wrong with the header.
    fn wrong(&self, book: &Book, why: &str) -> Error {
        let title = book.file().title();
        Error::config(format!("{title}, sheet {}: row {}, the header, {why}", self.sheet, self.row.number))
    }

    /// Reads the next row with a value. False: there is none.
    pub fn next(&mut self, book: &Book) -> Result<bool> {
        loop {
            let is_there = self
                .cells
                .next(&mut self.row)
                .map_err(|why| damaged(book.file(), format!("sheet {}: {why}", self.sheet)))?;
            if !is_there || self.row.number > self.area.last_row {
                return Ok(false);
            }
            if self.row.number < self.area.first_row {
                continue;
            }
            let area = self.area;
            self.row.cells.retain(|cell| area.has_column(cell.column));
            if !self.row.cells.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Looks at all cells that are left, to learn the types of columns.
    pub fn learn(&mut self, book: &Book, config: &Config, guesses: &mut Vec<Option<Guess>>) -> Result<()> {
        let meanings = meanings(book, config);
        // Most texts are shared, and an empty one says nothing.
        let is_empty = |number: usize| book.strings.get(number).is_none_or(str::is_empty);
        while self.next(book)? {
            for cell in &self.row.cells {
                if !(self.first..=self.last).contains(&cell.column) {
                    continue;
                }
                let place = cell.column - self.first;
                if guesses.len() <= place {
                    guesses.resize(place + 1, None);
                }
                let guess = guesses[place].get_or_insert_default();
                if guess.is_text() || matches!(cell.content, Content::Shared(number) if is_empty(number)) {
                    continue;
                }
                if let Some(seen) = meanings.of(&self.row, cell) {
                    guess.add(seen);
                }
            }
        }
        Ok(())
    }

    /// As messages call a cell of a column.
    pub fn place(&self, column: usize) -> String {
        format!("sheet {}, cell {}{}", self.sheet, letters(column), self.row.number)
    }
}

/// What it takes to tell what cells of a workbook mean.
pub fn meanings<'a>(book: &'a Book, config: &'a Config) -> Meanings<'a> {
    Meanings { strings: &book.strings, looks: &book.looks, from_1904: book.from_1904, nulls: &config.nulls }
}
