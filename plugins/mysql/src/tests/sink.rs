//! Deliveries, refused rows, keys, tables.

use arrow_array::{Float64Array, TimestampMicrosecondArray};

use super::*;

const FIFTY: &str = "CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50))";

#[test]
fn rows_land_by_column_name_and_the_others_get_their_defaults() {
    let mut scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE calls (serial int AUTO_INCREMENT PRIMARY KEY, number varchar(50), id int, note text DEFAULT 'none')",
    );
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({}));
    let receipt = deliver(&mut sink, 1, calls([(7, Some("2432")), (8, None)])).unwrap();
    assert_eq!(receipt.rows, 2);
    assert_eq!(
        scratch.rows("SELECT serial, number, id, note FROM calls ORDER BY serial"),
        ["1|2432|7|none", "2|NULL|8|none"]
    );
}

#[test]
fn a_text_too_long_for_its_column_does_not_cost_its_neighbours() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({}));
    let (fits, long) = ("ü".repeat(50), "ü".repeat(51));
    let rows = calls([(1, Some("a")), (2, Some(long.as_str())), (3, Some(fits.as_str())), (4, Some("nul\0"))]);
    assert_eq!(deliver(&mut sink, 1, rows).unwrap().rows, 3);
    assert_eq!(scratch.rows("SELECT id, CHAR_LENGTH(number) FROM calls ORDER BY id"), ["1|1", "3|50", "4|4"]);
    let rejections = host.rejections();
    assert_eq!(rejections.len(), 1);
    assert_eq!(rejections[0].code, "too_long");
    assert_eq!(rejections[0].reason, "number: 51 characters do not fit varchar(50)");
    assert_eq!(rejections[0].rows, Some(calls([(2, Some(long.as_str()))])));
}

#[test]
fn rows_that_only_the_server_can_refuse_are_found_by_halving() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50) CHECK (number <> 'bad'))");
    scratch.sql("INSERT INTO calls VALUES (500, 'there before')");
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({}));
    // Id 500 is there, 700 comes twice, and row 900 breaks the check.
    let mut rows: Vec<(i64, Option<&str>)> = (0..1000).map(|id| (id, Some("fine"))).collect();
    rows.push((700, Some("second")));
    rows[900].1 = Some("bad");
    assert_eq!(deliver(&mut sink, 1, calls(rows)).unwrap().rows, 998);
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["999"]);
    assert_eq!(scratch.rows("SELECT number FROM calls WHERE id IN (500, 700) ORDER BY id"), ["there before", "fine"]);
    let rejections = host.rejections();
    let found: Vec<_> = rejections.iter().map(|rejected| rejected.code.as_str()).collect();
    assert_eq!(found, ["duplicate", "check", "duplicate"]);
    assert!(rejections[0].reason.contains("'500'"), "{}", rejections[0].reason);
    assert_eq!(rejections[2].rows, Some(calls([(700, Some("second"))])));
}

