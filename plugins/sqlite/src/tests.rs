//! Sink and source, with real files.

mod cursors;
mod refusals;
mod replace;

use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array, Int64Array,
    RecordBatch, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow_buffer::i256;
use engine_sdk::prelude::*;
use engine_sdk::testing::Host;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rusqlite::Connection;

use crate::sink::SqliteSink;
use crate::source::SqliteSource;

/// Printed by a failing test; change it to look elsewhere.
const SEED: [u8; 32] = [7; 32];

/// A folder with a file `calls.db`, made by some SQL, and a host beside it.
struct Scratch {
    folder: tempfile::TempDir,
    host: Host,
}

impl Scratch {
    fn new(sql: &str) -> Self {
        let scratch = Self::without_file();
        Connection::open(scratch.file()).unwrap().execute_batch(sql).unwrap();
        scratch
    }

    fn without_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::in_folder(folder.path());
        Self { folder, host }
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("calls.db")
    }

    fn sink(&self, more: serde_json::Value) -> SqliteSink {
        let mut config = json!({"path": "calls.db", "table": "calls"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.host.open(config).unwrap()
    }

    fn source(&self, more: serde_json::Value) -> SqliteSource {
        let mut config = json!({"path": "calls.db"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.host.open(config).unwrap()
    }

    fn sql(&self, sql: &str) {
        Connection::open(self.file()).unwrap().execute_batch(sql).unwrap();
    }

    /// The rows of a query, as `a|b`.
    fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.file(), sql)
    }
}

fn rows(file: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(file).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let count = statement.column_count();
    let text = |row: &rusqlite::Row<'_>| {
        let column = |at| match row.get_ref(at).unwrap() {
            rusqlite::types::ValueRef::Null => "NULL".to_owned(),
            value => crate::kind::text_of(value).unwrap_or("a blob".into()).into_owned(),
        };
        Ok((0..count).map(column).collect::<Vec<_>>().join("|"))
    };
    statement.query_map([], text).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

fn delivery(window: u64) -> Delivery {
    Delivery {
        key: format!("state/test/sqlite/{window}/0000"),
        state: "state".into(),
        pipeline: "test".into(),
        sink: "sqlite".into(),
        window,
        split: "0000".into(),
        ..Delivery::default()
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn calls<'a>(rows: impl IntoIterator<Item = (i64, Option<&'a str>)>) -> RecordBatch {
    let (ids, numbers): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    batch(vec![("id", Arc::new(Int64Array::from(ids))), ("number", Arc::new(StringArray::from(numbers)))])
}

fn deliver(sink: &mut SqliteSink, window: u64, rows: RecordBatch) -> Result<Receipt> {
    let delivery = delivery(window);
    assert_eq!(sink.begin_split(&delivery)?, Begun::New);
    sink.write(&delivery, Batches::once(rows))?;
    sink.commit(&delivery)
}

fn read(source: &mut SqliteSource) -> Result<RecordBatch> {
    let plan = source.plan(&PlanRequest::default())?;
    let batches = source.read(&plan.splits[0])?;
    let schema = batches.schema();
    let batches = batches.collect::<Result<Vec<_>>>()?;
    Ok(arrow_select::concat::concat_batches(&schema, &batches).unwrap())
}

#[test]
fn rows_land_by_column_name_and_the_others_get_their_defaults() {
    let scratch = Scratch::new(
        "CREATE TABLE calls (row INTEGER PRIMARY KEY NOT NULL, number TEXT, ID INTEGER, note DEFAULT 'none')",
    );
    let mut sink = scratch.sink(json!({}));
    assert_eq!(deliver(&mut sink, 1, calls([(7, Some("2432")), (8, None)])).unwrap().rows, 2);
    assert_eq!(scratch.rows("SELECT * FROM calls"), ["1|2432|7|none", "2|NULL|8|none"]);
}

#[test]
fn a_row_that_the_table_refuses_does_not_cost_its_neighbours() {
    let scratch =
        Scratch::new("CREATE TABLE calls (id INTEGER PRIMARY KEY, number TEXT NOT NULL CHECK (number <> 'bad'))");
    let mut sink = scratch.sink(json!({}));
    let mut rows: Vec<(i64, Option<&str>)> = (0..1000).map(|id| (id, Some("fine"))).collect();
    rows[100].1 = Some("bad");
    rows[500].1 = None;
    rows.push((700, Some("second")));
    assert_eq!(deliver(&mut sink, 1, calls(rows)).unwrap().rows, 998);
    assert_eq!(scratch.rows("SELECT count(*), count(DISTINCT number) FROM calls"), ["998|1"]);
    let rejections = scratch.host.rejections();
    assert_eq!(rejections.len(), 3);
    assert_eq!(rejections[2].rows, Some(calls([(700, Some("second"))])));
    assert!(rejections[0].reason.contains("CHECK"), "{}", rejections[0].reason);
}

#[test]
fn values_that_sqlite_would_change_in_silence_are_refused() {
    let scratch = Scratch::without_file();
    let mut sink = scratch.sink(json!({"create": true}));
    let rows = batch(vec![
        ("big", Arc::new(UInt64Array::from(vec![1, u64::MAX, 3, 4])) as ArrayRef),
        ("real", Arc::new(Float64Array::from(vec![1.0, 2.0, f64::NAN, 4.0]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![0, 0, 0, i64::MAX]))),
    ]);
    assert_eq!(deliver(&mut sink, 1, rows).unwrap().rows, 1);
    let codes: Vec<_> = scratch.host.rejections().into_iter().map(|rejected| rejected.code).collect();
    assert_eq!(codes, ["out_of_range", "not_a_number", "out_of_range"]);
}

#[test]
fn a_delivery_is_committed_once_whatever_is_asked_twice() {
    let scratch = Scratch::without_file();
    let mut sink = scratch.sink(json!({"create": true}));
    let receipt = deliver(&mut sink, 1, calls([(1, None)])).unwrap();
    assert_eq!(sink.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt: receipt.clone() });
    drop(sink);
    let mut again = scratch.sink(json!({}));
    assert_eq!(again.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt });
    assert_eq!(again.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
    // Somebody who did not ask is stopped by the key.
    again.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    assert_eq!(again.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn nothing_is_left_of_a_delivery_that_is_aborted_or_whose_engine_went_away() {
    let scratch = Scratch::new("CREATE TABLE calls (id INTEGER, number TEXT)");
    let mut sink = scratch.sink(json!({}));
    sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    sink.abort(&delivery(1)).unwrap();
    sink.abort(&delivery(1)).unwrap();
    sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    drop(sink);
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["0"]);
    let mut sink = scratch.sink(json!({}));
    deliver(&mut sink, 1, calls([(1, None)])).unwrap();
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn keys_of_settled_windows_are_forgotten() {
    let scratch = Scratch::without_file();
    let mut sink = scratch.sink(json!({"create": true}));
    deliver(&mut sink, 1, calls([(1, None)])).unwrap();
    let last = Delivery { settled_before: 2, ..delivery(2) };
    sink.write(&last, Batches::once(calls([(2, None)]))).unwrap();
    sink.commit(&last).unwrap();
    assert_eq!(scratch.rows("SELECT win FROM _engine_commits"), ["2"]);
}

#[test]
fn upsert_replaces_rows_by_key_and_the_last_of_a_key_stays() {
    let scratch = Scratch::without_file();
    let mut sink = scratch.sink(json!({"create": true, "mode": "upsert", "key": ["id"]}));
    deliver(&mut sink, 1, calls([(1, Some("old"))])).unwrap();
    let rows = calls([(1, Some("first")), (2, Some("b")), (1, Some("last"))]);
    assert_eq!(deliver(&mut sink, 2, rows).unwrap().rows, 3);
    assert_eq!(scratch.rows("SELECT * FROM calls ORDER BY id"), ["1|last", "2|b"]);
}

#[test]
fn a_missing_table_is_made_by_a_statement_once() {
    let scratch = Scratch::without_file();
    let ddl =
        "CREATE TABLE calls (row INTEGER PRIMARY KEY, id INTEGER, number TEXT); CREATE INDEX numbers ON calls (number)";
    for window in 1..3 {
        let mut sink = scratch.sink(json!({"create": {"ddl": ddl}}));
        sink.check().unwrap();
        deliver(&mut sink, window, calls([(1, None)])).unwrap();
    }
    assert_eq!(scratch.rows("SELECT row FROM calls"), ["1", "2"]);
    assert_eq!(scratch.rows("PRAGMA journal_mode"), ["wal"]);
}

#[test]
fn names_with_quotes_keywords_and_other_letters_are_just_names() {
    let scratch = Scratch::without_file();
    let rows = batch(vec![
        ("select", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("it's \"quoted\"", Arc::new(StringArray::from(vec!["'); DROP TABLE x; --"]))),
        ("größe 数", Arc::new(StringArray::from(vec!["ß"]))),
    ]);
    let table = "or\"der.by";
    let config = json!({"table": table, "create": true, "mode": "upsert", "key": ["it's \"quoted\""]});
    deliver(&mut scratch.sink(config), 1, rows.clone()).unwrap();
    assert_eq!(read(&mut scratch.source(json!({"table": table}))).unwrap(), rows);
}

#[test]
fn a_stream_that_does_not_fit_the_table_is_told_what_would() {
    let scratch = Scratch::new("CREATE TABLE calls (ident INTEGER NOT NULL, number TEXT)");
    let error = deliver(&mut scratch.sink(json!({})), 1, calls([(1, None)])).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Config, "table calls has no column `id`"));
    let rows = batch(vec![("number", Arc::new(StringArray::from(vec!["1"])) as ArrayRef)]);
    let error = deliver(&mut scratch.sink(json!({})), 1, rows).unwrap_err();
    assert!(error.message.contains("no column `ident`"), "{error}");
    let error = deliver(&mut scratch.sink(json!({"table": "cals"})), 1, calls([(1, None)])).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean calls?"));
}

#[test]
fn a_file_that_is_missing_wrong_or_held_is_told_apart() {
    let scratch = Scratch::without_file();
    assert_eq!(scratch.source(json!({"table": "calls"})).check().unwrap_err().kind, ErrorKind::Config);
    assert_eq!(scratch.sink(json!({})).check().unwrap_err().kind, ErrorKind::Config);
    std::fs::write(scratch.file(), "no database, but long enough to be looked at as if it were one").unwrap();
    assert_eq!(scratch.sink(json!({})).check().unwrap_err().kind, ErrorKind::Config);
    std::fs::remove_file(scratch.file()).unwrap();

    let holder = Connection::open(scratch.file()).unwrap();
    holder.execute_batch("CREATE TABLE calls (id INTEGER, number TEXT); BEGIN IMMEDIATE").unwrap();
    let mut sink = scratch.sink(json!({"busy_timeout": "1ms"}));
    assert_eq!(deliver(&mut sink, 1, calls([(1, None)])).unwrap_err().kind, ErrorKind::Unavailable);
}

#[test]
fn a_table_is_read_in_the_order_of_its_rows_in_batches() {
    let scratch = Scratch::new(
        "CREATE TABLE calls (number TEXT, id INTEGER PRIMARY KEY); CREATE INDEX cover ON calls (number, id);
         WITH RECURSIVE n (id) AS (SELECT 1000 UNION ALL SELECT id - 1 FROM n WHERE id > 1)
         INSERT INTO calls SELECT 'n' || (id % 7), id FROM n",
    );
    let mut source = scratch.source(json!({"table": "calls", "batch": 400}));
    assert!(source.check().unwrap().summary.contains("2 columns"));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    let batches = source.read(&plan.splits[0]).unwrap().collect::<Result<Vec<_>>>().unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [400, 400, 200]);
    assert_eq!(batches[2].column(1).as_ref(), &Int64Array::from_iter_values(801..=1000));
    assert_eq!(scratch.host.records(), 1000);
}

