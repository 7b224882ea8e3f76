//! `mode: replace`.

use super::*;

fn run(window: u64) -> SinkRun {
    SinkRun { state: "state".into(), pipeline: "test".into(), sink: "mysql".into(), window, ..SinkRun::default() }
}

fn replace(host: &Host, scratch: &Scratch) -> MysqlSink {
    sink(host, scratch, json!({"mode": "replace"}))
}

fn beside(scratch: &mut Scratch) -> Vec<String> {
    scratch.rows("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE '\\_engine\\_replace%'")
}

#[test]
fn the_rows_of_a_window_take_the_place_of_all_others_at_once() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50), twice bigint AS (id * 2) STORED)");
    scratch.sql("INSERT INTO calls (id) VALUES (1), (2)");
    let host = Host::new();
    let mut sink = replace(&host, &scratch);
    sink.begin_run(&run(1)).unwrap();
    deliver(&mut sink, 1, calls([(7, Some("a")), (7, Some("twice"))])).unwrap();
    assert_eq!(scratch.rows("SELECT id FROM calls ORDER BY id"), ["1", "2"], "until all are there");
    assert_eq!(beside(&mut scratch).len(), 1);
    sink.finish_run(&run(1)).unwrap();
    assert_eq!(scratch.rows("SELECT id, number, twice FROM calls"), ["7|a|14"]);
    assert_eq!(host.rejections()[0].code, "duplicate");
    assert_eq!(beside(&mut scratch), Vec::<String>::new());
    // Asked again, also by an engine that was started again, after somebody has written to the table.
    scratch.sql("INSERT INTO calls (id) VALUES (8)");
    sink.finish_run(&run(1)).unwrap();
    let mut again = replace(&host, &scratch);
    again.begin_run(&run(1)).unwrap();
    again.finish_run(&run(1)).unwrap();
    assert_eq!(scratch.rows("SELECT id FROM calls ORDER BY id"), ["7", "8"]);
}

#[test]
fn a_window_without_rows_empties_the_table_and_tables_of_windows_given_up_go() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50)); INSERT INTO calls VALUES (1, 'a')");
    let host = Host::new();
    let mut sink = replace(&host, &scratch);
    sink.begin_run(&run(1)).unwrap();
    deliver(&mut sink, 1, calls([(2, None)])).unwrap();
    // Window 1 is given up here.
    sink.begin_run(&run(2)).unwrap();
    deliver(&mut sink, 2, calls([])).unwrap();
    assert_eq!(beside(&mut scratch).len(), 2);
    sink.finish_run(&run(2)).unwrap();
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["0"]);
    assert_eq!(beside(&mut scratch), Vec::<String>::new());
}

#[test]
fn what_shows_only_at_the_exchange_leaves_the_old_rows_in_place() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE parent (id bigint PRIMARY KEY); INSERT INTO parent VALUES (1)");
    scratch.sql("CREATE TABLE calls (id bigint, number varchar(50), FOREIGN KEY (id) REFERENCES parent (id)); INSERT INTO calls VALUES (1, 'old')");
    let host = Host::new();
    let mut sink = replace(&host, &scratch);
    sink.begin_run(&run(1)).unwrap();
    deliver(&mut sink, 1, calls([(9, None)])).unwrap();
    let error = sink.finish_run(&run(1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("keeps the old ones"), "{error}");
    assert_eq!(scratch.rows("SELECT number FROM calls"), ["old"]);
    scratch.sql("INSERT INTO parent VALUES (9)");
    sink.finish_run(&run(1)).unwrap();
    assert_eq!(scratch.rows("SELECT id FROM calls"), ["9"]);
}

#[test]
fn rows_that_others_refer_to_are_not_replaced() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50)); CREATE TABLE child (id bigint, FOREIGN KEY (id) REFERENCES calls (id) ON DELETE CASCADE)");
    let host = Host::new();
    let mut sink = replace(&host, &scratch);
    sink.begin_run(&run(1)).unwrap();
    let error = deliver(&mut sink, 1, calls([(9, None)])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("child"), "{error}");
}
