//! Tables whose triggers and constraints end more, or less, than the statement.

use super::*;

/// A hundred rows, of which the table refuses those with the ids 30 and 70.
fn hundred() -> RecordBatch {
    calls((0..100).map(|id| (id, Some(if id == 30 || id == 70 { "bad" } else { "fine" }))))
}

#[test]
fn a_table_that_keeps_the_rows_before_a_refused_one_gets_every_row_once() {
    let before = "CREATE TABLE calls (id INTEGER, number TEXT); CREATE TRIGGER refuse BEFORE INSERT ON calls \
        WHEN new.number = 'bad' BEGIN SELECT RAISE(FAIL, 'not this one'); END";
    let after = "CREATE TABLE calls (id INTEGER, number TEXT); CREATE TRIGGER refuse AFTER INSERT ON calls \
        WHEN new.number = 'bad' BEGIN SELECT RAISE(FAIL, 'not this one'); END";
    let constraint = "CREATE TABLE calls (id INTEGER, number TEXT, \
        bad TEXT AS (nullif(number, 'bad')) NOT NULL ON CONFLICT FAIL)";
    for table in [before, after, constraint] {
        let scratch = Scratch::new(table);
        assert_eq!(deliver(&mut scratch.sink(json!({})), 1, hundred()).unwrap().rows, 98, "{table}");
        assert_eq!(scratch.rows("SELECT count(*), count(DISTINCT id) FROM calls"), ["98|98"], "{table}");
        assert_eq!(scratch.rows("SELECT count(*) FROM calls WHERE number = 'bad'"), ["0"], "{table}");
        let refused: Vec<_> = scratch.host.rejections().into_iter().filter_map(|rejected| rejected.rows).collect();
        assert_eq!(refused, [calls([(30, Some("bad"))]), calls([(70, Some("bad"))])], "{table}");
    }
}

#[test]
fn a_table_that_rolls_the_transaction_back_for_one_row_stops_the_delivery_and_buries_nothing() {
    let trigger = "CREATE TABLE calls (id INTEGER, number TEXT); CREATE TRIGGER refuse BEFORE INSERT ON calls \
        WHEN new.number = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'not this one'); END";
    let constraint = "CREATE TABLE calls (id INTEGER, number TEXT, \
        bad TEXT AS (nullif(number, 'bad')) NOT NULL ON CONFLICT ROLLBACK)";
    for table in [trigger, constraint] {
        let scratch = Scratch::new(table);
        let mut sink = scratch.sink(json!({}));
        let error = deliver(&mut sink, 1, hundred()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        assert!(error.message.contains("rolls the whole transaction back"), "{error}");
        assert!(error.hint.unwrap().contains("ABORT"));
        assert_eq!(scratch.host.rejections(), vec![]);
        assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["0"]);
        // The sink is as good as new.
        deliver(&mut sink, 1, calls([(1, Some("fine"))])).unwrap();
        assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["1"]);
    }
}

#[test]
fn days_and_times_that_sqlite_does_not_know_are_refused_by_what_they_are() {
    let scratch = Scratch::without_file();
    // The last day that Arrow counts to: as many microseconds are more than 64 bits hold.
    let days = Date32Array::from(vec![Some(i32::MAX), Some(0), Some(i32::MIN), None]);
    let times = Time64MicrosecondArray::from(vec![Some(0), Some(86_400_000_000), Some(0), Some(1)]);
    let rows = batch(vec![("day", Arc::new(days) as ArrayRef), ("time", Arc::new(times))]);
    deliver(&mut scratch.sink(json!({"create": true})), 1, rows).unwrap();
    assert_eq!(scratch.rows("SELECT coalesce(day, 'none'), time FROM calls"), ["none|00:00:00.000001"]);
    let reasons: Vec<_> = scratch.host.rejections().into_iter().map(|rejected| rejected.reason).collect();
    let year = "day: a date outside of the years 0 to 9999";
    assert_eq!(reasons, [year, "time: not a time from 00:00:00 to 23:59:59.999999", year]);
}
