//! Deliveries, refused rows, keys, tables.

use arrow_array::{BinaryArray, Float64Array, TimestampMicrosecondArray};

use super::*;

const FIFTY: &str = "CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50))";

#[test]
fn rows_land_by_column_name_and_the_others_get_their_defaults() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (serial int IDENTITY PRIMARY KEY, number varchar(50), id int, note nvarchar(50) DEFAULT 'none')");
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    let receipt = deliver(&mut sink, 1, calls([(7, Some("2432")), (8, None)])).unwrap();
    assert_eq!(receipt.rows, 2);
    assert_eq!(
        server.rows("SELECT serial, number, id, note FROM calls ORDER BY serial"),
        ["1|2432|7|none", "2|NULL|8|none"]
    );
}

#[test]
fn a_text_too_long_for_its_column_does_not_cost_its_neighbours() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number nvarchar(50))");
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    // Two units of UTF-16 each.
    let (fits, long) = ("😀".repeat(25), "😀".repeat(25) + "x");
    let rows = calls([(1, Some("a")), (2, Some(long.as_str())), (3, Some(fits.as_str())), (4, Some("nul\0"))]);
    assert_eq!(deliver(&mut sink, 1, rows).unwrap().rows, 3);
    assert_eq!(server.rows("SELECT id FROM calls ORDER BY id"), ["1", "3", "4"]);
    let rejections = host.rejections();
    assert_eq!(rejections.len(), 1);
    assert_eq!(rejections[0].code, "too_long");
    assert_eq!(rejections[0].reason, "number: 51 characters do not fit nvarchar(50)");
    assert_eq!(rejections[0].rows, Some(calls([(2, Some(long.as_str()))])));
}

#[test]
fn a_text_that_the_code_page_has_no_place_for_is_refused_and_not_stored_as_question_marks() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint, number varchar(5))");
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    let rows =
        calls([(1, Some("€ÿ")), (2, Some("日本")), (3, Some("äöüßé")), (4, Some("äöüßéx")), (5, Some("plain  "))]);
    assert_eq!(deliver(&mut sink, 1, rows).unwrap().rows, 3);
    let reasons: Vec<_> = host.rejections().into_iter().map(|rejected| rejected.reason).collect();
    assert_eq!(reasons, ["number: code page 1252 of varchar(5) has no `日`", "number: 6 bytes do not fit varchar(5)"]);
    assert_eq!(server.rows("SELECT number FROM calls WHERE id < 4"), ["€ÿ", "äöüßé"]);
}

#[test]
fn rows_that_only_the_server_can_refuse_are_found_by_halving() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50) CHECK (number <> 'bad'))");
    server.sql("INSERT INTO calls VALUES (500, 'there before')");
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    // Id 500 is there, 700 comes twice, and row 900 breaks the check.
    let mut rows: Vec<(i64, Option<&str>)> = (0..1000).map(|id| (id, Some("fine"))).collect();
    rows.push((700, Some("second")));
    rows[900].1 = Some("bad");
    assert_eq!(deliver(&mut sink, 1, calls(rows)).unwrap().rows, 998);
    assert_eq!(server.rows("SELECT count(*) FROM calls"), ["999"]);
    assert_eq!(server.rows("SELECT number FROM calls WHERE id IN (500, 700) ORDER BY id"), ["there before", "fine"]);
    let rejections = host.rejections();
    let found: Vec<_> = rejections.iter().map(|rejected| rejected.code.as_str()).collect();
    assert_eq!(found, ["duplicate", "constraint", "duplicate"]);
    assert_eq!(rejections[2].rows, Some(calls([(700, Some("second"))])));
    // They waited at the server: nothing was sent a second time.
    let loads = server.statements().iter().filter(|sql| sql.starts_with("INSERT BULK")).count();
    assert_eq!(loads, 1);
}

