//! Rows that come sorted by their key: a document is whole when the next key comes.

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_row::{OwnedRow, RowConverter, SortField};
use arrow_schema::SortOptions;
use arrow_select::concat::concat_batches;
use arrow_select::take::take;
use engine_sdk::prelude::*;

use super::Plan;
use crate::held::{Budget, compact};

/// One document for each key, as soon as the next one begins.
pub fn stream(input: Batches, plan: Plan, budget: Budget, cx: Context) -> Batches {
    let schema = SchemaRef::clone(&plan.schema);
    let mut runs = Runs { plan, budget, open: Vec::new(), key: Box::default(), sorting: Sorting::default() };
    let mut input = Some(input);
    Batches::new(
        schema,
        std::iter::from_fn(move || {
            let stream = input.as_mut()?;
            let made = runs.next(stream, &cx).transpose();
            // After an error, or the last document, nothing is asked any more.
            if !matches!(made, Some(Ok(_))) {
                input = None;
            }
            made
        }),
    )
}

struct Runs {
    plan: Plan,
    budget: Budget,
    /// The rows of the document that has begun, and what they cost.
    open: Vec<(RecordBatch, usize)>,
    /// Their key.
    key: Box<[u8]>,
    sorting: Sorting,
}

impl Runs {
    fn next(&mut self, input: &mut Batches, cx: &Context) -> Result<Option<RecordBatch>> {
        loop {
            cx.check_cancelled()?;
            match input.next().transpose()? {
                Some(batch) => {
                    if let Some(documents) = self.add(&batch)? {
                        return Ok(Some(documents));
                    }
                }
                None if self.open.is_empty() => return Ok(None),
                None => {
                    let rows = self.close(None)?;
                    let length = rows.num_rows();
                    return self.plan.documents(rows, [length]).map(Some);
                }
            }
        }
    }

    /// Takes a batch in, and answers with the documents that are whole with it.
    fn add(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let batch = self.plan.input.take(batch)?;
        // Where documents begin.
        let mut begins = Vec::new();
        let keys = self.plan.keys.of(&batch)?;
        let mut before = (!self.open.is_empty()).then_some(&*self.key);
        for (row, key) in keys.iter().enumerate() {
            if before != Some(key.data()) {
                begins.push(row);
                before = Some(key.data());
            }
        }
        if let Some(last) = before {
            self.key = last.into();
        }
        let columns: Vec<_> = self.plan.keys.columns().iter().map(|at| ArrayRef::clone(batch.column(*at))).collect();
        self.sorting.require(&columns, &begins)?;

        let had = self.open.iter().map(|(rows, _)| rows.num_rows()).sum::<usize>();
        let last = match begins.last() {
            None => {
                self.keep(&batch)?;
                return Ok(None);
            }
            Some(last) => *last,
        };
        if had == 0 && last == 0 {
            self.keep(&batch)?;
            return Ok(None);
        }
        let whole = self.close(Some(batch.slice(0, last)))?;
        let mut lengths = Vec::with_capacity(begins.len());
        if had > 0 {
            // The document that was open goes on to the first that begins here.
            lengths.push(had + begins[0]);
        }
        lengths.extend(begins.windows(2).map(|pair| pair[1] - pair[0]));
        self.keep(&batch.slice(last, batch.num_rows() - last))?;
        self.plan.documents(whole, lengths).map(Some)
    }

    fn keep(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() > 0 {
            let (batch, bytes) = compact(batch)?;
            self.budget.add(bytes);
            self.budget.require()?;
            self.open.push((batch, bytes));
        }
        Ok(())
    }

    /// The rows that were kept, and more behind them.
    fn close(&mut self, more: Option<RecordBatch>) -> Result<RecordBatch> {
        let mut batches = Vec::with_capacity(self.open.len() + 1);
        for (batch, bytes) in self.open.drain(..) {
            self.budget.remove(bytes);
            batches.push(batch);
        }
        batches.extend(more);
        Ok(concat_batches(&self.plan.input.schema(), &batches)?)
    }
}

/// The ways in which keys can be sorted, and which of them hold so far.
#[derive(Default)]
struct Sorting {
    ways: Vec<Way>,
    begun: bool,
}

struct Way {
    converter: RowConverter,
    last: OwnedRow,
}

impl Sorting {
    /// Requires the keys in some rows, each another one than that before, to go on as those did that came.
    fn require(&mut self, columns: &[ArrayRef], rows: &[usize]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let rows = UInt32Array::from_iter_values(rows.iter().map(|row| *row as u32));
        let keys = columns.iter().map(|column| take(column, &rows, None)).collect::<Result<Vec<_>, _>>()?;
        let mut from = 0;
        if !self.begun {
            self.begun = true;
            from = 1;
            for (descending, nulls_first) in [(false, false), (false, true), (true, false), (true, true)] {
                let options = SortOptions { descending, nulls_first };
                let fields = keys.iter().map(|key| SortField::new_with_options(key.data_type().clone(), options));
                let converter = RowConverter::new(fields.collect())?;
                let last = converter.convert_columns(&keys)?.row(0).owned();
                self.ways.push(Way { converter, last });
            }
        }
        let mut holding = Vec::with_capacity(self.ways.len());
        for mut way in self.ways.drain(..) {
            let encoded = way.converter.convert_columns(&keys)?;
            let keys = std::iter::once(way.last.row()).chain((from..encoded.num_rows()).map(|row| encoded.row(row)));
            if keys.is_sorted() {
                way.last = encoded.row(encoded.num_rows() - 1).owned();
                holding.push(way);
            }
        }
        self.ways = holding;
        if self.ways.is_empty() {
            return Err(Error::config("with `sorted: true` the rows must come sorted by `key`, and they do not").hint(
                "sort them by the columns of `key`, all upwards or all downwards, texts by their bytes (in SQL \
                    mostly a binary collation), or leave `sorted` away",
            ));
        }
        Ok(())
    }
}
