//! The PBX collector: TCP into PostgreSQL, by the shipped pipeline.

use engine_end_to_end_tests::{Caller, Database, Engine, Place, Server, lines, until, workspace};
use engine_state::DeadLetterStatus;

/// The shipped pipeline, beside a database of its own.
fn collector(database: &Database) -> Place {
    let mut place = Place::new();
    for name in ["avaya_cdr.yaml", "connections.yaml"] {
        place.write(name, std::fs::read(workspace().join("pipelines").join(name)).expect("it is shipped"));
    }
    place.set("CDR_LISTEN", "127.0.0.1:0");
    place.set("CDR_DATABASE_URL", database.url());
    place
}

fn start(place: &Place) -> (Engine, std::net::SocketAddr) {
    let mut engine = place.start(&["--json", "run", "avaya_cdr.yaml"]);
    let address = engine.address().expect("it listens");
    (engine, address)
}

#[test]
fn every_variant_of_a_line_arrives_as_the_contract_says() {
    let database = Server::shared().database();
    let place = collector(&database);
    let (mut engine, address) = start(&place);

    let mut first = Caller::new(address);
    // A blank line at connect, then all line ends, NULs between records, one line in pieces.
    first.send(b"\r\n170925 1547 00252                    2434 0                2432\r\n");
    first.send(b"\x00\x00170925 1548 00001 100 1 200\n\x00170925 1549 00002 101 1 201\r\0");
    first.send(b"170925 1550 000");
    let mut second = Caller::new(address);
    second.send(b"\n170925 1551 00004                    *21#    \r\n170925 1551 00005 0033 2\r\n");
    first.send(b"03 102 1 202\r\n");
    // Two identical lines are two calls.
    second.send(b"170925 1600 00010 300 1 400\r\n170925 1600 00010 300 1 400\r\n");
    second.send(b"170925 2561 00010 300 1 400\r\n");
    second.close();
    // The other goes away in the middle of a line.
    first.send(b"170925 1700 0001");
    first.close();

    until("all lines arrive", || database.count("avaya_cdr") == 8);
    until("two dead letters are kept", || place.final_letters() == 2);
    engine.terminate();
    let ended = engine.wait().with_code(0);
    ended.report().adds_up();

    let rows = database.rows(
        "SELECT date, duration, calling_number, called_number, call_code FROM avaya_cdr ORDER BY date, called_number",
    );
    let rows: Vec<String> = rows.iter().map(|row| row.join(" | ")).collect();
    assert_eq!(
        rows,
        [
            "2025-09-17 15:44:08 | 172 | 2432 | 2434 | 0",
            "2025-09-17 15:47:59 | 1 | 200 | 100 | 1",
            "2025-09-17 15:48:58 | 2 | 201 | 101 | 1",
            "2025-09-17 15:49:57 | 3 | 202 | 102 | 1",
            "2025-09-17 15:50:55 | 5 | NULL | 0033 | 2",
            "2025-09-17 15:50:56 | 4 | NULL | *21# | NULL",
            "2025-09-17 15:59:50 | 10 | 400 | 300 | 1",
            "2025-09-17 15:59:50 | 10 | 400 | 300 | 1",
        ]
    );
    let mut codes: Vec<_> = place.dead_letters(DeadLetterStatus::Final).into_iter().map(|it| it.code).collect();
    codes.sort();
    assert_eq!(codes, ["bad_time", "partial"]);
}

#[test]
fn sigterm_delivers_what_was_received_and_ends_with_0() {
    const CALLS: u64 = 20_000;
    let database = Server::shared().database();
    let place = collector(&database);
    let (mut engine, address) = start(&place);
    let mut caller = Caller::new(address);
    caller.send(lines(0..CALLS));
    caller.close();
    engine.terminate();
    let ended = engine.wait().with_code(0);
    let report = ended.report();
    assert_eq!((report.outcome.as_str(), report.read), ("stopped", CALLS));
    report.adds_up();
    assert_eq!(database.value("SELECT count(DISTINCT called_number) FROM avaya_cdr"), CALLS.to_string());
    assert_eq!(database.count("avaya_cdr"), CALLS);
}

#[test]
fn it_goes_on_where_it_was_after_its_own_restart() {
    let database = Server::shared().database();
    let place = collector(&database);
    for round in 0..3 {
        let (mut engine, address) = start(&place);
        let mut caller = Caller::new(address);
        caller.send(lines(round * 100..round * 100 + 100));
        caller.close();
        engine.terminate();
        engine.wait().with_code(0);
    }
    assert_eq!(database.value("SELECT count(DISTINCT called_number) FROM avaya_cdr"), "300");
    assert_eq!(database.count("avaya_cdr"), 300);
}

#[test]
fn a_second_engine_on_the_same_state_is_refused() {
    let database = Server::shared().database();
    let place = collector(&database);
    let (mut engine, _) = start(&place);
    let id = engine.id().to_string();
    let refused = place.engine(&["run", "avaya_cdr.yaml"]).with_code(3);
    refused.says(&["holds the state folder", &id, "--state"]);
    // Looking is allowed.
    assert_eq!(place.json(&["runs"]).len(), 1);
    engine.terminate();
    engine.wait().with_code(0);
}