#[test]
fn each_way_in_which_a_row_can_be_refused_leaves_its_neighbours() {
    let server = StandIn::new();
    server.sql("CREATE TABLE parent (id bigint PRIMARY KEY); INSERT INTO parent VALUES (0), (1), (2), (3)");
    let host = Host::new();
    for (number, (column, good, bad, code)) in [
        ("int", "3", "1.6", "no_such_value"),
        ("int", "3", "", "no_such_value"),
        ("int", "3", "12 apples", "no_such_value"),
        // What looks like a value and is none, which only the server knows.
        ("int", "3", "99999999999", "no_such_value"),
        ("bit", "true", "2", "no_such_value"),
        ("date", "2026-01-31", "2026-01-31 10:00:00", "no_such_value"),
        ("date", "2026-01-31", "2026-02-30", "no_such_value"),
        ("datetime", "2026-01-31 10:00:00", "1752-12-31 00:00:00", "no_such_value"),
        ("datetime2(3)", "2026-01-31 10:00", "2026-13-01 00:00:00", "no_such_value"),
        ("datetimeoffset(3)", "2026-01-31T10:00:00+05:30", "2026-01-31 10:00:00 CET", "no_such_value"),
        ("time(0)", "10:00:00", "24:00:00", "no_such_value"),
        ("decimal(4, 2)", "3.25", "100.5", "no_such_value"),
        ("money", "3.25", "1,5", "no_such_value"),
        ("float", "1e5", "1e999", "no_such_value"),
        ("uniqueidentifier", "6F9619FF-8B86-D011-B42D-00C04FC964FF", "6F9619FF", "no_such_value"),
        ("xml", "<a/>", "plain", "no_such_value"),
        ("nvarchar(3)", "abc", "abcd", "too_long"),
        ("bigint REFERENCES parent (id)", "3", "9", "constraint"),
    ]
    .into_iter()
    .enumerate()
    {
        server.sql(&format!("DROP TABLE IF EXISTS calls; CREATE TABLE calls (id bigint, number {column})"));
        let mut sink = sink(&host, &server, json!({}));
        let before = host.rejections().len();
        let rows = (0..40).map(|id| (id, Some(if id == 17 { bad } else { good })));
        let receipt = deliver(&mut sink, number as u64 + 1, calls(rows)).unwrap();
        let rejections = &host.rejections()[before..];
        assert_eq!(receipt.rows, 39, "{column}: {rejections:?}");
        assert_eq!(
            server.rows("SELECT count(*), max(id = 17), max(number IS NULL) FROM calls"),
            ["39|0|0"],
            "{column}"
        );
        assert_eq!(rejections.len(), 1, "{column}");
        assert_eq!(rejections[0].code, code, "{column}: {}", rejections[0].reason);
        assert_eq!(rejections[0].rows, Some(calls([(17, Some(bad))])), "{column}");
    }
}

#[test]
fn rows_that_a_trigger_refuses_are_found_unless_it_ends_the_transaction() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint, number nvarchar(50))");
    server.sql("CREATE TRIGGER refuse BEFORE INSERT ON calls WHEN new.number = 'own' BEGIN SELECT RAISE(ABORT, 'not this'); END");
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    let mut rows: Vec<(i64, Option<&str>)> = (0..100).map(|id| (id, Some("fine"))).collect();
    rows[20].1 = Some("own");
    assert_eq!(deliver(&mut sink, 1, calls(rows.clone())).unwrap().rows, 99);
    assert_eq!(host.rejections()[0].reason, "not this (error 50000)");
    assert_eq!(host.rejections()[0].rows, Some(calls([(20, Some("own"))])));
    server.sql("CREATE TRIGGER harsh BEFORE INSERT ON calls WHEN new.number = 'harsh' BEGIN SELECT RAISE(ROLLBACK, 'all gone'); END");
    rows[60].1 = Some("harsh");
    let error = deliver(&mut sink, 2, calls(rows)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    assert!(error.message.contains("ends the transaction") && error.message.contains("all gone"), "{error}");
    assert_eq!(server.rows("SELECT count(*) FROM calls"), ["99"]);
}

