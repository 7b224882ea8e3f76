//! Against a real server, which `tests/services` starts.

mod numbers;
mod replace;
mod round_trip;
mod sink;
mod source;
mod tls;
mod types;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::sink::PostgresSink;
use crate::source::PostgresSource;

/// A variable that `tests/services` sets.
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `tests/services run -- cargo test -p engine-plugin-postgres`")
    })
}

/// A schema of a test's own, gone at its end.
struct Scratch {
    schema: String,
    runtime: tokio::runtime::Runtime,
    connection: Option<PgConnection>,
}

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let schema = format!("scratch_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(PgConnection::connect(&setting("ENGINE_TEST_POSTGRES_URL"))).unwrap();
        let mut scratch = Self { schema, runtime, connection: Some(connection) };
        scratch.sql(&format!("CREATE SCHEMA {0}; SET search_path = {0}", scratch.schema));
        scratch
    }

    /// An address whose unqualified names are in the schema.
    fn url(&self) -> String {
        format!("{}?options=-csearch_path%3D{}", setting("ENGINE_TEST_POSTGRES_URL"), self.schema)
    }

    fn sql(&mut self, sql: &str) {
        let connection = self.connection.as_mut().unwrap();
        self.runtime.block_on(sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection)).unwrap();
    }

    /// The rows of a query with text columns, as `a|b`.
    fn rows(&mut self, sql: &str) -> Vec<String> {
        let connection = self.connection.as_mut().unwrap();
        let rows = self.runtime.block_on(sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection)).unwrap();
        let text = |row: &sqlx::postgres::PgRow| {
            let column = |at| row.try_get_unchecked::<Option<String>, _>(at).unwrap().unwrap_or_else(|| "NULL".into());
            (0..row.len()).map(column).collect::<Vec<_>>().join("|")
        };
        rows.iter().map(text).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.sql(&format!("DROP SCHEMA {} CASCADE", self.schema));
        }
        let connection = self.connection.take().unwrap();
        let _ = self.runtime.block_on(connection.close());
    }
}

fn delivery(window: u64) -> Delivery {
    Delivery {
        key: format!("state/test/postgres/{window}/0000"),
        state: "state".into(),
        pipeline: "test".into(),
        sink: "postgres".into(),
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
fn deliver(sink: &mut PostgresSink, window: u64, rows: RecordBatch) -> Result<Receipt> {
    let delivery = delivery(window);
    assert_eq!(sink.begin_split(&delivery)?, Begun::New);
    sink.write(&delivery, Batches::once(rows))?;
    sink.commit(&delivery)
}

/// All rows of a source, in one batch.
fn read(source: &mut PostgresSource) -> Result<RecordBatch> {
    let plan = source.plan(&PlanRequest::default())?;
    let batches = source.read(&plan.splits[0])?;
    let schema = batches.schema();
    let batches = batches.collect::<Result<Vec<_>>>()?;
    Ok(arrow_select::concat::concat_batches(&schema, &batches).unwrap())
}

/// An error of `open`, which gives no value that could be printed.
fn refused<T: Component>(host: &Host, config: serde_json::Value) -> Error {
    host.open::<T>(config).err().expect("the configuration is refused")
}