#[test]
fn each_way_in_which_a_row_can_be_refused_leaves_its_neighbours() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE parent (id bigint PRIMARY KEY); INSERT INTO parent VALUES (0), (1), (2), (3)");
    let host = Host::new();
    for (number, (column, bad, code)) in [
        ("enum('fine', 'good')", "other", "no_such_value"),
        // What the server would take for something else.
        ("enum('fine', 'good')", "1", "no_such_value"),
        ("set('fine', 'good')", "fine,other", "no_such_value"),
        ("set('fine', 'good')", "3", "no_such_value"),
        ("year", "70", "no_such_value"),
        ("int", "1.6", "no_such_value"),
        ("time", "10", "no_such_value"),
        ("date", "2026-01-31 10:00:00", "no_such_value"),
        ("date", "2026-02-30", "refused"),
        ("date", "0000-00-00", "refused"),
        ("datetime", "2026-00-10 00:00:00", "refused"),
        ("timestamp NULL", "2039-01-01 00:00:00", "refused"),
        ("int", "12 apples", "no_such_value"),
        ("tinyint unsigned", "256", "out_of_range"),
        ("decimal(4,2)", "100", "out_of_range"),
        ("varchar(20) CHARACTER SET latin1", "日本", "refused"),
        ("tinytext", &"x".repeat(256), "too_long"),
        ("json", "{\"a\":", "check"),
        ("time", "900:00:00", "refused"),
        ("bigint, FOREIGN KEY (number) REFERENCES parent (id)", "9", "no_parent"),
    ]
    .into_iter()
    .enumerate()
    {
        let good = match column {
            _ if column.starts_with("enum") || column.starts_with("set") => "good",
            _ if column.starts_with("date") || column.starts_with("timestamp") => "2026-01-31 10:00:00",
            "time" => "-25:00:00",
            "year" => "1999",
            _ if column.starts_with("json") => "{}",
            _ => "3",
        };
        let good = if column == "date" { "2026-01-31" } else { good };
        scratch.sql(&format!("CREATE OR REPLACE TABLE calls (id bigint, number {column})"));
        let mut sink = sink(&host, &scratch, json!({}));
        let before = host.rejections().len();
        let rows = (0..40).map(|id| (id, Some(if id == 17 { bad } else { good })));
        let receipt = deliver(&mut sink, number as u64 + 1, calls(rows)).unwrap();
        assert_eq!(receipt.rows, 39, "{column}");
        assert_eq!(scratch.rows("SELECT count(*), min(id = 17) FROM calls WHERE id <> 17"), ["39|0"], "{column}");
        let rejections = &host.rejections()[before..];
        assert_eq!(rejections.len(), 1, "{column}");
        assert_eq!(rejections[0].code, code, "{column}: {}", rejections[0].reason);
        assert_eq!(rejections[0].rows, Some(calls([(17, Some(bad))])), "{column}");
    }
}

#[test]
fn rows_that_a_trigger_refuses_in_its_own_way_are_found_by_halving() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number text)");
    scratch.sql(
        "CREATE TRIGGER refuse BEFORE INSERT ON calls FOR EACH ROW BEGIN
            IF new.number = 'own' THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 31001, MESSAGE_TEXT = 'not this'; END IF;
            IF new.number = 'plain' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'nor this'; END IF;
        END",
    );
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({}));
    let mut rows: Vec<(i64, Option<&str>)> = (0..100).map(|id| (id, Some("fine"))).collect();
    rows[20].1 = Some("own");
    rows[60].1 = Some("plain");
    assert_eq!(deliver(&mut sink, 1, calls(rows)).unwrap().rows, 98);
    assert_eq!(scratch.rows("SELECT count(*), count(DISTINCT id) FROM calls"), ["98|98"]);
    let reasons: Vec<_> = host.rejections().into_iter().map(|rejected| rejected.reason).collect();
    assert_eq!(reasons, ["not this (error 31001)", "nor this (error 1644)"]);
}

#[test]
fn numbers_and_nulls_that_do_not_fit_are_refused_before_they_are_sent() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id mediumint, number varchar(9) NOT NULL, ratio double, year year, bits bit(3))");
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({}));
    let ints = |numbers: [i64; 6]| Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef;
    let rows = batch(vec![
        ("id", ints([1, 8_388_608, 3, 4, 5, 6])),
        ("number", Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("d"), Some("e"), Some("f")]))),
        ("ratio", Arc::new(Float64Array::from(vec![0.5, 0.5, 0.5, f64::NAN, 0.5, 0.5]))),
        ("year", ints([2026, 2026, 2026, 2026, 26, 2026])),
        ("bits", ints([7, 7, 7, 7, 7, 8])),
    ]);
    deliver(&mut sink, 1, rows).unwrap();
    assert_eq!(scratch.rows("SELECT id, year, bits + 0 FROM calls"), ["1|2026|7"]);
    let reasons: Vec<_> = host.rejections().iter().map(|rejected| rejected.reason.clone()).collect();
    assert_eq!(
        reasons,
        [
            "id: 8388608 does not fit mediumint(9)",
            "number: null, and the table wants a value",
            "ratio: the database knows neither NaN nor infinities",
            "year: 26 does not fit year",
            "bits: 8 does not fit bit(3)",
        ]
    );
}

