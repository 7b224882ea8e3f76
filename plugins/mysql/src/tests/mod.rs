//! Against a real server, which `tests/services` starts.

mod replace;
mod round_trip;
mod sink;
mod source;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Row, Value};

use crate::sink::MysqlSink;
use crate::source::MysqlSource;

/// A variable that `tests/services` sets.
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `tests/services run --only mariadb -- cargo test -p engine-plugin-mysql`")
    })
}

/// A database of a test's own, gone at its end.
struct Scratch {
    database: String,
    runtime: tokio::runtime::Runtime,
    connection: Option<Conn>,
}

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let database = format!("scratch_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = Opts::from_url(&setting("ENGINE_TEST_MYSQL_URL")).unwrap();
        let connection = runtime.block_on(Conn::new(options)).unwrap();
        let mut scratch = Self { database, runtime, connection: Some(connection) };
        scratch.sql(&format!(
            "CREATE DATABASE {0} CHARACTER SET utf8mb4; USE {0}; SET time_zone = '+00:00'",
            scratch.database
        ));
        scratch
    }

    /// An address whose unqualified names are in the database.
    fn url(&self) -> String {
        setting("ENGINE_TEST_MYSQL_URL").replace("/engine_test", &format!("/{}", self.database))
    }

    fn sql(&mut self, sql: &str) {
        let connection = self.connection.as_mut().unwrap();
        self.runtime.block_on(connection.query_drop(sql)).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The rows of a query, as `a|b`.
    fn rows(&mut self, sql: &str) -> Vec<String> {
        let connection = self.connection.as_mut().unwrap();
        let rows: Vec<Row> =
            self.runtime.block_on(connection.query(sql)).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let text = |value: Value| match value {
            Value::NULL => "NULL".to_owned(),
            Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => other.as_sql(true),
        };
        rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect::<Vec<_>>().join("|")).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.sql(&format!("DROP DATABASE {}", self.database));
        }
        let connection = self.connection.take().unwrap();
        let _ = self.runtime.block_on(connection.disconnect());
    }
}

fn delivery(window: u64) -> Delivery {
    Delivery {
        key: format!("state/test/mysql/{window}/0000"),
        state: "state".into(),
        pipeline: "test".into(),
        sink: "mysql".into(),
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
fn deliver(sink: &mut MysqlSink, window: u64, rows: RecordBatch) -> Result<Receipt> {
    let delivery = delivery(window);
    assert_eq!(sink.begin_split(&delivery)?, Begun::New);
    sink.write(&delivery, Batches::once(rows))?;
    sink.commit(&delivery)
}

/// All rows of one split, in one batch.
fn read_split(source: &mut MysqlSource, split: &Split) -> Result<RecordBatch> {
    let batches = source.read(split)?;
    let schema = batches.schema();
    let batches = batches.collect::<Result<Vec<_>>>()?;
    Ok(arrow_select::concat::concat_batches(&schema, &batches).unwrap())
}

/// All rows of a source, in one batch.
fn read(source: &mut MysqlSource) -> Result<RecordBatch> {
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

fn source(host: &Host, scratch: &Scratch, more: serde_json::Value) -> MysqlSource {
    let mut config = json!({"url": scratch.url()});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.open(config).unwrap()
}

fn sink(host: &Host, scratch: &Scratch, more: serde_json::Value) -> MysqlSink {
    let mut config = json!({"url": scratch.url(), "table": "calls"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.open(config).unwrap()
}

/// An error of `open`, which gives no value that could be printed.
fn refused<T: Component>(host: &Host, config: serde_json::Value) -> Error {
    host.open::<T>(config).err().expect("the configuration is refused")
}
