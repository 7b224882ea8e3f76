//! Servers that go away, and come back.

use std::net::SocketAddr;

use engine_end_to_end_tests::{Caller, Engine, Place, Server, lines, sqlite_count, sqlite_rows, until};

const POSTGRES: &str = "  - use: postgres\n    with: { url: \"${env:URL}\", table: calls, create: true }\n";
const SQLITE: &str = "  - use: sqlite\n    with: { path: calls.db, table: calls, create: true }\n";

fn collector(sinks: &str) -> String {
    format!(
        "name: calls\n\
         source: {{ use: tcp, with: {{ listen: \"127.0.0.1:0\" }}, format: avaya_cdr }}\n\
         sinks:\n{sinks}\
         retry: {{ backoff: 100ms, max: 500ms }}\n"
    )
}

fn start(place: &Place) -> (Engine, SocketAddr) {
    let mut engine = place.start(&["--json", "run", "calls.yaml"]);
    let address = engine.address().expect("it listens");
    (engine, address)
}

fn call(address: SocketAddr, numbers: std::ops::Range<u64>) {
    let mut caller = Caller::new(address);
    caller.send(lines(numbers));
    caller.close();
}

#[test]
fn a_database_that_is_gone_for_a_while_costs_nothing() {
    let server = Server::own();
    let database = server.database();
    let mut place = Place::new();
    place.set("URL", database.url());
    place.write("calls.yaml", collector(POSTGRES));
    let (mut engine, address) = start(&place);
    call(address, 0..1000);
    until("the first calls arrive", || database.count("calls") == 1000);

    // Restarted as by a crash, under fire.
    let sender = std::thread::spawn(move || {
        for part in 10..30 {
            call(address, part * 100..part * 100 + 100);
        }
    });
    server.control("restart immediate");
    sender.join().unwrap();
    until("what came during a restart arrives", || database.count("calls") == 3000);

    server.control("stop fast");
    call(address, 3000..4000);
    engine.logs("not delivered, next attempt");
    call(address, 4000..5000);
    assert!(engine.runs());
    server.control("start");
    call(address, 5000..6000);
    until("what came while it was gone arrives", || database.count("calls") == 6000);
    assert_eq!(database.value("SELECT count(DISTINCT called_number) FROM calls"), "6000");

    engine.terminate();
    let report = engine.wait().with_code(0).report();
    assert_eq!(report.read, 6000);
    report.adds_up();
}

#[test]
fn a_database_that_is_not_there_at_the_start_is_waited_for() {
    let server = Server::own();
    let database = server.database();
    server.control("stop fast");
    let mut place = Place::new();
    place.set("URL", database.url());
    place.write("calls.yaml", collector(POSTGRES));
    let (mut engine, address) = start(&place);
    call(address, 0..500);
    engine.logs("next attempt");
    // Killed and started again while the database is still gone: the spool has the calls.
    engine.kill();
    engine.wait();
    let (mut engine, address) = start(&place);
    call(address, 500..1000);
    server.control("start");
    until("all calls arrive", || database.count("calls") == 1000);
    assert_eq!(database.value("SELECT count(DISTINCT called_number) FROM calls"), "1000");
    engine.terminate();
    engine.wait().with_code(0);
}

#[test]
fn a_dead_sink_does_not_stop_its_neighbour_and_catches_up() {
    let server = Server::own();
    let database = server.database();
    let mut place = Place::new();
    place.set("URL", database.url());
    place.write("calls.yaml", collector(&format!("{SQLITE}{POSTGRES}")));
    let (mut engine, address) = start(&place);
    call(address, 0..500);
    until("both have the first calls", || {
        database.count("calls") == 500 && sqlite_count(&place.path("calls.db"), "calls") == 500
    });
    server.control("stop immediate");
    for part in 5..10 {
        call(address, part * 100..part * 100 + 100);
    }
    until("the living one goes on", || sqlite_count(&place.path("calls.db"), "calls") == 1000);
    server.control("start");
    until("the other catches up", || database.count("calls") == 1000);
    call(address, 1000..1500);
    until("both go on together", || {
        database.count("calls") == 1500 && sqlite_count(&place.path("calls.db"), "calls") == 1500
    });
    engine.terminate();
    engine.wait().with_code(0).report().adds_up();
    assert_eq!(database.value("SELECT count(DISTINCT called_number) FROM calls"), "1500");
    let of_table = sqlite_rows(&place.path("calls.db"), "SELECT count(DISTINCT called_number) FROM calls");
    assert_eq!(of_table, [["1500"]]);
}

#[test]
fn a_run_that_could_not_serve_one_sink_is_completed_by_the_next() {
    let place = Place::new();
    place.write("pbx.log", lines(0..1000));
    place.write(
        "calls.yaml",
        format!(
            "source: {{ use: file, with: {{ path: pbx.log }}, format: avaya_cdr }}\n\
             sinks:\n{SQLITE}\
             \x20 - {{ use: file, with: {{ path: blocked/calls.csv, overwrite: true }}, format: csv }}\n\
             retry: {{ attempts: 2, backoff: 10ms }}\n"
        ),
    );
    // Where the folder should be, there is a file: nobody, not even root, can write below it.
    let blocked = place.write("blocked", "");
    let failed = place.engine(&["--json", "run", "calls.yaml"]);
    assert!(matches!(failed.code, Some(1 | 2)), "{failed:?}");
    let report = failed.report();
    assert_eq!(report.sink("sqlite").written, 1000);
    assert!(report.sink("file").error.is_some() && report.sink("sqlite").error.is_none(), "{report:?}");
    assert_eq!(sqlite_count(&place.path("calls.db"), "calls"), 1000);

    std::fs::remove_file(blocked).unwrap();
    let report = place.engine(&["--json", "run", "calls.yaml"]).with_code(0).report();
    assert_eq!(report.resumed, 1, "{report:?}");
    let csv = std::fs::read_to_string(place.path("blocked/calls.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1001);
    // One delivery of each window for each sink: the first window's, and those of the run that followed.
    let windows = 1 + report.sink("sqlite").written / 1000;
    assert_eq!(sqlite_count(&place.path("calls.db"), "calls"), windows * 1000);
}