#[test]
fn numbers_and_nulls_that_do_not_fit_are_refused_before_they_are_sent() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id smallint, number varchar(9) NOT NULL, ratio float, flag bit, at datetime, data varbinary(2))");
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    let ints = |numbers: [i64; 7]| Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef;
    let texts = vec![Some("a"), Some("b"), None, Some("d"), Some("e"), Some("f"), Some("g")];
    let long_ago = -100_000 * 86_400_000_000;
    let rows = batch(vec![
        ("id", ints([1, 32_768, 3, 4, 5, 6, 7])),
        ("number", Arc::new(StringArray::from(texts))),
        ("ratio", Arc::new(Float64Array::from(vec![0.5, 0.5, 0.5, f64::NAN, 0.5, 0.5, 0.5]))),
        ("flag", ints([1, 1, 1, 1, 2, 0, 0])),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![0, 0, 0, 0, 0, long_ago, 0]))),
        ("data", Arc::new(BinaryArray::from_vec(vec![b"ab", b"", b"", b"", b"", b"", b"abc"]))),
    ]);
    deliver(&mut sink, 1, rows).unwrap();
    assert_eq!(server.rows("SELECT id, flag, at, data FROM calls"), ["1|1|1970-01-01 00:00:00.000|0x6162"]);
    let reasons: Vec<_> = host.rejections().iter().map(|rejected| rejected.reason.clone()).collect();
    assert_eq!(
        reasons,
        [
            "id: 32768 does not fit smallint",
            "number: null, and the table wants a value",
            "ratio: the database knows neither NaN nor infinities",
            "flag: 2 does not fit bit",
            "at: a moment outside of the years 1753 to 9999",
            "data: 3 bytes do not fit varbinary(2)",
        ]
    );
}

