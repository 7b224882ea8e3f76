//! `mode: replace`.

use super::*;

fn run(window: u64) -> SinkRun {
    SinkRun { state: "state".into(), pipeline: "test".into(), sink: "sqlserver".into(), window, ..SinkRun::default() }
}

fn replace(host: &Host, server: &StandIn) -> SqlServerSink {
    sink(host, server, json!({"mode": "replace"}))
}

fn beside(server: &StandIn) -> Vec<String> {
    server.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '_engine_replace%'")
}

#[test]
fn the_rows_of_a_window_take_the_place_of_all_others_at_once() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50) CHECK (number <> 'bad'), twice bigint AS (id * 2), note nvarchar(9) DEFAULT 'none')");
    server.sql("INSERT INTO calls (id) VALUES (1), (2)");
    let host = Host::new();
    let mut sink = replace(&host, &server);
    sink.begin_run(&run(1)).unwrap();
    deliver(&mut sink, 1, calls([(7, Some("a")), (7, Some("twice")), (8, Some("bad"))])).unwrap();
    assert_eq!(server.rows("SELECT id FROM calls ORDER BY id"), ["1", "2"], "until all are there");
    assert_eq!(beside(&server).len(), 1);
    sink.finish_run(&run(1)).unwrap();
    assert_eq!(server.rows("SELECT id, number, twice, note FROM calls"), ["7|a|14|none"]);
    let codes: Vec<_> = host.rejections().into_iter().map(|rejected| rejected.code).collect();
    assert_eq!(codes, ["duplicate", "constraint"]);
    assert_eq!(beside(&server), Vec::<String>::new());
    // Asked again, also by an engine that was started again, after somebody has written to the table.
    server.sql("INSERT INTO calls (id) VALUES (8)");
    sink.finish_run(&run(1)).unwrap();
    let mut again = replace(&host, &server);
    again.begin_run(&run(1)).unwrap();
    again.finish_run(&run(1)).unwrap();
    assert_eq!(server.rows("SELECT id FROM calls ORDER BY id"), ["7", "8"]);
}

#[test]
fn an_exchange_whose_answer_is_lost_is_not_done_twice() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50))");
    let host = Host::new();
    let mut sink = replace(&host, &server);
    sink.begin_run(&run(1)).unwrap();
    deliver(&mut sink, 1, calls([(7, None)])).unwrap();
    server.lose_the_next_commits_answer();
    assert_eq!(sink.finish_run(&run(1)).unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!((server.rows("SELECT id FROM calls"), beside(&server).len()), (vec!["7".into()], 1));
    server.sql("INSERT INTO calls (id) VALUES (8)");
    sink.finish_run(&run(1)).unwrap();
    assert_eq!(server.rows("SELECT id FROM calls ORDER BY id"), ["7", "8"]);
    assert_eq!(beside(&server), Vec::<String>::new());
}

#[test]
fn a_window_without_rows_empties_the_table_and_tables_of_windows_given_up_go() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50)); INSERT INTO calls VALUES (1, 'a')");
    let host = Host::new();
    let mut sink = replace(&host, &server);
    sink.begin_run(&run(1)).unwrap();
    deliver(&mut sink, 1, calls([(2, None)])).unwrap();
    // Window 1 is given up here.
    sink.begin_run(&run(2)).unwrap();
    deliver(&mut sink, 2, calls([])).unwrap();
    assert_eq!(beside(&server).len(), 2);
    sink.finish_run(&run(2)).unwrap();
    assert_eq!(server.rows("SELECT count(*) FROM calls"), ["0"]);
    assert_eq!(beside(&server), Vec::<String>::new());
}

#[test]
fn what_shows_only_at_the_exchange_leaves_the_old_rows_in_place() {
    let server = StandIn::new();
    server.sql("CREATE TABLE parent (id bigint PRIMARY KEY); INSERT INTO parent VALUES (1)");
    server.sql("CREATE TABLE calls (id bigint, number varchar(50), FOREIGN KEY (id) REFERENCES parent (id)); INSERT INTO calls VALUES (1, 'old')");
    let host = Host::new();
    let mut sink = replace(&host, &server);
    sink.begin_run(&run(1)).unwrap();
    deliver(&mut sink, 1, calls([(9, None)])).unwrap();
    let error = sink.finish_run(&run(1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("keeps the old ones"), "{error}");
    assert_eq!(server.rows("SELECT number FROM calls"), ["old"]);
    server.sql("INSERT INTO parent VALUES (9)");
    sink.finish_run(&run(1)).unwrap();
    assert_eq!(server.rows("SELECT id FROM calls"), ["9"]);
}

#[test]
fn an_identity_column_counts_on_unless_the_stream_has_its_numbers() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (serial int IDENTITY PRIMARY KEY, id bigint, number varchar(9)); INSERT INTO calls (id) VALUES (1)");
    let host = Host::new();
    let mut sink = replace(&host, &server);
    sink.begin_run(&run(1)).unwrap();
    deliver(&mut sink, 1, calls([(7, None)])).unwrap();
    sink.finish_run(&run(1)).unwrap();
    assert_eq!(server.rows("SELECT serial, id FROM calls"), ["2|7"]);
}

#[test]
fn rows_that_others_refer_to_are_not_replaced() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50)); CREATE TABLE child (id bigint, FOREIGN KEY (id) REFERENCES calls (id) ON DELETE CASCADE)");
    let host = Host::new();
    let mut sink = replace(&host, &server);
    sink.begin_run(&run(1)).unwrap();
    let error = deliver(&mut sink, 1, calls([(9, None)])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("child"), "{error}");
}
