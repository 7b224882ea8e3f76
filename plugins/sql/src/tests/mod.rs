//! The transform as the engine calls it.

mod bounds;
mod lookups;
mod refusals;
mod row_by_row;
mod whole;

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray, create_array};
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;

use crate::transform::Sql;

/// Three rows: `id` 1 to 3, `CALLER` in capitals, `amount` with a value missing.
fn calls() -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("id", create_array!(Int64, [1, 2, 3]) as ArrayRef, true),
        ("CALLER", create_array!(Utf8, ["ann", "bob", "ann"]) as _, true),
        ("amount", create_array!(Float64, [Some(1.5), None, Some(-4.0)]) as _, true),
    ])
    .unwrap()
}

/// A column of whole numbers.
fn numbers(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let column = Arc::new(Int64Array::from_iter_values(values)) as ArrayRef;
    RecordBatch::try_from_iter_with_nullable([("n", column, true)]).unwrap()
}

fn stream(batches: Vec<RecordBatch>) -> Batches {
    Batches::new(batches[0].schema(), batches.into_iter().map(Ok))
}

/// Everything that a query gives, as one batch.
fn run_with(host: &Host, config: Value, input: Batches) -> Result<RecordBatch> {
    let mut sql: Sql = host.open(config)?;
    let output = sql.apply(input)?;
    let schema = output.schema();
    let batches = output.collect::<Result<Vec<_>>>()?;
    for batch in &batches {
        assert_eq!(batch.schema(), schema);
    }
    Ok(arrow_select::concat::concat_batches(&schema, &batches)?)
}

fn run(query: &str, input: RecordBatch) -> Result<RecordBatch> {
    run_with(&Host::new(), json!({"query": query}), Batches::once(input))
}

fn names(batch: &RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| field.name().clone()).collect()
}

fn integers(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    batch.column_by_name(name).unwrap().as_any().downcast_ref::<Int64Array>().unwrap().iter().collect()
}

fn floats(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    batch.column_by_name(name).unwrap().as_any().downcast_ref::<Float64Array>().unwrap().iter().collect()
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let column = batch.column_by_name(name).unwrap().as_any().downcast_ref::<StringArray>().unwrap();
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

fn some<const N: usize>(values: [i64; N]) -> Vec<Option<i64>> {
    values.map(Some).to_vec()
}

fn some_texts<const N: usize>(values: [&str; N]) -> Vec<Option<String>> {
    values.map(|text| Some(text.to_owned())).to_vec()
}
