//! With the real drivers for SQLite and PostgreSQL, which `tests/services` provides: a file, and a
//! real server.

mod bare;
mod messages;
mod replace;
mod round_trip;
mod sink;
mod source;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow_array::{ArrayRef, Int64Array, StringArray};
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;

use crate::driver::{Access, Session, Settings};
use crate::name::Quote;
use crate::options::Options;
use crate::sink::AdbcSink;
use crate::source::AdbcSource;
use crate::sql::Draft;

/// A variable that `tests/services` sets.
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `tests/services run --only postgres,adbc -- cargo test -p engine-plugin-adbc`")
    })
}

/// A database of a test's own, gone at its end.
struct Scratch {
    /// `driver`, `database` and `session`.
    config: Value,
    schema: Option<String>,
    session: Option<Session>,
    host: Host,
    folder: tempfile::TempDir,
}

/// One of each: what holds for one driver should hold for the other.
fn both() -> [Scratch; 2] {
    [Scratch::sqlite(), Scratch::postgres()]
}

impl Scratch {
    /// A file of SQLite.
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls.db");
        let config = json!({"driver": setting("ENGINE_TEST_ADBC_SQLITE"), "database": {"uri": file}});
        Self::new(config, None, folder)
    }

    /// A schema of PostgreSQL.
    fn postgres() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let schema = format!("scratch_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let config = |schema: &str| {
            json!({
                "driver": setting("ENGINE_TEST_ADBC_POSTGRES"),
                "database": {"uri": setting("ENGINE_TEST_POSTGRES_URL")},
                "session": {"adbc.connection.db_schema": schema}
            })
        };
        let mut maker = Self::new(config("public"), None, tempfile::tempdir().unwrap());
        maker.sql(&format!("CREATE SCHEMA {schema}"));
        drop(maker);
        Self::new(config(&schema), Some(schema), tempfile::tempdir().unwrap())
    }

    fn new(config: Value, schema: Option<String>, folder: tempfile::TempDir) -> Self {
        Self { config, schema, session: None, host: Host::in_folder(folder.path()), folder }
    }

    fn is_postgres(&self) -> bool {
        self.schema.is_some()
    }

    fn with(&self, more: Value) -> Value {
        let mut config = self.config.clone();
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    fn source(&self, more: Value) -> AdbcSource {
        self.host.open(self.with(more)).unwrap()
    }

    fn sink(&self, more: Value) -> AdbcSink {
        let mut config = json!({"table": "calls"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.host.open(self.with(config)).unwrap()
    }

    /// A connection of the test's own.
    fn session(&mut self) -> &mut Session {
        if self.session.is_none() {
            let options = |name: &str| self.config.get(name).cloned().unwrap_or(json!({}));
            let settings = Settings {
                driver: self.config["driver"].as_str().unwrap().into(),
                entrypoint: None,
                database: serde_json::from_value(options("database")).unwrap(),
                session: serde_json::from_value(options("session")).unwrap(),
                statement: Options::new(),
                quote: Quote::Double,
                placeholders: None,
            };
            let access = Access::new(settings, &self.context()).unwrap();
            self.session = Some(access.connect().unwrap());
        }
        self.session.as_mut().unwrap()
    }

    /// What a component gets from the engine.
    fn context(&self) -> Context {
        struct Bare(Context);

        impl Component for Bare {
            type Config = std::collections::BTreeMap<String, String>;
            const SUMMARY: &'static str = "Keeps what it is opened with";

            fn examples() -> Vec<Example> {
                vec![]
            }

            fn open(_: Self::Config, cx: Context) -> Result<Self> {
                Ok(Self(cx))
            }
        }

        self.host.open::<Bare>(json!({})).unwrap().0
    }

    fn sql(&mut self, sql: &str) {
        let run = self.session().execute_text(sql.to_owned());
        run.map_err(Error::from).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The rows of a query, as `a|b`.
    fn rows(&mut self, sql: &str) -> Vec<String> {
        let rows = self.session().rows(&Draft::text(sql.to_owned(), Quote::Double));
        rows.unwrap_or_else(|error| panic!("{sql}: {error}")).iter().flat_map(texts).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let (Some(schema), false) = (self.schema.clone(), std::thread::panicking()) {
            self.sql(&format!("DROP SCHEMA {schema} CASCADE"));
        }
        // It borrows nothing, but its driver should be done before the folder goes.
        self.session = None;
    }
}

/// Each row of a batch as `a|b`.
fn texts(batch: &RecordBatch) -> Vec<String> {
    let cell = |array: &ArrayRef, row| {
        if array.is_null(row) {
            return "NULL".to_owned();
        }
        crate::value::scalar("c", &array.slice(row, 1)).unwrap().to_string()
    };
    let row = |row| batch.columns().iter().map(|array| cell(array, row)).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

fn delivery(window: u64) -> Delivery {
    split_of(window, "0000")
}

fn split_of(window: u64, split: &str) -> Delivery {
    Delivery {
        key: format!("state/test/adbc/{window}/{split}"),
        state: "state".into(),
        pipeline: "test".into(),
        sink: "adbc".into(),
        window,
        split: split.into(),
        ..Delivery::default()
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

/// Two columns, `id` and `number`.
fn calls<'a>(rows: impl IntoIterator<Item = (i64, Option<&'a str>)>) -> RecordBatch {
    let (ids, numbers): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    batch(vec![("id", Arc::new(Int64Array::from(ids))), ("number", Arc::new(StringArray::from(numbers)))])
}

/// Rows that end in an error.
fn broken(rows: RecordBatch, error: Error) -> Batches {
    Batches::new(rows.schema(), vec![Ok(rows), Err(error)].into_iter())
}

fn deliver(sink: &mut AdbcSink, delivery: &Delivery, rows: RecordBatch) -> Result<Receipt> {
    assert_eq!(sink.begin_split(delivery)?, Begun::New);
    sink.write(delivery, Batches::once(rows))?;
    sink.commit(delivery)
}

/// All rows of one split, in one batch.
fn read_split(source: &mut AdbcSource, split: &Split) -> Result<RecordBatch> {
    let batches = source.read(split)?;
    let schema = batches.schema();
    let batches = batches.collect::<Result<Vec<_>>>()?;
    Ok(arrow_select::concat::concat_batches(&schema, &batches).unwrap())
}

fn read(source: &mut AdbcSource) -> Result<RecordBatch> {
    let plan = source.plan(&PlanRequest::default())?;
    read_split(source, &plan.splits[0])
}