#[test]
fn a_decimal_too_small_for_a_float_is_refused_and_not_made_zero() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (ratio float)");
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({}));
    let long = |digits: [&str; 3]| {
        let numbers = digits.map(|digits| arrow_buffer::i256::from_string(digits).unwrap());
        let decimals = arrow_array::Decimal256Array::from_iter_values(numbers);
        Arc::new(decimals.with_precision_and_scale(76, 60).unwrap()) as ArrayRef
    };
    deliver(&mut sink, 1, batch(vec![("ratio", long(["1", "0", &format!("25{}", "0".repeat(59))]))])).unwrap();
    assert_eq!(scratch.rows("SELECT ratio FROM calls"), ["0", "2.5"]);
    assert_eq!(host.rejections().len(), 1, "10^-60 is not zero");
}

#[test]
fn a_delivery_is_committed_once_whatever_is_asked_twice() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let mut first = sink(&host, &scratch, json!({}));
    let receipt = deliver(&mut first, 1, calls([(1, None)])).unwrap();
    assert_eq!(first.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt: receipt.clone() });
    // An engine that was started again asks through another connection.
    let mut again = sink(&host, &scratch, json!({}));
    assert_eq!(again.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt });
    assert_eq!(again.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn nothing_of_an_aborted_or_abandoned_delivery_is_seen() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let mut first = sink(&host, &scratch, json!({}));
    assert_eq!(first.begin_split(&delivery(1)).unwrap(), Begun::New);
    first.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["0"], "not before the commit");
    first.abort(&delivery(1)).unwrap();
    first.abort(&delivery(1)).unwrap();
    first.write(&delivery(1), Batches::once(calls([(2, None)]))).unwrap();
    // It dies, and the server learns it from the connection that ends.
    drop(first);
    let mut second = sink(&host, &scratch, json!({}));
    deliver(&mut second, 1, calls([(2, None)])).unwrap();
    assert_eq!(scratch.rows("SELECT id FROM calls"), ["2"]);
}

#[test]
fn of_two_that_deliver_the_same_the_second_is_told() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number varchar(50))");
    let host = Host::new();
    let (mut one, mut two) = (sink(&host, &scratch, json!({})), sink(&host, &scratch, json!({})));
    for sink in [&mut one, &mut two] {
        assert_eq!(sink.begin_split(&delivery(1)).unwrap(), Begun::New);
        sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    }
    let receipt = one.commit(&delivery(1)).unwrap();
    assert_eq!(two.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(two.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt });
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn keys_that_are_not_asked_for_again_are_forgotten() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({}));
    for window in 1..=3 {
        let delivery = Delivery { settled_before: window.max(2) - 1, ..delivery(window) };
        sink.write(&delivery, Batches::once(calls([(window as i64, None)]))).unwrap();
        sink.commit(&delivery).unwrap();
    }
    assert_eq!(scratch.rows("SELECT win, pipeline FROM _engine_commits ORDER BY win"), ["2|test", "3|test"]);
}

#[test]
fn a_missing_table_is_made_from_the_columns_or_by_ddl_and_by_one_engine_alone() {
    let mut scratch = Scratch::new();
    let host = Host::new();
    let (one, two) = (sink(&host, &scratch, json!({"create": true})), sink(&host, &scratch, json!({"create": true})));
    std::thread::scope(|scope| {
        for (number, mut sink) in [(1, one), (2, two)] {
            scope.spawn(move || deliver(&mut sink, number, calls([(number as i64, Some("a"))])).unwrap());
        }
    });
    assert_eq!(scratch.rows("SELECT id FROM calls ORDER BY id"), ["1", "2"]);
    let ddl = "CREATE TABLE stated (id bigint, number text, n int AUTO_INCREMENT PRIMARY KEY); INSERT INTO stated (id) VALUES (0)";
    let mut stated = sink(&host, &scratch, json!({"table": "stated", "create": {"ddl": ddl}}));
    deliver(&mut stated, 3, calls([(1, None)])).unwrap();
    assert_eq!(scratch.rows("SELECT id, n FROM stated ORDER BY n"), ["0|1", "1|2"]);
    let mut wrong = sink(&host, &scratch, json!({"table": "wrong", "create": {"ddl": "CREATE TABLE (("}}));
    assert_eq!(deliver(&mut wrong, 4, calls([(1, None)])).unwrap_err().kind, ErrorKind::Config);
    // The lock that it held is free again.
    let mut after = sink(&host, &scratch, json!({"table": "after", "create": true}));
    deliver(&mut after, 5, calls([(1, None)])).unwrap();
}

