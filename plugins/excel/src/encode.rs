//! Rows to a workbook.

use std::collections::HashSet;
use std::iter::Peekable;

use arrow_array::Array;
use chrono_tz::Tz;
use engine_sdk::columns::Cells;
use engine_sdk::prelude::*;
use engine_sdk::{file_piece, files_schema};

use crate::cell;
use crate::config::{Config, Total};
use crate::names::Names;
use crate::sheet::{Column, Ended, First, MOST_COLUMNS, Sheet, too_long};
use crate::styles::{GENERAL, Styles};
use crate::workbook;
use crate::zip::Archive;

/// How many bytes make a piece.
const PIECE: usize = 512 << 10;
/// How much XML is made before it is packed: it stays in the processor's cache.
const BLOCK: usize = 64 << 10;
/// As many sheets as anybody finds something in.
const MOST_SHEETS: usize = 1_000;
/// XML of a sheet after which the next one begins. No entry of the archive may have 4 GiB.
const LARGEST_SHEET: u64 = 3 << 30;

pub fn encode(config: &Config, zone: Tz, cx: Context, input: Batches) -> Result<Batches> {
    let schema = input.schema();
    config.written_sheet()?;
    let places = config.chosen(&schema)?;
    if places.len() > MOST_COLUMNS {
        return Err(Error::config(format!("there are {} columns, and a sheet takes {MOST_COLUMNS}", places.len()))
            .hint("choose some with `columns`"));
    }
    let mut styles = Styles::default();
    let column = |(at, &place): (usize, &usize)| {
        let field = schema.field(place);
        if field.data_type().is_nested() {
            return Err(Error::config(format!(
                "column `{}` is of the type {}, which does not fit into one cell",
                field.name(),
                field.data_type()
            ))
            .hint("choose other columns with `columns`, or turn it into text before"));
        }
        if let Some(total) = config.totals.get(field.name())
            && *total != Total::Count
            && !cell::has_numbers(field.data_type())
        {
            return Err(Error::config(format!(
                "`totals`: column `{}` is of the type {}, whose values are no numbers",
                field.name(),
                field.data_type()
            ))
            .hint("write `count`, or leave the column out of `totals`"));
        }
        let format = config.formats.get(field.name());
        if let Some(format) = format.filter(|_| !cell::has_numbers(field.data_type())) {
            return Err(Error::config(format!(
                "`formats`: `{}` has {format:?}: the column is of the type {}, whose values are neither numbers nor dates",
                field.name(),
                field.data_type()
            ))
            .hint("leave the column out of `formats`, or turn it into a number or date before"));
        }
        let format = format.cloned().or_else(|| cell::format_of(field.data_type())).unwrap_or_else(|| GENERAL.into());
        let mut column = Column::new(at, field.name(), &format, styles.of(format.clone()));
        column.width = config.widths.get(field.name()).copied();
        column.total = config.totals.get(field.name()).copied();
        Ok(column)
    };
    let columns = places.iter().enumerate().map(column).collect::<Result<_>>()?;
    // A source that found nothing may not know what columns there would be.
    let by = config.sheets_by.as_ref().filter(|_| !schema.fields().is_empty()).map(|name| {
        schema.index_of(name).map_err(|_| {
            Error::config(format!("`sheets_by`: there is no column `{name}`"))
                .hint("name one of the columns that come to the sink")
        })
    });
    let mut archive = Archive::default();
    archive.add("_rels/.rels", workbook::PACKAGE)?;
    let writing = Writing {
        by: by.transpose()?.map(|place| By { place, value: None, seen: HashSet::new() }),
        config: config.clone(),
        zone,
        input: input.peekable(),
        cx,
        places,
        columns,
        styles,
        archive,
        xml: Vec::with_capacity(2 * BLOCK),
        names: Names::default(),
        sheet: None,
        ended: Vec::new(),
        is_over: false,
    };
    Ok(Batches::new(files_schema(), writing))
}

struct Writing {
    config: Config,
    zone: Tz,
    /// The next rows are known, so that the last ones are.
    input: Peekable<Batches>,
    cx: Context,
    /// Of the columns, in the rows that come.
    places: Vec<usize>,
    columns: Vec<Column>,
    styles: Styles,
    archive: Archive,
    /// What is not yet in the archive.
    xml: Vec<u8>,
    names: Names,
    sheet: Option<Sheet>,
    ended: Vec<Ended>,
    by: Option<By>,
    is_over: bool,
}

/// The column that says which sheet a row goes to.
struct By {
    place: usize,
    /// That of the rows that come now. Those without a value are told from those with an empty text.
    value: Option<Option<String>>,
    seen: HashSet<Option<String>>,
}