#[test]
fn a_delivery_is_committed_once_whatever_is_asked_twice() {
    let server = StandIn::new();
    server.sql(FIFTY);
    let host = Host::new();
    let mut first = sink(&host, &server, json!({}));
    let receipt = deliver(&mut first, 1, calls([(1, None)])).unwrap();
    assert_eq!(first.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt: receipt.clone() });
    // An engine that was started again asks through another connection.
    let mut again = sink(&host, &server, json!({}));
    assert_eq!(again.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt });
    assert_eq!(again.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(server.rows("SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn a_commit_whose_answer_is_lost_is_found_by_its_key() {
    let server = StandIn::new();
    server.sql(FIFTY);
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    sink.begin_split(&delivery(1)).unwrap();
    sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    server.lose_the_next_commits_answer();
    assert_eq!(sink.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
    let Begun::Committed { receipt } = sink.begin_split(&delivery(1)).unwrap() else { panic!("it was committed") };
    assert_eq!(receipt.rows, 1);
    assert_eq!(server.rows("SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn nothing_of_an_aborted_or_abandoned_delivery_is_seen() {
    let server = StandIn::new();
    server.sql(FIFTY);
    let host = Host::new();
    let mut first = sink(&host, &server, json!({}));
    assert_eq!(first.begin_split(&delivery(1)).unwrap(), Begun::New);
    first.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    assert_eq!(server.rows("SELECT count(*) FROM calls"), ["0"], "not before the commit");
    first.abort(&delivery(1)).unwrap();
    first.abort(&delivery(1)).unwrap();
    first.write(&delivery(1), Batches::once(calls([(2, None)]))).unwrap();
    // It dies, and the server learns it from the connection that ends.
    drop(first);
    let mut second = sink(&host, &server, json!({}));
    deliver(&mut second, 1, calls([(2, None)])).unwrap();
    assert_eq!(server.rows("SELECT id FROM calls"), ["2"]);
}

#[test]
fn of_two_that_deliver_the_same_the_second_is_told() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint, number varchar(50))");
    let host = Host::new();
    let (mut one, mut two) = (sink(&host, &server, json!({})), sink(&host, &server, json!({})));
    assert_eq!(one.begin_split(&delivery(1)).unwrap(), Begun::New);
    assert_eq!(two.begin_split(&delivery(1)).unwrap(), Begun::New);
    one.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    let receipt = one.commit(&delivery(1)).unwrap();
    two.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    assert_eq!(two.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(two.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt });
    assert_eq!(server.rows("SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn keys_that_are_not_asked_for_again_are_forgotten() {
    let server = StandIn::new();
    server.sql(FIFTY);
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    for window in 1..=3 {
        let delivery = Delivery { settled_before: window.max(2) - 1, ..delivery(window) };
        sink.write(&delivery, Batches::once(calls([(window as i64, None)]))).unwrap();
        sink.commit(&delivery).unwrap();
    }
    assert_eq!(server.rows("SELECT win, pipeline FROM _engine_commits ORDER BY win"), ["2|test", "3|test"]);
}

#[test]
fn a_missing_table_is_made_from_the_columns_or_by_ddl_and_by_one_engine_alone() {
    let server = StandIn::new();
    let host = Host::new();
    let (one, two) = (sink(&host, &server, json!({"create": true})), sink(&host, &server, json!({"create": true})));
    std::thread::scope(|scope| {
        for (number, mut sink) in [(1, one), (2, two)] {
            scope.spawn(move || deliver(&mut sink, number, calls([(number as i64, Some("a"))])).unwrap());
        }
    });
    assert_eq!(server.rows("SELECT id FROM calls ORDER BY id"), ["1", "2"]);
    let ddl = "CREATE TABLE stated (id bigint, number nvarchar(max), n int IDENTITY PRIMARY KEY); INSERT INTO stated (id) VALUES (0)";
    let mut stated = sink(&host, &server, json!({"table": "stated", "create": {"ddl": ddl}}));
    deliver(&mut stated, 3, calls([(1, None)])).unwrap();
    assert_eq!(server.rows("SELECT id, n FROM stated ORDER BY n"), ["0|1", "1|2"]);
    let mut wrong = sink(&host, &server, json!({"table": "wrong", "create": {"ddl": "CREATE TABLE (("}}));
    assert_eq!(deliver(&mut wrong, 4, calls([(1, None)])).unwrap_err().kind, ErrorKind::Config);
    // The lock that it held is free again.
    let mut after = sink(&host, &server, json!({"table": "after", "create": true}));
    deliver(&mut after, 5, calls([(1, None)])).unwrap();
}

#[test]
fn upsert_puts_the_last_row_of_a_key_in_the_place_of_the_first() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50) CHECK (number <> 'bad'), note nvarchar(9) DEFAULT 'kept')");
    server.sql("INSERT INTO calls VALUES (1, 'old', 'mine')");
    let host = Host::new();
    server.sql("CREATE TABLE log (id bigint)");
    server.sql("CREATE TRIGGER logged AFTER UPDATE ON calls BEGIN INSERT INTO log VALUES (new.id); END");
    let mut first = sink(&host, &server, json!({"mode": "upsert", "key": ["id"]}));
    assert!(!first.is_parallel());
    let rows = calls([(2, Some("b")), (1, Some("c")), (2, None), (3, Some("bad"))]);
    assert_eq!(deliver(&mut first, 1, rows).unwrap().rows, 3);
    assert_eq!(server.rows("SELECT * FROM calls ORDER BY id"), ["1|c|mine", "2|NULL|kept"]);
    assert_eq!(host.rejections()[0].rows, Some(calls([(3, Some("bad"))])));
    // Whatever was done before a row was refused was taken back.
    assert_eq!(server.rows("SELECT id FROM log ORDER BY id"), ["1", "2"]);
    let rows = calls([(4, Some("a")), (1, Some("a")), (4, Some("b")), (1, Some("d"))]);
    assert_eq!(deliver(&mut first, 4, rows).unwrap().rows, 4);
    assert_eq!(server.rows("SELECT id, number FROM calls ORDER BY id"), ["1|d", "2|NULL", "4|b"]);
    let mut other = sink(&host, &server, json!({"mode": "upsert", "key": ["id", "number"]}));
    let error = deliver(&mut other, 2, calls([(3, None)])).unwrap_err();
    assert!(error.message.contains("no unique index on exactly `key`"), "{error}");
    // A table of nothing but its key.
    server.sql("CREATE TABLE keys (id bigint, number nvarchar(9), UNIQUE (number, id))");
    let mut keys = sink(&host, &server, json!({"table": "keys", "mode": "upsert", "key": ["id", "number"]}));
    assert_eq!(deliver(&mut keys, 3, calls([(1, Some("a")), (1, Some("a")), (2, None)])).unwrap().rows, 2);
    assert_eq!(server.rows("SELECT * FROM keys"), ["1|a"]);
    assert_eq!(host.rejections()[1].code, "null");
}

#[test]
fn views_are_refused_and_an_identity_column_takes_the_numbers_of_the_stream() {
    let server = StandIn::new();
    let host = Host::new();
    server.sql("CREATE TABLE behind (id bigint); CREATE VIEW seen AS SELECT * FROM behind");
    let error = sink(&host, &server, json!({"table": "seen"})).check().unwrap_err();
    assert!(error.message.contains("is a view"), "{error}");
    server.sql("CREATE TABLE calls (id int IDENTITY PRIMARY KEY, number varchar(9))");
    deliver(&mut sink(&host, &server, json!({})), 1, calls([(70, None)])).unwrap();
    assert_eq!(server.rows("SELECT id FROM calls"), ["70"]);
    assert!(server.statements().iter().any(|sql| sql == "SET IDENTITY_INSERT [dbo].[calls] ON"));
}

#[test]
fn hostile_names_and_values_are_names_and_values() {
    let server = StandIn::new();
    let host = Host::new();
    let name = "a]; DROP TABLE x; --";
    let values = ["'); DROP TABLE x; -- ", "\\", "''", "\"", "]", "[", "\0\u{1a}\n\r", "%_", "0x41", "😀ü\u{ffff}"];
    let rows = batch(vec![(name, Arc::new(StringArray::from_iter_values(values)))]);
    let table = format!("\"{name}\"");
    let mut sink = sink(&host, &server, json!({"table": table, "create": true}));
    deliver(&mut sink, 1, rows.clone()).unwrap();
    let mut source = source(&host, &server, json!({"table": table}));
    assert_eq!(read(&mut source).unwrap().column(0), rows.column(0));
    assert!(server.statements().iter().all(|sql| !sql.contains("'); DROP")), "values are never part of a statement");
}

#[test]
fn values_beyond_a_bulk_loads_limit_are_sent_on_their_own() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint, number nvarchar(max), data varbinary(max))");
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    let long = "ü".repeat(40_000);
    let bytes = vec![7_u8; 70_000];
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ("number", Arc::new(StringArray::from(vec![Some("a"), Some(long.as_str()), None, Some("")]))),
        ("data", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"a"), None, Some(&bytes), Some(b"")]))),
    ]);
    assert_eq!(deliver(&mut sink, 1, rows.clone()).unwrap().rows, 4);
    let query = json!({"query": "SELECT id, number, data FROM calls ORDER BY id"});
    assert_eq!(read(&mut source(&host, &server, query)).unwrap(), rows);
}