#[test]
fn upsert_puts_the_last_row_of_a_key_in_the_place_of_the_first() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50), note text DEFAULT 'kept')");
    scratch.sql("INSERT INTO calls VALUES (1, 'old', 'mine')");
    let host = Host::new();
    let upsert = json!({"mode": "upsert", "key": ["id"]});
    let mut sink = sink(&host, &scratch, upsert.clone());
    deliver(&mut sink, 1, calls([(1, Some("a")), (2, Some("b")), (1, Some("c")), (2, None)])).unwrap();
    assert_eq!(scratch.rows("SELECT * FROM calls ORDER BY id"), ["1|c|mine", "2|NULL|kept"]);
    // Another unique index would have the server update another row.
    for other in ["(number)", "(number(10))", "(twice)"] {
        scratch.sql("CREATE OR REPLACE TABLE calls (id bigint PRIMARY KEY, number varchar(50), twice bigint AS (id * 2) STORED)");
        scratch.sql(&format!("ALTER TABLE calls ADD UNIQUE {other}"));
        let mut sink = super::sink(&host, &scratch, upsert.clone());
        let error = deliver(&mut sink, 2, calls([(3, None)])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains("another unique index"), "{other}: {error}");
    }
    // One that only the table itself fills meets nobody.
    scratch
        .sql("CREATE OR REPLACE TABLE calls (id bigint UNIQUE, number varchar(50), n int AUTO_INCREMENT PRIMARY KEY)");
    let mut by_other = super::sink(&host, &scratch, upsert);
    deliver(&mut by_other, 3, calls([(3, None), (3, Some("a"))])).unwrap();
    assert_eq!(scratch.rows("SELECT id, number FROM calls"), ["3|a"]);
    let mut sink = super::sink(&host, &scratch, json!({"mode": "upsert", "key": ["id", "number"]}));
    let error = deliver(&mut sink, 2, calls([(3, None)])).unwrap_err();
    assert!(error.message.contains("no unique index on exactly `key`"), "{error}");
}

#[test]
fn tables_without_transactions_and_views_are_refused() {
    let mut scratch = Scratch::new();
    let host = Host::new();
    for engine in ["MyISAM", "Aria", "MEMORY"] {
        scratch.sql(&format!("CREATE OR REPLACE TABLE calls (id bigint, number varchar(50)) ENGINE = {engine}"));
        let mut sink = sink(&host, &scratch, json!({}));
        let error = sink.check().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains("no transactions"), "{error}");
        assert_eq!(deliver(&mut sink, 1, calls([(1, None)])).unwrap_err().kind, ErrorKind::Config);
        assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["0"]);
    }
    scratch.sql("CREATE TABLE behind (id bigint); CREATE OR REPLACE VIEW seen AS SELECT * FROM behind");
    let error = sink(&host, &scratch, json!({"table": "seen"})).check().unwrap_err();
    assert!(error.message.contains("is a view"), "{error}");
}

