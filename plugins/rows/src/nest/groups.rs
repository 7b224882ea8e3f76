//! Rows of one key that may stand anywhere in the stream: all are kept until its end.

use arrow_array::RecordBatch;
use arrow_select::interleave::interleave_record_batch;
use engine_sdk::columns::RowBuilder;
use engine_sdk::prelude::*;
use indexmap::IndexMap;

use super::Plan;
use crate::held::{Budget, compact};

/// What a group costs beside the bytes of its key.
const GROUP_BYTES: usize = 128;
/// What a row costs beside its values: its place, in a list that has room to grow.
const ROW_BYTES: usize = 2 * size_of::<Place>();

/// A row: its batch, and its number there.
type Place = (u32, u32);

/// One document for each key, in the order in which keys come first.
pub fn stream(input: Batches, plan: Plan, budget: Budget, cx: Context) -> Batches {
    let schema = SchemaRef::clone(&plan.schema);
    let (mut input, mut batches) = (Some((input, budget)), Vec::new());
    let mut groups = Vec::new().into_iter();
    Batches::new(
        schema,
        std::iter::from_fn(move || {
            if let Some((input, budget)) = input.take() {
                match read(input, &plan, budget, &cx) {
                    Ok((kept, found)) => (batches, groups) = (kept, found.into_iter()),
                    Err(error) => return Some(Err(error)),
                }
            }
            next(&mut groups, &batches, &plan, &cx).transpose()
        }),
    )
}

/// All rows, and which of them make each group.
fn read(input: Batches, plan: &Plan, mut budget: Budget, cx: &Context) -> Result<(Vec<RecordBatch>, Vec<Vec<Place>>)> {
    let mut batches = Vec::new();
    let mut groups: IndexMap<Box<[u8]>, Vec<Place>> = IndexMap::new();
    for batch in input {
        cx.check_cancelled()?;
        let (batch, bytes) = compact(&plan.input.take(&batch?)?)?;
        budget.add(bytes + batch.num_rows() * ROW_BYTES);
        for (row, key) in plan.keys.of(&batch)?.iter().enumerate() {
            let place = (batches.len() as u32, row as u32);
            if let Some(group) = groups.get_mut(key.data()) {
                group.push(place);
            } else {
                budget.add(key.data().len() + GROUP_BYTES);
                groups.insert(key.data().into(), vec![place]);
            }
        }
        budget.require()?;
        batches.push(batch);
    }
    Ok((batches, groups.into_values().collect()))
}

/// The documents of the next groups, which have about as many rows as a batch should have.
fn next(
    groups: &mut std::vec::IntoIter<Vec<Place>>,
    batches: &[RecordBatch],
    plan: &Plan,
    cx: &Context,
) -> Result<Option<RecordBatch>> {
    cx.check_cancelled()?;
    let (mut places, mut lengths) = (Vec::new(), Vec::new());
    while places.len() < RowBuilder::ROWS
        && let Some(group) = groups.next()
    {
        lengths.push(group.len());
        places.extend(group.into_iter().map(|(batch, row)| (batch as usize, row as usize)));
    }
    if lengths.is_empty() {
        return Ok(None);
    }
    let batches: Vec<_> = batches.iter().collect();
    let rows = interleave_record_batch(&batches, &places)?;
    plan.documents(rows, lengths).map(Some)
}
