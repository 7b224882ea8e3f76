//! One file for each value of a column: rows of one value become a file of their own.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::SchemaRef;
use engine_abi::stream::Batches;
use engine_abi::{Error, Result};
use engine_host::{Direction, Instance};
use engine_spec::{Burst, TemplateVariables, render_burst};

use crate::upstream::files;

/// The most files of one delivery: their values are remembered.
const MOST: usize = 100_000;
/// What a missing value is called.
const NONE: &str = "none";

/// Encodes the rows of each value as a file. It is called `VALUE/FILENAME`: sinks take the last part for its name,
/// and can tell by the first whom it is for.
pub(crate) fn encode(
    input: Batches,
    burst: &Burst,
    encoder: Instance,
    variables: &TemplateVariables,
) -> Result<Batches> {
    let schema = input.schema();
    let column = schema.index_of(&burst.by).map_err(|_| {
        let have: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        Error::config(format!("there is no column `{}`, which `burst` goes by", burst.by))
            .hint(format!("there are {}", have.join(", ")))
    })?;
    let rows = Rows { input, column, waiting: None, seen: HashSet::new() };
    let (burst, variables) = (burst.clone(), variables.clone());
    let mut work = Encoding {
        rows: Arc::new(Mutex::new(rows)),
        schema,
        encoder,
        open: None,
        name: move |value: &str| Ok(format!("{}/{}", folder(value), render_burst(&burst, value, &variables)?)),
    };
    let mut failed = false;
    let pieces = std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let piece = work.piece().transpose();
        failed = matches!(piece, Some(Err(_)));
        piece
    });
    Ok(Batches::new(files::schema(), pieces))
}

/// A value as the first part of a name: one part.
fn folder(value: &str) -> String {
    value.replace(['/', '\\'], "_")
}

/// Rows, of which those of one value are given at a time.
struct Rows {
    input: Batches,
    column: usize,
    /// Rows that were read, and belong to the next value or the one after it.
    waiting: Option<(String, RecordBatch)>,
    seen: HashSet<String>,
}

impl Rows {
    /// The value that comes next; none at the end.
    fn next_value(&mut self) -> Result<Option<String>> {
        self.fill()?;
        let Some((value, _)) = &self.waiting else { return Ok(None) };
        if self.seen.len() >= MOST {
            return Err(Error::config(format!("`burst` makes more than {MOST} files")).hint("go by another column"));
        }
        if !self.seen.insert(value.clone()) {
            return Err(Error::config(format!("the rows of {value:?} do not come together, and `burst` goes by them"))
                .hint("sort by the column: `ORDER BY` it first"));
        }
        Ok(Some(value.clone()))
    }

    /// Rows of that value; none when the next ones are of another.
    fn of(&mut self, value: &str) -> Result<Option<RecordBatch>> {
        self.fill()?;
        let Some((_, batch)) = self.waiting.take_if(|(next, _)| next == value) else { return Ok(None) };
        let column = batch.column(self.column);
        let options = FormatOptions::default();
        let values = formatter(column, &options)?;
        let same = |row: usize| Ok::<_, Error>(text(column, &values, row)? == value);
        let mut end = 1;
        while end < batch.num_rows() && same(end)? {
            end += 1;
        }
        if end < batch.num_rows() {
            let next = text(column, &values, end)?;
            self.waiting = Some((next, batch.slice(end, batch.num_rows() - end)));
        }
        Ok(Some(batch.slice(0, end)))
    }

    fn fill(&mut self) -> Result<()> {
        while self.waiting.is_none() {
            let Some(batch) = self.input.next().transpose()? else { return Ok(()) };
            if batch.num_rows() > 0 {
                let column = batch.column(self.column);
                let options = FormatOptions::default();
                let value = text(column, &formatter(column, &options)?, 0)?;
                self.waiting = Some((value, batch));
            }
        }
        Ok(())
    }
}

fn formatter<'a>(column: &'a dyn arrow_array::Array, options: &FormatOptions<'a>) -> Result<ArrayFormatter<'a>> {
    ArrayFormatter::try_new(column, options).map_err(|error| {
        Error::config(format!("`burst` cannot go by values of that type: {error}")).hint("make them text")
    })
}

fn text(column: &dyn arrow_array::Array, values: &ArrayFormatter<'_>, row: usize) -> Result<String> {
    if column.is_null(row) {
        return Ok(NONE.to_owned());
    }
    let shown = values.value(row).try_to_string();
    shown.map_err(|error| Error::internal(format!("a value of `burst` cannot be shown: {error}")))
}

struct Encoding<N> {
    rows: Arc<Mutex<Rows>>,
    schema: SchemaRef,
    encoder: Instance,
    /// The file of the present value, and its name.
    open: Option<(String, Batches)>,
    name: N,
}

impl<N: Fn(&str) -> Result<String>> Encoding<N> {
    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some((name, file)) = &mut self.open {
                match file.next().transpose()? {
                    Some(piece) => return renamed(&piece, name).map(Some),
                    // An instance has one stream at a time.
                    None => self.open = None,
                }
            }
            let Some(value) = lock(&self.rows).next_value()? else { return Ok(None) };
            let name = (self.name)(&value)?;
            let rows = Arc::clone(&self.rows);
            let of = std::iter::from_fn(move || lock(&rows).of(&value).transpose());
            let file = self.encoder.apply(Direction::Encode, Batches::new(Arc::clone(&self.schema), of))?;
            self.open = Some((name, file));
        }
    }
}

fn lock(rows: &Mutex<Rows>) -> MutexGuard<'_, Rows> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A piece of a file under another name.
fn renamed(piece: &RecordBatch, name: &str) -> Result<RecordBatch> {
    let mut pieces = files::Pieces::default();
    let data = piece.columns().get(1).and_then(|data| data.as_binary_opt::<i32>());
    let data = data.ok_or_else(|| Error::internal("an encoder gives the columns `name` and `data`"))?;
    data.iter().flatten().for_each(|data| pieces.push(name, data));
    Ok(pieces.finish())
}