#[test]
fn hostile_names_and_values_are_names_and_values() {
    let mut scratch = Scratch::new();
    let host = Host::new();
    let name = "a`; DROP TABLE x; -- \\";
    let values = ["'); DROP TABLE x; -- ", "\\", "\\'", "''", "\"", "`", "\0\u{1a}\n\r", "%_", "x'41'", "😀ü\u{ffff}"];
    let rows = batch(vec![(name, Arc::new(StringArray::from_iter_values(values)))]);
    let table = format!("\"{name}\"");
    let mut sink = sink(&host, &scratch, json!({"table": table, "create": true}));
    deliver(&mut sink, 1, rows.clone()).unwrap();
    let mut source = source(&host, &scratch, json!({"table": table}));
    assert_eq!(read(&mut source).unwrap().column(0), rows.column(0));
    scratch.sql("SET @x = 1");
}

#[test]
fn a_row_larger_than_a_packet_does_not_cost_its_neighbours() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number longtext)");
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({}));
    let large = "x".repeat(17 << 20);
    let megabyte = "y".repeat(1 << 20);
    let rows =
        calls([(1, Some(megabyte.as_str())), (2, Some(large.as_str())), (3, Some(megabyte.as_str())), (4, Some("z"))]);
    assert_eq!(deliver(&mut sink, 1, rows).unwrap().rows, 3);
    assert_eq!(scratch.rows("SELECT id FROM calls ORDER BY id"), ["1", "3", "4"]);
    assert_eq!(host.rejections()[0].code, "too_long");
    assert_eq!(host.rejections()[0].rows.as_ref().unwrap().num_rows(), 1);
}

#[test]
fn refused_rows_of_several_batches_and_statements_are_the_right_ones() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(2000))");
    scratch.sql("INSERT INTO calls VALUES (5, ''), (999, ''), (1500, ''), (2999, '')");
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({}));
    let long = "x".repeat(1000);
    let batches: Vec<_> =
        (0..3).map(|batch| calls((batch * 1000..batch * 1000 + 1000).map(|id| (id, Some(long.as_str()))))).collect();
    let schema = batches[0].schema();
    sink.begin_split(&delivery(1)).unwrap();
    sink.write(&delivery(1), Batches::new(schema, batches.into_iter().map(Ok))).unwrap();
    assert_eq!(sink.commit(&delivery(1)).unwrap().rows, 2996);
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["3000"]);
    let ids: Vec<_> =
        host.rejections().iter().flat_map(|rejected| texts(rejected.rows.as_ref().unwrap(), "id")).collect();
    assert_eq!(ids, ["5", "999", "1500", "2999"]);
}

#[test]
fn a_lock_that_somebody_holds_is_unavailable_and_the_rows_come_again() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    scratch.sql("INSERT INTO calls VALUES (1, 'theirs')");
    // For the sink's session alone.
    scratch.sql("CREATE TRIGGER hurry BEFORE INSERT ON calls FOR EACH ROW SET SESSION innodb_lock_wait_timeout = 1");
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({"mode": "upsert", "key": ["id"]}));
    scratch.sql("BEGIN; SELECT * FROM calls FOR UPDATE");
    let error = deliver(&mut sink, 1, calls([(2, None), (1, None)])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert_eq!(host.rejections().len(), 0);
    scratch.sql("ROLLBACK");
    deliver(&mut sink, 1, calls([(2, None), (1, None)])).unwrap();
    assert_eq!(scratch.rows("SELECT * FROM calls ORDER BY id"), ["1|NULL", "2|NULL"]);
}

#[test]
fn a_connection_that_the_server_ends_costs_the_delivery_and_not_its_rows() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({}));
    sink.begin_split(&delivery(1)).unwrap();
    sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    let kill = format!(
        "SELECT id FROM information_schema.PROCESSLIST WHERE DB = '{}' AND id <> CONNECTION_ID()",
        scratch.database
    );
    let process = scratch.rows(&kill);
    assert_eq!(process.len(), 1);
    scratch.sql(&format!("KILL {}", process[0]));
    assert_eq!(sink.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
    deliver(&mut sink, 1, calls([(1, None)])).unwrap();
    assert_eq!(scratch.rows("SELECT id FROM calls"), ["1"]);
}