#[test]
fn refused_rows_of_several_batches_and_loads_are_the_right_ones() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number nvarchar(2000))");
    server.sql("INSERT INTO calls VALUES (5, ''), (999, ''), (5500, ''), (8999, '')");
    let host = Host::new();
    let mut sink = sink(&host, &server, json!({}));
    let long = "x".repeat(600);
    let batches: Vec<_> =
        (0..9).map(|batch| calls((batch * 1000..batch * 1000 + 1000).map(|id| (id, Some(long.as_str()))))).collect();
    let schema = batches[0].schema();
    sink.begin_split(&delivery(1)).unwrap();
    sink.write(&delivery(1), Batches::new(schema, batches.into_iter().map(Ok))).unwrap();
    assert_eq!(sink.commit(&delivery(1)).unwrap().rows, 8996);
    assert_eq!(server.rows("SELECT count(*) FROM calls"), ["9000"]);
    let ids: Vec<_> =
        host.rejections().iter().flat_map(|rejected| texts(rejected.rows.as_ref().unwrap(), "id")).collect();
    assert_eq!(ids, ["5", "999", "5500", "8999"]);
    let loads = server.statements().iter().filter(|sql| sql.starts_with("INSERT BULK")).count();
    assert!(loads > 2, "{loads}");
}