#[test]
fn a_key_cuts_what_is_read_and_every_row_is_in_one_split() {
    let scratch = Scratch::new(
        "CREATE TABLE calls (id INTEGER, number TEXT);
         WITH n (x) AS (VALUES (-5) UNION ALL SELECT x + 1 FROM n WHERE x < 94) INSERT INTO calls SELECT x, 'n' FROM n;
         INSERT INTO calls VALUES (NULL, 'none'), ('text', 'bad')",
    );
    let plan = |more: Value| {
        let mut source = scratch.source(more);
        let plan = source.plan(&PlanRequest::default()).unwrap();
        let counts: Vec<usize> = plan
            .splits
            .iter()
            .map(|split| source.read(split).unwrap().map(|batch| batch.unwrap().num_rows()).sum())
            .collect();
        counts
    };
    // The row that is no number is a dead letter of its split.
    assert_eq!(plan(json!({"table": "calls", "key": "id"})), [26, 25, 25, 25]);
    assert_eq!(plan(json!({"query": "SELECT * FROM calls WHERE id < 10", "key": "id", "splits": 3})), [5, 5, 5]);
    assert_eq!(plan(json!({"table": "calls", "key": "number"})).len(), 1, "no whole numbers");
    assert_eq!(plan(json!({"query": "SELECT id FROM calls WHERE id = 7", "key": "id"})), [1]);
    let cursor = json!({"table": "calls", "key": "id", "splits": 2, "cursor": {"column": "id", "start": 90}});
    assert_eq!(plan(cursor).into_iter().sum::<usize>(), 5);
    let wrong = scratch.host.open::<SqliteSource>(json!({"path": "calls.db", "table": "calls", "key": "idd"}));
    let error = wrong.unwrap().plan(&PlanRequest::default()).unwrap_err();
    assert!(error.message.contains("`key`") && error.hint.unwrap().contains("id"), "{}", error.message);
}

