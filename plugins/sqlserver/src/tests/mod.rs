//! Against a stand-in that speaks TDS, and no real server: see [`server`].

mod codec;
mod connect;
mod deliveries;
mod replace;
mod round_trip;
mod server;
mod sink;
mod source;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;

use crate::sink::SqlServerSink;
use crate::source::SqlServerSource;
use server::StandIn;

fn delivery(window: u64) -> Delivery {
    Delivery {
        key: format!("state/test/sqlserver/{window}/0000"),
        state: "state".into(),
        pipeline: "test".into(),
        sink: "sqlserver".into(),
        window,
        split: "0000".into(),
        ..Delivery::default()
    }
}

/// Two columns, `id` and `number`.
fn calls<'a>(rows: impl IntoIterator<Item = (i64, Option<&'a str>)>) -> RecordBatch {
    let (ids, numbers): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    batch(vec![("id", Arc::new(Int64Array::from(ids))), ("number", Arc::new(StringArray::from(numbers)))])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Writes and commits one delivery.
fn deliver(sink: &mut SqlServerSink, window: u64, rows: RecordBatch) -> Result<Receipt> {
    let delivery = delivery(window);
    assert_eq!(sink.begin_split(&delivery)?, Begun::New);
    sink.write(&delivery, Batches::once(rows))?;
    sink.commit(&delivery)
}

/// All rows of one split, in one batch.
fn read_split(source: &mut SqlServerSource, split: &Split) -> Result<RecordBatch> {
    let batches = source.read(split)?;
    let schema = batches.schema();
    let batches = batches.collect::<Result<Vec<_>>>()?;
    Ok(arrow_select::concat::concat_batches(&schema, &batches).unwrap())
}

/// All rows of a source, in one batch.
fn read(source: &mut SqlServerSource) -> Result<RecordBatch> {
    let plan = source.plan(&PlanRequest::default())?;
    read_split(source, &plan.splits[0])
}

/// A column as text.
fn texts(rows: &RecordBatch, name: &str) -> Vec<String> {
    let mut array = rows.column_by_name(name).unwrap().clone();
    let mut zone = "";
    // Arrow shows no moment in a zone that it would have to look up.
    if let DataType::Timestamp(unit, Some(_)) = array.data_type() {
        array = arrow_cast::cast(&array, &DataType::Timestamp(*unit, None)).unwrap();
        zone = "Z";
    }
    let shown = |row| arrow_cast::display::array_value_to_string(&array, row).unwrap() + zone;
    (0..rows.num_rows()).map(|row| if array.is_null(row) { "NULL".into() } else { shown(row) }).collect()
}

fn extended(mut config: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn source(host: &Host, server: &StandIn, more: serde_json::Value) -> SqlServerSource {
    host.open(extended(json!({"url": server.url()}), more)).unwrap()
}

fn sink(host: &Host, server: &StandIn, more: serde_json::Value) -> SqlServerSink {
    host.open(extended(json!({"url": server.url(), "table": "calls"}), more)).unwrap()
}

/// An error of `open`, which gives no value that could be printed.
fn refused<T: Component>(host: &Host, config: serde_json::Value) -> Error {
    host.open::<T>(config).err().expect("the configuration is refused")
}
