//! The formats, through their modules.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use engine_abi::message::{OpenRequest, Sandbox};
use engine_abi::stream::Batches;
use engine_abi::{ComponentKind, Error, Result};
use engine_host::{Arrival, Direction, Host, Level, Modules, Rejection};
use serde_json::{Value, json};

use crate::{BLOCK, calls, require};

/// The engine's side of an instance.
#[derive(Default)]
struct Counting {
    records: AtomicU64,
}

impl Host for Counting {
    fn log(&self, _level: Level, _message: &str) {}

    fn cancelled(&self) -> bool {
        false
    }

    fn deadline(&self) -> Option<Duration> {
        None
    }

    fn progress(&self, records: u64, _bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    fn filtered(&self, _rows: u64) {}

    fn reject(&self, rejection: Rejection) -> Result<()> {
        Err(Error::internal(format!("a row was refused: {}", rejection.reason)))
    }

    fn receipt(&self, _part: Value) -> Result<()> {
        Ok(())
    }

    fn remember(&self, _: Value) -> Result<()> {
        Ok(())
    }

    fn append(&self, _arrival: Arrival<'_>) -> Result<u64> {
        Err(Error::internal("a format receives nothing"))
    }

    fn durable(&self, _sequence: u64) -> Result<()> {
        Ok(())
    }
}

/// Sends batches through a format and hands each that comes out to `take`. The module is the one that
/// was built beside this program.
fn pass(
    format: &str,
    config: Value,
    direction: Direction,
    input: Batches,
    mut take: impl FnMut(&RecordBatch),
) -> Result<()> {
    let program = std::env::current_exe()?;
    let mut modules = Modules::discover(&[], None);
    modules.add_bundled(program.parent().unwrap_or(&program));
    let component = modules.component(ComponentKind::Format, format)?;
    let request = OpenRequest { config, ..OpenRequest::default() };
    let mut instance = component.open(&request, &Sandbox::default(), Arc::new(Counting::default()))?;
    for batch in instance.apply(direction, input)? {
        take(&batch?);
    }
    Ok(())
}

fn repeated(batch: RecordBatch, times: usize) -> impl Iterator<Item = Result<RecordBatch>> {
    std::iter::repeat_n(batch, times).map(Ok)
}

fn piece(data: &[u8]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("name", DataType::Utf8, false), //
        Field::new("data", DataType::Binary, false),
    ]);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(vec!["calls"])), Arc::new(BinaryArray::from_vec(vec![data]))];
    RecordBatch::try_new(Arc::new(schema), columns).expect("two columns of one row")
}

pub fn decode_avaya_cdr(blocks: usize) -> Result<()> {
    let lines = piece(calls::lines().concat().as_bytes());
    let mut rows = 0;
    let input = Batches::new(lines.schema(), repeated(lines, blocks));
    pass("avaya_cdr", json!({}), Direction::Decode, input, |batch| rows += batch.num_rows() as u64)?;
    require("rows", rows, blocks * BLOCK)
}

pub fn decode_csv(blocks: usize) -> Result<()> {
    let (header, lines) = (piece(calls::CSV_HEADER.as_bytes()), piece(calls::csv().as_bytes()));
    let mut rows = 0;
    let input = Batches::new(lines.schema(), std::iter::once(Ok(header)).chain(repeated(lines, blocks)));
    let config = json!({"types": {"date": "timestamp", "duration": "integer"}});
    pass("csv", config, Direction::Decode, input, |batch| rows += batch.num_rows() as u64)?;
    require("rows", rows, blocks * BLOCK)
}

pub fn encode_csv(blocks: usize) -> Result<()> {
    let batch = calls::batch();
    let mut bytes = 0;
    let input = Batches::new(batch.schema(), repeated(batch, blocks));
    let count = |batch: &RecordBatch| bytes += batch.column(1).as_binary::<i32>().value_data().len() as u64;
    pass("csv", json!({}), Direction::Encode, input, count)?;
    require("bytes", bytes, calls::CSV_HEADER.len() + blocks * calls::csv().len())
}