#[test]
fn a_query_without_declared_types_is_typed_by_its_values() {
    let scratch = Scratch::new(
        "CREATE TABLE calls (id INTEGER, cost DECIMAL(6,2)); INSERT INTO calls VALUES (1, '1.50'), (2, 3), (3, 0.1)",
    );
    let query = "SELECT count(*) AS n, avg(id) AS mean, max('x') AS text, NULL AS none FROM calls -- all";
    let rows = read(&mut scratch.source(json!({"query": query}))).unwrap();
    let types: Vec<_> = rows.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Int64, DataType::Float64, DataType::Utf8, DataType::Utf8]);
    let costs = read(&mut scratch.source(json!({"query": "SELECT cost FROM calls ORDER BY id"}))).unwrap();
    let expected = Decimal128Array::from(vec![150, 300, 10]).with_precision_and_scale(6, 2).unwrap();
    assert_eq!(costs.column(0).as_ref(), &expected);
}

#[test]
fn a_value_of_another_type_makes_its_row_a_dead_letter() {
    let scratch = Scratch::new(
        "CREATE TABLE calls (id INTEGER, at TIMESTAMP);
        INSERT INTO calls VALUES (1, '2025-09-17 15:44:08'), ('many', '2025-09-17'), (3, 'soon'), (4, NULL)",
    );
    let rows = read(&mut scratch.source(json!({"table": "calls"}))).unwrap();
    assert_eq!(rows.column(0).as_ref(), &Int64Array::from(vec![1, 4]));
    let rejections = scratch.host.rejections();
    assert_eq!(rejections[0].reason, "id: many (Text) is not a Int64");
    let kept = rejections[1].rows.clone().unwrap();
    assert_eq!(kept.column(1).as_ref(), &StringArray::from(vec!["soon"]));
    assert_eq!((rejections.len(), scratch.host.records()), (2, 4));
}