impl By {
    /// Whether a row belongs to the next sheet.
    fn turns(&mut self, cells: &Cells, row: usize) -> Result<bool> {
        let value = value(cells, row);
        if self.value.as_ref() == Some(&value) {
            return Ok(false);
        }
        if !self.seen.insert(value.clone()) {
            let rows = value.map_or("the rows without a value".into(), |value| format!("the rows of {value:?}"));
            return Err(Error::config(format!("`sheets_by`: {rows} do not come together"))
                .hint("sort the rows by this column, with ORDER BY in the query"));
        }
        self.value = Some(value);
        Ok(true)
    }

    /// Where the rows end that have the value of one of them.
    fn end(cells: &Cells, row: usize, rows: usize) -> usize {
        let of_row = value(cells, row);
        (row + 1..rows).find(|next| value(cells, *next) != of_row).unwrap_or(rows)
    }
}

fn value(cells: &Cells, row: usize) -> Option<String> {
    if cells.is_null(row) {
        return None;
    }
    let mut value = Vec::new();
    cells.write(row, b' ', &mut value);
    Some(String::from_utf8_lossy(&value).into_owned())
}

impl Writing {
    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        while !self.is_over && self.archive.out().len() < PIECE {
            self.cx.check_cancelled()?;
            match self.input.next().transpose()? {
                Some(batch) => self.batch(&batch)?,
                None => self.finish()?,
            }
        }
        if self.archive.out().is_empty() {
            return Ok(None);
        }
        let piece = file_piece("", self.archive.out());
        self.archive.clear();
        Ok(Some(piece))
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = self.places.iter().map(|place| Cells::new(batch.column(*place)));
        let cells = cells.collect::<Result<Vec<_>>>()?;
        let by = self.by.as_ref().map(|by| Cells::new(batch.column(by.place))).transpose()?;
        // Base64 is longer than what it stands for.
        let may_be_long = batch.columns().iter().any(|it| it.get_buffer_memory_size() > crate::text::LONGEST / 4 * 3);
        for row in 0..batch.num_rows() {
            if may_be_long && let Some((column, length)) = too_long(&self.columns, &cells, row) {
                let reason = format!("column `{column}` has {length} characters, and a cell takes 32767");
                self.cx.reject_rows(&batch.slice(row, 1), "too_long", &reason)?;
                continue;
            }
            let turns = match (&mut self.by, &by) {
                (Some(by), Some(cells)) => by.turns(cells, row)?,
                _ => false,
            };
            let is_full =
                self.sheet.as_ref().is_some_and(|it| !it.has_room() || self.archive.written() > LARGEST_SHEET);
            if turns || is_full || self.sheet.is_none() {
                let to = by.as_ref().map_or(batch.num_rows(), |by| By::end(by, row, batch.num_rows()));
                let are_all = to < batch.num_rows() || self.input.peek().is_none();
                self.begin(&First { cells: &cells, from: row, to, are_all })?;
            }
            if let Some(sheet) = &mut self.sheet {
                sheet.row(&self.columns, &cells, row, self.zone, &mut self.xml);
            }
            if self.xml.len() >= BLOCK {
                self.archive.write(&self.xml)?;
                self.xml.clear();
            }
        }
        Ok(())
    }

    /// The next sheet, whose first rows are these.
    fn begin(&mut self, first: &First<'_>) -> Result<()> {
        self.end()?;
        let wanted = self
            .by
            .as_ref()
            .and_then(|by| by.value.as_ref())
            .map_or_else(|| self.config.written_sheet(), |value| Ok(value.as_deref().unwrap_or_default()))?;
        let number = self.ended.len() + 1;
        if number > MOST_SHEETS {
            return Err(Error::config(format!("there would be more than {MOST_SHEETS} sheets"))
                .hint("choose a column with fewer values for `sheets_by`, or write several workbooks"));
        }
        let name = self.names.take(wanted);
        self.archive.begin(workbook::sheet(number));
        let header = self.config.header;
        self.sheet = Some(Sheet::begin(name, &self.columns, header, number == 1, first, self.zone, &mut self.xml));
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some(sheet) = self.sheet.take() {
            let ended = sheet.end(&self.columns, self.config.autofilter, &mut self.xml);
            for (column, count) in &ended.left_out {
                let values = if *count == 1 {
                    "1 value that stands as a text".to_owned()
                } else {
                    format!("{count} values that stand as texts")
                };
                self.cx
                    .log(Level::Warn, format!("sheet `{}`: the total of `{column}` leaves out {values}", ended.name));
            }
            self.ended.push(ended);
            self.archive.write(&self.xml)?;
            self.xml.clear();
            self.archive.end()?;
        }
        Ok(())
    }

    /// What stands behind the last sheet.
    fn finish(&mut self) -> Result<()> {
        // A workbook has a sheet, also where there are no rows.
        if self.sheet.is_none() {
            self.begin(&First { cells: &[], from: 0, to: 0, are_all: true })?;
        }
        self.end()?;
        for (name, part) in workbook::parts(&self.ended, &self.styles, false) {
            self.archive.add(name, &part)?;
        }
        self.archive.finish()?;
        self.is_over = true;
        Ok(())
    }
}

impl Iterator for Writing {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}
