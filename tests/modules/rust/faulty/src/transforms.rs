//! A transform that changes nothing, and what can be wrong with one.

use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::BooleanArray;
use arrow_select::filter::filter_record_batch;
use engine_sdk::prelude::*;

/// Breaks nothing.
pub const SOUND: u8 = 0;
/// Panics in `apply` when there is no first batch.
pub const NEEDS_ROWS: u8 = 1;
/// Fails on a batch of one row.
pub const NEEDS_TWO_ROWS: u8 = 2;
/// Fails after 40 batches.
pub const TIRES: u8 = 3;
/// Fails on a column without any value.
pub const NEEDS_VALUES: u8 = 4;
/// Panics on columns of types that it has not heard of.
pub const NEEDS_COMMON_TYPES: u8 = 5;
/// Leaves rows out and tells nobody.
pub const LOSES_ROWS: u8 = 6;
/// Takes an input that broke off for one that ended.
pub const ENDS_QUIETLY: u8 = 7;
/// Repeats its last batch when it is asked to stop.
pub const GOES_ON: u8 = 8;
/// One failed instance makes all others fail.
pub const SHARES_A_FLAG: u8 = 9;
/// Panics when it is closed.
pub const PANICS_IN_CLOSE: u8 = 10;

/// There is nothing to set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// Hands rows on; `FAULT` says what is wrong with it.
pub struct Through<const FAULT: u8>;

static FAILED: AtomicBool = AtomicBool::new(false);

impl<const FAULT: u8> Component for Through<FAULT> {
    type Config = Config;
    const SUMMARY: &'static str = "Hands rows on";

    fn examples() -> Vec<Example> {
        vec![example("nothing to set", json!({}))]
    }

    fn open(_: Config, _: Context) -> Result<Self> {
        if FAULT == SHARES_A_FLAG {
            FAILED.store(false, Ordering::SeqCst);
        }
        Ok(Self)
    }
}

impl<const FAULT: u8> Drop for Through<FAULT> {
    fn drop(&mut self) {
        assert!(FAULT != PANICS_IN_CLOSE, "closing is hard");
    }
}

impl<const FAULT: u8> Transform for Through<FAULT> {
    fn apply(&mut self, mut input: Batches) -> Result<Batches> {
        let schema = input.schema();
        if FAULT == NEEDS_ROWS {
            let first = input.next().expect("there is always a first batch");
            return Ok(Batches::new(schema, std::iter::once(first).chain(input)));
        }
        if FAULT == SHARES_A_FLAG && FAILED.load(Ordering::SeqCst) {
            return Err(Error::internal("another instance has failed before"));
        }
        let (mut given, mut last, mut stopped) = (0, None, false);
        let output = std::iter::from_fn(move || {
            if stopped && FAULT == GOES_ON {
                return last.clone().map(Ok);
            }
            given += 1;
            match input.next()? {
                Ok(batch) => {
                    last = Some(batch.clone());
                    Some(work::<FAULT>(batch, given))
                }
                Err(_) if FAULT == ENDS_QUIETLY => None,
                Err(error) if FAULT == GOES_ON && error.kind == ErrorKind::Cancelled => {
                    stopped = true;
                    last.clone().map(Ok)
                }
                Err(error) => {
                    FAILED.fetch_or(FAULT == SHARES_A_FLAG, Ordering::SeqCst);
                    Some(Err(error))
                }
            }
        });
        Ok(Batches::new(schema, output))
    }
}

fn work<const FAULT: u8>(batch: RecordBatch, given: usize) -> Result<RecordBatch> {
    let fault = |here: bool, what: &str| if here { Err(Error::internal(what)) } else { Ok(()) };
    let without_values = batch.columns().iter().any(|column| column.null_count() == column.len() && !column.is_empty());
    fault(FAULT == NEEDS_TWO_ROWS && batch.num_rows() == 1, "one row is not enough")?;
    fault(FAULT == TIRES && given > 40, "this goes on for too long")?;
    fault(FAULT == NEEDS_VALUES && without_values, "a column has no values")?;
    if FAULT == NEEDS_COMMON_TYPES {
        for field in batch.schema().fields() {
            match field.data_type() {
                DataType::Int64 | DataType::Utf8 | DataType::Float64 | DataType::Boolean => {}
                other => panic!("who uses {other}?"),
            }
        }
    }
    if FAULT == LOSES_ROWS {
        let column = batch.column_by_name("text").ok_or_else(|| Error::config("there is no column `text`"))?;
        let kept = BooleanArray::from_iter((0..column.len()).map(|row| Some(column.is_valid(row))));
        return filter_record_batch(&batch, &kept).map_err(|error| Error::internal(error.to_string()));
    }
    Ok(batch)
}
