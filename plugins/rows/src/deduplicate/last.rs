//! The last row of each key: nothing can go on before all have come.

use std::collections::HashMap;

use arrow_array::BooleanArray;
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use engine_sdk::prelude::*;

use super::KEY_BYTES;
use crate::held::{Budget, compact};
use crate::keys::Keys;

/// Batches of which little is left are put together to about so many rows.
const MERGED_ROWS: usize = 4096;

/// The rows of a stream without those whose key comes again, in their order.
pub fn stream(input: Batches, keys: Keys, budget: Budget, cx: Context) -> Batches {
    let schema = input.schema();
    // The values of two dictionaries may be too many for one.
    let mergeable = schema.fields().iter().all(|it| {
        !it.data_type().is_nested() && !matches!(it.data_type(), DataType::Dictionary(..) | DataType::RunEndEncoded(..))
    });
    let mut input = Some((input, Last { keys, budget, mergeable, batches: Vec::new(), places: HashMap::new() }));
    let mut left = Vec::new().into_iter();
    Batches::new(
        schema,
        std::iter::from_fn(move || {
            if let Some((input, last)) = input.take() {
                match last.read(input, &cx) {
                    Ok(batches) => left = batches.into_iter(),
                    Err(error) => return Some(Err(error)),
                }
            }
            let next: Held = left.next()?;
            Some(cx.check_cancelled().and_then(|()| next.alive()))
        }),
    )
}

struct Last {
    keys: Keys,
    budget: Budget,
    /// Whether batches can be put together.
    mergeable: bool,
    batches: Vec<Held>,
    /// Where the last row of each key is: its batch, and its row there.
    places: HashMap<Box<[u8]>, (usize, usize)>,
}

/// A batch and which of its rows are still the last of their key.
struct Held {
    batch: RecordBatch,
    bytes: usize,
    alive: Vec<bool>,
    dead: usize,
}

impl Held {
    fn new(batch: &RecordBatch) -> Result<Self> {
        let (batch, bytes) = compact(batch)?;
        Ok(Self { bytes, alive: vec![true; batch.num_rows()], dead: 0, batch })
    }

    /// One batch of several, of which there is one at least.
    fn merge(batches: &[RecordBatch]) -> Result<Self> {
        match batches {
            [one] => Self::new(one),
            _ => Self::new(&concat_batches(&batches[0].schema(), batches)?),
        }
    }

    fn cost(&self) -> usize {
        self.bytes + self.alive.len() + size_of::<Self>()
    }

    fn alive(&self) -> Result<RecordBatch> {
        if self.dead == 0 {
            return Ok(self.batch.clone());
        }
        Ok(filter_record_batch(&self.batch, &BooleanArray::from(self.alive.clone()))?)
    }
}

impl Last {
    fn read(mut self, input: Batches, cx: &Context) -> Result<Vec<Held>> {
        for batch in input {
            cx.check_cancelled()?;
            let dropped = self.add(&batch?)?;
            if dropped > 0 {
                cx.filtered(dropped);
            }
            if self.budget.is_exceeded() {
                self.forget_the_dead()?;
                self.budget.require()?;
            }
        }
        self.batches.retain(|held| held.dead < held.alive.len());
        Ok(self.batches)
    }

    /// Takes a batch in, and answers how many rows are no longer the last of their key.
    fn add(&mut self, batch: &RecordBatch) -> Result<u64> {
        let keys = self.keys.of(batch)?;
        let (at, held) = (self.batches.len(), Held::new(batch)?);
        self.budget.add(held.cost());
        self.batches.push(held);
        let mut dropped = 0;
        for (row, key) in keys.iter().enumerate() {
            if let Some(place) = self.places.get_mut(key.data()) {
                let (batch, before) = std::mem::replace(place, (at, row));
                self.batches[batch].alive[before] = false;
                self.batches[batch].dead += 1;
                dropped += 1;
            } else {
                self.places.insert(key.data().into(), (at, row));
                self.budget.add(key.data().len() + KEY_BYTES);
            }
        }
        Ok(dropped)
    }

    /// Lets rows go that are no longer the last of their key, where they are so many that it is worth the copying.
    fn forget_the_dead(&mut self) -> Result<()> {
        let (rows, dead) = self.batches.iter().fold((0, 0), |(rows, dead), it| (rows + it.alive.len(), dead + it.dead));
        if dead * 4 < rows {
            return Ok(());
        }
        // For each batch, where each of its living rows is afterwards.
        let mut moved: Vec<Vec<(usize, usize)>> = Vec::with_capacity(self.batches.len());
        let (mut merged, mut pending, mut pending_rows) = (Vec::new(), Vec::new(), 0);
        for held in std::mem::take(&mut self.batches) {
            self.budget.remove(held.cost());
            let mut row = pending_rows;
            let places = held.alive.iter().map(|alive| {
                let place = (merged.len(), row);
                row += usize::from(*alive);
                place
            });
            moved.push(places.collect());
            pending.push(held.alive()?);
            pending_rows = row;
            if pending_rows >= MERGED_ROWS || !self.mergeable {
                merged.push(Held::merge(&std::mem::take(&mut pending))?);
                pending_rows = 0;
            }
        }
        if !pending.is_empty() {
            merged.push(Held::merge(&pending)?);
        }
        merged.iter().for_each(|held| self.budget.add(held.cost()));
        self.batches = merged;
        for (batch, row) in self.places.values_mut() {
            (*batch, *row) = moved[*batch][*row];
        }
        Ok(())
    }
}