#[test]
fn a_delivery_that_is_told_to_stop_or_whose_input_breaks_off_leaves_nothing() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let mut first = sink(&host, &scratch, json!({}));
    first.begin_split(&delivery(1)).unwrap();
    let rows = calls((0..1000).map(|id| (id, Some("a"))));
    let schema = rows.schema();
    let broken = vec![Ok(rows.clone()), Err(Error::unavailable("the input breaks off"))];
    let error = first.write(&delivery(1), Batches::new(schema.clone(), broken.into_iter())).unwrap_err();
    assert!(error.message.contains("breaks off"), "{error}");
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["0"]);
    deliver(&mut first, 1, calls([(1, None)])).unwrap();
    // Somebody holds the row that it waits for.
    scratch.sql("BEGIN; SELECT * FROM calls FOR UPDATE");
    let mut waits = sink(&host, &scratch, json!({"mode": "upsert", "key": ["id"]}));
    waits.begin_split(&delivery(2)).unwrap();
    let upserted = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| waits.write(&delivery(2), Batches::once(rows)));
        let blocked =
            "SELECT count(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND INFO LIKE 'INSERT INTO%'";
        while scratch.rows(blocked) == ["0"] {}
        host.cancel();
        waiting.join().unwrap()
    });
    assert_eq!(upserted.unwrap_err().kind, ErrorKind::Cancelled);
    scratch.sql("ROLLBACK");
    assert_eq!(scratch.rows("SELECT * FROM calls"), ["1|NULL"]);
}

#[test]
fn a_login_without_a_right_learns_which_one() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let user = scratch.database.clone();
    scratch.sql(&format!("CREATE USER {user}@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON {user}.* TO {user}@'%'"));
    let url = scratch.url();
    let (_, server) = url.split_once('@').unwrap();
    let url = format!("mysql://{user}:secret@{server}");
    let check = |more: serde_json::Value| {
        let host = Host::new();
        let mut config = json!({"url": url, "table": "calls"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        host.open::<MysqlSink>(config).unwrap().check()
    };
    let lacks = |more: serde_json::Value, rights: &str| {
        let error = check(more).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.hint.as_ref().unwrap().starts_with(&format!("GRANT {rights} ON")), "{error:?}");
    };
    lacks(json!({}), "INSERT");
    scratch.sql(&format!("REVOKE SELECT ON {user}.* FROM {user}@'%'; GRANT INSERT ON {user}.* TO {user}@'%'"));
    check(json!({})).unwrap();
    lacks(json!({"mode": "replace"}), "DELETE");
    lacks(json!({"mode": "upsert", "key": ["id"]}), "INSERT, UPDATE");
    scratch.sql(&format!("GRANT DELETE, UPDATE ON {user}.* TO {user}@'%'"));
    check(json!({"mode": "replace"})).unwrap();
    // The table with the keys is not there, and this login may not make it.
    let host = Host::new();
    let mut sink: MysqlSink = host.open(json!({"url": url, "table": "calls"})).unwrap();
    let error = deliver(&mut sink, 1, calls([(1, None)])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(error.hint.as_ref().unwrap().contains("CREATE TABLE"), "{error:?}");
    scratch.sql(&format!("DROP USER {user}"));
}

#[test]
fn columns_that_do_not_fit_the_table_are_told_before_a_row_is_written() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number varchar(9), need int NOT NULL, twice int AS (id * 2))");
    let host = Host::new();
    let refusal = |rows: RecordBatch| {
        let mut sink = sink(&host, &scratch, json!({}));
        let error = deliver(&mut sink, 1, rows).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        error.message
    };
    let int = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    assert!(refusal(calls([(1, None)])).contains("no column `need`"));
    assert!(refusal(batch(vec![("need", int()), ("twice", int())])).contains("computed by the table"));
    assert!(refusal(batch(vec![("need", int()), ("nmuber", int())])).contains("no column `nmuber`"));
    let moment = Arc::new(TimestampMicrosecondArray::from(vec![1])) as ArrayRef;
    assert!(refusal(batch(vec![("need", moment)])).contains("Timestamp"));
}