#[test]
fn only_queries_that_read_are_taken() {
    let scratch = Scratch::new("CREATE TABLE calls (id INTEGER)");
    for query in ["DELETE FROM calls", "INSERT INTO calls VALUES (1) RETURNING id", "SELEKT", ""] {
        let error = scratch.source(json!({"query": query})).plan(&PlanRequest::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{query}: {error}");
    }
}

#[test]
fn a_query_that_takes_forever_stops_when_the_engine_wants_to() {
    let scratch = Scratch::new("CREATE TABLE calls (id INTEGER); INSERT INTO calls VALUES (1)");
    // The column is a declared one, so that nothing is run before `read` returns.
    let query = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) \
        SELECT id FROM calls WHERE (SELECT count(*) FROM n) = 0";
    let mut source = scratch.source(json!({"query": query}));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    let mut rows = source.read(&plan.splits[0]).unwrap();
    scratch.host.cancel();
    assert_eq!(rows.next().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    assert!(rows.next().is_none());
}

#[test]
fn a_query_that_takes_longer_than_it_may_is_stopped_wherever_it_runs() {
    let scratch = Scratch::new("CREATE TABLE calls (id INTEGER); INSERT INTO calls VALUES (1)");
    let endless =
        "(SELECT count(*) FROM (WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n))";
    let timeout = json!({"timeout": "100ms"});
    let source = |more: Value| {
        let mut config = timeout.clone();
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        scratch.source(config)
    };
    let late =
        |error: Error| assert!(error.kind == ErrorKind::Unavailable && error.message.contains("100ms"), "{error}");
    // While rows are read.
    let mut reading = source(json!({"query": format!("SELECT id FROM calls WHERE {endless} = 0")}));
    let plan = reading.plan(&PlanRequest::default()).unwrap();
    late(reading.read(&plan.splits[0]).unwrap().next().unwrap().unwrap_err());
    // While the types of a result are found out.
    let mut typing = source(json!({"query": format!("SELECT {endless} AS id FROM calls")}));
    let plan = typing.plan(&PlanRequest::default()).unwrap();
    late(typing.read(&plan.splits[0]).unwrap_err());
    // While the window is looked for.
    let query = format!("SELECT id FROM calls WHERE {endless} = 0");
    late(source(json!({"query": query, "cursor": {"column": "id"}})).plan(&PlanRequest::default()).unwrap_err());
}

fn cells<T: std::fmt::Debug + 'static>(value: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Vec<Option<T>>> {
    prop::collection::vec(prop::option::weighted(0.8, value), 70).boxed()
}

