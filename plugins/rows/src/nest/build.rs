//! Groups of rows to documents.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, Scalar, StructArray, UInt32Array};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow_cast::cast;
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use arrow_select::zip::zip;
use engine_sdk::prelude::*;
use indexmap::IndexMap;

use super::plan::{EachPart, Element, Part};

/// Sets of rows of one batch, one for each value that is to be made.
#[derive(Default)]
pub struct Sets {
    rows: Vec<u32>,
    ends: Vec<usize>,
}

impl Sets {
    /// Sets of rows that stand one behind the other: how many are in each.
    pub fn of_lengths(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut sets = Self::default();
        for length in lengths {
            let from = sets.rows.len() as u32;
            sets.push(from..from + length as u32);
        }
        sets
    }

    /// Adds a set.
    pub fn push(&mut self, rows: impl IntoIterator<Item = u32>) {
        self.rows.extend(rows);
        self.ends.push(self.rows.len());
    }

    /// How many sets there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The rows of each set.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(from, to)| &self.rows[from..*to])
    }

    /// Sorts the rows of every set. Rows that are alike stay in their order.
    pub fn sort(&mut self, keys: &arrow_row::Rows) {
        let mut from = 0;
        for to in &self.ends {
            self.rows[from..*to].sort_by(|left, right| keys.row(*left as usize).cmp(&keys.row(*right as usize)));
            from = *to;
        }
    }
}

/// The rows that documents are made of, and which of their values there are.
pub struct Rows {
    batch: RecordBatch,
    nulls: Vec<Option<NullBuffer>>,
}

impl Rows {
    pub fn new(batch: RecordBatch) -> Self {
        let nulls = batch.columns().iter().map(|column| column.logical_nulls()).collect();
        Self { batch, nulls }
    }

    fn has(&self, column: usize, row: u32) -> bool {
        self.nulls[column].as_ref().is_none_or(|nulls| nulls.is_valid(row as usize))
    }

    /// Whether a set of rows makes an element.
    fn makes(&self, element: &Element, rows: &[u32]) -> bool {
        let columns = &element.columns;
        columns.is_empty() || rows.iter().any(|row| columns.iter().any(|column| self.has(*column, *row)))
    }
}

impl Part {
    /// A value for each set.
    pub fn build(&self, rows: &Rows, sets: &Sets) -> Result<ArrayRef> {
        match self {
            Self::Constant(value) => Ok(take(value, &UInt32Array::from(vec![0; sets.len()]), None)?),
            Self::Column(at, default) => {
                let first = sets.iter().map(|set| set.iter().copied().find(|row| rows.has(*at, *row)));
                let values = take(rows.batch.column(*at), &first.collect::<UInt32Array>(), None)?;
                let Some(default) = default else { return Ok(values) };
                let Some(nulls) = values.logical_nulls() else { return Ok(values) };
                let there = arrow_array::BooleanArray::new(BooleanBuffer::clone(nulls.inner()), None);
                Ok(zip(&there, &values, &Scalar::new(default))?)
            }
            Self::Object(fields, parts) => {
                let columns = parts.iter().map(|part| part.build(rows, sets)).collect::<Result<Vec<_>>>()?;
                Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, None, sets.len())?))
            }
            Self::Each(each) => each.build(rows, sets),
            Self::List(field, elements) => {
                let mut of_elements: Vec<Sets> = elements.iter().map(|_| Sets::default()).collect();
                let (mut places, mut lengths) = (Vec::new(), Vec::with_capacity(sets.len()));
                for set in sets.iter() {
                    let before = places.len();
                    for at in (0..elements.len()).filter(|at| rows.makes(&elements[*at], set)) {
                        places.push((at, of_elements[at].len()));
                        of_elements[at].push(set.iter().copied());
                    }
                    lengths.push(places.len() - before);
                }
                let values = elements.iter().zip(&of_elements).map(|(element, sets)| {
                    let values = element.part.build(rows, sets)?;
                    Ok(if values.data_type() == field.data_type() { values } else { cast(&values, field.data_type())? })
                });
                let values = values.collect::<Result<Vec<_>>>()?;
                let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
                let values = interleave(&values, &places)?;
                let offsets = OffsetBuffer::from_lengths(lengths);
                Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, None)?))
            }
        }
    }
}

impl EachPart {
    fn build(&self, rows: &Rows, sets: &Sets) -> Result<ArrayRef> {
        let mut chosen = Sets::default();
        for set in sets.iter() {
            let present = |row: &u32| self.present.iter().all(|column| rows.has(*column, *row));
            chosen.push(set.iter().copied().filter(present));
        }
        if let Some(order) = &self.order {
            chosen.sort(&order.keys(&rows.batch)?);
        }
        let keys = self.distinct.as_ref().map(|distinct| distinct.of(&rows.batch)).transpose()?;
        let (mut elements, mut lengths) = (Sets::default(), Vec::with_capacity(sets.len()));
        for set in chosen.iter() {
            let before = elements.len();
            match &keys {
                None => {
                    let made = set.chunks(1).filter(|row| rows.makes(&self.element, row)).take(self.limit);
                    made.for_each(|row| elements.push(row.iter().copied()));
                }
                Some(keys) => {
                    let mut groups: IndexMap<&[u8], Vec<u32>> = IndexMap::new();
                    for row in set {
                        groups.entry(keys.row(*row as usize).data()).or_default().push(*row);
                    }
                    let made = groups.into_values().filter(|group| rows.makes(&self.element, group)).take(self.limit);
                    made.for_each(|group| elements.push(group));
                }
            }
            lengths.push(elements.len() - before);
        }
        let values = self.element.part.build(rows, &elements)?;
        Ok(Arc::new(ListArray::try_new(Arc::clone(&self.field), OffsetBuffer::from_lengths(lengths), values, None)?))
    }
}
