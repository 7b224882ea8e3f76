//! Reading tables and queries.

use super::*;

fn open(host: &Host, scratch: &Scratch, what: serde_json::Value) -> PostgresSource {
    let mut config = json!({"url": scratch.url()});
    config.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    host.open(config).unwrap()
}

#[test]
fn a_table_is_read_in_the_order_of_its_key_in_batches() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (number text, id bigint PRIMARY KEY)");
    scratch.sql("INSERT INTO calls SELECT 'n' || id, id FROM generate_series(10000, 1, -1) AS id");
    let host = Host::new();
    let mut source = open(&host, &scratch, json!({"table": "calls", "batch": 4000}));
    assert!(source.check().unwrap().summary.contains("table calls with 2 columns"));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    let batches = source.read(&plan.splits[0]).unwrap().collect::<Result<Vec<_>>>().unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [4000, 4000, 2000]);
    let ids = arrow_cast::cast(batches[2].column(1), &DataType::Int64).unwrap();
    let ids: &Int64Array = ids.as_any().downcast_ref().unwrap();
    assert_eq!((ids.value(0), ids.value(1999)), (8001, 10_000));
    assert_eq!(host.records(), 10_000);
}

#[test]
fn a_query_keeps_its_order_its_names_and_the_sizes_of_its_numbers() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id integer, cost numeric(10,2))");
    scratch.sql("INSERT INTO calls VALUES (1, 1.50), (2, 20), (3, NULL)");
    let host = Host::new();
    let query = "SELECT cost, id, id AS \"id\", 1.5 AS free, 'x' AS text FROM calls ORDER BY id DESC; -- done";
    let query = query.replace("; -- done", " -- done");
    let rows = read(&mut open(&host, &scratch, json!({"query": query}))).unwrap();
    let schema = rows.schema();
    let types: Vec<_> =
        schema.fields().iter().map(|field| (field.name().as_str(), field.data_type().clone())).collect();
    assert_eq!(
        types,
        [
            ("cost", DataType::Decimal128(10, 2)),
            ("id", DataType::Int32),
            ("id", DataType::Int32),
            ("free", DataType::Utf8),
            ("text", DataType::Utf8)
        ]
    );
    let shown = arrow_cast::cast(rows.column(0), &DataType::Utf8).unwrap();
    assert_eq!(shown.as_ref(), &StringArray::from(vec![None, Some("20.00"), Some("1.50")]));
}

#[test]
fn values_that_arrow_cannot_hold_become_dead_letters_of_their_rows() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id integer PRIMARY KEY, at timestamp, cost numeric(5,1), day date, seen timestamptz DEFAULT now())");
    scratch.sql("INSERT INTO calls VALUES (1, now(), 1, now()), (2, 'infinity', 2, now()), (3, now(), 'NaN', '-infinity'), (4, NULL, NULL, NULL)");
    let host = Host::new();
    let rows = read(&mut open(&host, &scratch, json!({"table": "calls"}))).unwrap();
    assert_eq!(rows.num_rows(), 2);
    let rejections = host.rejections();
    assert_eq!(rejections.len(), 2);
    assert!(rejections[0].reason.starts_with("at: infinity cannot be held by Timestamp"), "{}", rejections[0].reason);
    let row = rejections[1].rows.clone().unwrap();
    assert_eq!(row.column(2).as_ref(), &StringArray::from(vec!["NaN"]));
    assert_eq!(row.column(0).as_ref(), &StringArray::from(vec!["3"]));
    assert_eq!(host.records(), 4);
}

#[test]
fn what_is_wrong_with_table_or_query_is_found_when_planning() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id integer)");
    let host = Host::new();
    let error = open(&host, &scratch, json!({"table": "call"})).plan(&PlanRequest::default()).unwrap_err();
    assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::Config, Some("did you mean calls?")));
    let error = open(&host, &scratch, json!({"query": "SELEKT 1"})).plan(&PlanRequest::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    for config in [json!({"url": "postgres://x/y"}), json!({"url": "postgres://x/y", "table": "a", "query": "b"})] {
        assert_eq!(refused::<PostgresSource>(&host, config).kind, ErrorKind::Config);
    }
}

#[test]
fn an_error_in_the_middle_of_a_query_ends_the_stream_with_its_kind() {
    let scratch = Scratch::new();
    let host = Host::new();
    let query = "SELECT 1 / (90000 - n) AS x FROM generate_series(1, 100000) AS n";
    let mut source = open(&host, &scratch, json!({"query": query}));
    let error = read(&mut source).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Rejected);
    assert!(error.message.contains("22012"), "{error}");
}

#[test]
fn a_query_that_waits_stops_when_the_engine_wants_to() {
    let scratch = Scratch::new();
    let host = Host::new();
    let mut source = open(&host, &scratch, json!({"query": "SELECT pg_sleep(600)"}));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    let mut rows = source.read(&plan.splits[0]).unwrap();
    host.cancel();
    assert_eq!(rows.next().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    assert!(rows.next().is_none());
}

#[test]
fn an_empty_table_gives_its_columns() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id integer)");
    let host = Host::new();
    let rows = read(&mut open(&host, &scratch, json!({"table": "calls"}))).unwrap();
    assert_eq!((rows.num_rows(), rows.num_columns()), (0, 1));
}