fn column<T, A>(name: &'static str, cells: BoxedStrategy<Vec<Option<T>>>) -> BoxedStrategy<(&'static str, ArrayRef)>
where
    T: std::fmt::Debug + 'static,
    A: From<Vec<Option<T>>> + Array + 'static,
{
    cells.prop_map(move |cells| (name, Arc::new(A::from(cells)) as ArrayRef)).boxed()
}

#[test]
fn every_type_comes_back_as_it_went() {
    println!("seed {SEED:?}");
    let moment = -62_135_596_800_000_000i64..253_402_300_800_000_000;
    let most = 10i128.pow(38) - 1;
    let columns =
        vec![
            column::<_, BooleanArray>("bool", cells(any::<bool>())),
            column::<_, Int64Array>("integer", cells(any::<i64>())),
            column::<_, Float64Array>(
                "real",
                cells(prop::num::f64::ANY.prop_filter("SQLite has no NaN and one zero", |x| {
                    !x.is_nan() && x.to_bits() != (-0.0f64).to_bits()
                })),
            ),
            cells(any::<String>()).prop_map(|cells| ("text", Arc::new(StringArray::from(cells)) as ArrayRef)).boxed(),
            cells(prop::collection::vec(any::<u8>(), 0..20))
                .prop_map(|cells| ("blob", Arc::new(BinaryArray::from_iter(cells)) as ArrayRef))
                .boxed(),
            cells(-most..=most)
                .prop_map(|cells| {
                    let array = Decimal128Array::from(cells).with_precision_and_scale(38, 10).unwrap();
                    ("decimal", Arc::new(array) as ArrayRef)
                })
                .boxed(),
            cells((any::<[u8; 32]>(), 1..=76u32).prop_map(|(bytes, digits)| {
                // Of every length up to 76 digits.
                i256::from_be_bytes(bytes).checked_rem(i256::from_i128(10).checked_pow(digits).unwrap()).unwrap()
            }))
            .prop_map(|cells| {
                let array = Decimal256Array::from(cells).with_precision_and_scale(76, 37).unwrap();
                ("long", Arc::new(array) as ArrayRef)
            })
            .boxed(),
            column::<_, Date32Array>("day", cells(-700_000..2_900_000)),
            column::<_, Time64MicrosecondArray>("time", cells(0..86_400_000_000i64)),
            column::<_, TimestampMicrosecondArray>("moment", cells(moment.clone())),
            cells(moment)
                .prop_map(|cells| {
                    let array = TimestampMicrosecondArray::from(cells).with_timezone("UTC");
                    ("instant", Arc::new(array) as ArrayRef)
                })
                .boxed(),
        ];
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    runner
        .run(&columns.prop_map(batch), |rows| {
            let scratch = Scratch::without_file();
            let mut sink = scratch.sink(json!({"create": true}));
            prop_assert_eq!(deliver(&mut sink, 1, rows.clone()).unwrap().rows, rows.num_rows() as u64);
            let back = read(&mut scratch.source(json!({"table": "calls"}))).unwrap();
            prop_assert_eq!(back.schema(), rows.schema());
            for (left, right) in back.columns().iter().zip(rows.columns()) {
                prop_assert_eq!(left, right);
            }
            prop_assert_eq!(scratch.host.rejections(), vec![]);
            Ok(())
        })
        .unwrap();
}
