//! Deliveries that do not end well, and settings that do not fit.

use arrow_array::Time64MicrosecondArray;

use super::*;

const FIFTY: &str = "CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50))";

#[test]
fn a_connection_that_the_server_ends_costs_the_delivery_and_not_its_rows() {
    let server = StandIn::new();
    server.sql(FIFTY);
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    sink.begin_split(&delivery(1)).unwrap();
    sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    server.cut();
    assert_eq!(sink.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
    deliver(&mut sink, 1, calls([(1, None)])).unwrap();
    assert_eq!(server.rows("SELECT id FROM calls"), ["1"]);
}

#[test]
fn a_delivery_whose_input_breaks_off_or_that_is_told_to_stop_leaves_nothing() {
    let server = StandIn::new();
    server.sql(FIFTY);
    let host = Host::new();
    let mut first = sink(&host, &server, json!({}));
    first.begin_split(&delivery(1)).unwrap();
    let rows = calls((0..20_000).map(|id| (id, Some("a"))));
    let schema = rows.schema();
    let broken = vec![Ok(rows.clone()), Err(Error::unavailable("the input breaks off"))];
    let error = first.write(&delivery(1), Batches::new(schema.clone(), broken.into_iter())).unwrap_err();
    assert!(error.message.contains("breaks off"), "{error}");
    assert_eq!(server.rows("SELECT count(*) FROM calls"), ["0"]);
    deliver(&mut first, 1, calls([(1, None)])).unwrap();
    first.begin_split(&delivery(2)).unwrap();
    host.cancel();
    let stopped = first.write(&delivery(2), Batches::once(rows)).unwrap_err();
    assert_eq!(stopped.kind, ErrorKind::Cancelled);
    assert_eq!(server.rows("SELECT * FROM calls"), ["1|NULL"]);
}

#[test]
fn a_lock_that_somebody_holds_is_unavailable_and_the_rows_come_again() {
    let server = StandIn::with(|settings| settings.patience = std::time::Duration::ZERO);
    server.sql(FIFTY);
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    deliver(&mut sink, 1, calls([(1, None)])).unwrap();
    let somebody = server.somebody_else();
    let error = deliver(&mut sink, 2, calls([(2, None)])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.hint.unwrap().contains("tried again"));
    drop(somebody);
    assert_eq!(host.rejections(), []);
    deliver(&mut sink, 2, calls([(2, None)])).unwrap();
    assert_eq!(server.rows("SELECT id FROM calls ORDER BY id"), ["1", "2"]);
}

#[test]
fn a_login_without_a_right_learns_which_one() {
    let server = StandIn::new();
    server.sql(FIFTY);
    let host = Host::new();
    let summary = sink(&host, &server, json!({})).check().unwrap().summary;
    assert!(summary.starts_with("SQL Server 16.0.1000.6 at 127.0.0.1:"), "{summary}");
    assert!(summary.ends_with("/calls, table calls found"), "{summary}");
    server.deny("UPDATE");
    sink(&host, &server, json!({})).check().unwrap();
    let error = sink(&host, &server, json!({"mode": "upsert", "key": ["id"]})).check().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(error.message.contains("right to UPDATE in table calls"), "{error}");
    assert!(error.hint.unwrap().starts_with("GRANT SELECT, INSERT, UPDATE ON [dbo].[calls]"));
    server.deny("DELETE");
    assert_eq!(sink(&host, &server, json!({"mode": "replace"})).check().unwrap_err().kind, ErrorKind::Denied);
}

#[test]
fn columns_that_do_not_fit_the_table_are_told_before_a_row_is_written() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint, number varchar(9), need int NOT NULL, twice int AS (id * 2))");
    let host = Host::new();
    let refusal = |rows: RecordBatch| {
        let mut sink = sink(&host, &server, json!({}));
        let error = deliver(&mut sink, 1, rows).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        format!("{error} {}", error.hint.clone().unwrap_or_default())
    };
    let int = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    assert!(refusal(calls([(1, None)])).contains("no column `need`"));
    assert!(refusal(batch(vec![("need", int()), ("twice", int())])).contains("computed by the table"));
    let near = refusal(batch(vec![("need", int()), ("nmuber", int())]));
    assert!(near.contains("no column `nmuber`") && near.contains("did you mean number?"), "{near}");
    let time = Arc::new(Time64MicrosecondArray::from(vec![1])) as ArrayRef;
    assert!(refusal(batch(vec![("need", time)])).contains("Time64"));
    let error = deliver(&mut sink(&host, &server, json!({"table": "cals"})), 1, calls([])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("no table `cals`") && error.hint.unwrap().contains("did you mean calls?"));
}

#[test]
fn a_table_that_will_be_made_passes_the_check_and_a_missing_one_does_not() {
    let server = StandIn::new();
    let host = Host::new();
    let summary = sink(&host, &server, json!({"create": true})).check().unwrap().summary;
    assert!(summary.ends_with("table calls will be created"), "{summary}");
    assert_eq!(sink(&host, &server, json!({})).check().unwrap_err().kind, ErrorKind::Config);
    for wrong in
        [json!({"table": "a.b.c"}), json!({"table": "t", "mode": "upsert"}), json!({"table": "t", "key": ["id"]})]
    {
        let config = extended(json!({"url": server.url()}), wrong);
        assert_eq!(refused::<SqlServerSink>(&host, config).kind, ErrorKind::Config);
    }
}

#[test]
fn a_stream_without_columns_is_delivered_as_nothing() {
    let server = StandIn::new();
    server.sql(FIFTY);
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    let empty = Arc::new(Schema::empty());
    sink.begin_split(&delivery(1)).unwrap();
    sink.write(&delivery(1), Batches::new(empty, std::iter::empty())).unwrap();
    assert_eq!(sink.commit(&delivery(1)).unwrap().rows, 0);
    assert!(matches!(sink.begin_split(&delivery(1)).unwrap(), Begun::Committed { .. }));
}
