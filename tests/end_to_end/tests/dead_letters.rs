//! Rows that a target refuses: kept, listed, tried again, given up.

use std::time::Duration;

use engine_end_to_end_tests::{Caller, Database, Place, Server, line, sqlite_count, sqlite_rows, until};
use engine_state::{DeadLetterStatus, Outcome, RunFilter, State};

/// A call to a number of 51 digits, one more than the column takes.
fn too_long(number: u64) -> Vec<u8> {
    format!("170925 1547 00252 {number:051} 0 2432\r\n").into_bytes()
}

/// Calls into a table whose numbers have at most 50 characters.
fn calls(database: &Database, log: &[u8]) -> Place {
    let mut place = Place::new();
    place.set("URL", database.url());
    place.write("pbx.log", log);
    place.write(
        "calls.yaml",
        "source: { use: file, with: { path: pbx.log }, format: avaya_cdr }\n\
         sink: { use: postgres, with: { url: \"${env:URL}\", table: calls } }\n",
    );
    database.execute(
        "CREATE TABLE calls (id serial PRIMARY KEY, date timestamp, duration integer, \
         calling_number text, called_number varchar(50), call_code text)",
    );
    place
}

#[test]
fn a_row_that_is_too_long_is_a_dead_letter_and_its_neighbours_arrive() {
    let database = Server::shared().database();
    let place = calls(&database, &[line(1), too_long(2), line(3)].concat());
    let report = place.engine(&["--json", "run", "calls.yaml"]).with_code(0).report();
    report.adds_up();
    assert_eq!((report.sink("postgres").written, report.sink("postgres").dead_letters), (2, 1));
    let rows = database.rows("SELECT called_number FROM calls ORDER BY 1");
    assert_eq!(rows, [["0000000001"], ["0000000003"]]);

    let listed = place.json(&["dead-letters", "list"]);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["stage"], "sinks.postgres");
    let id = listed[0]["id"].to_string();
    let shown = place.engine(&["dead-letters", "show", &id]).with_code(0).stdout;
    assert!(shown.contains(&format!("{:051}", 2)) && shown.contains("called_number"), "{shown}");

    // As long as the column is as it is, a replay makes a new letter of the row.
    place.engine(&["dead-letters", "replay", "calls.yaml"]).with_code(0);
    assert_eq!(database.count("calls"), 2);
    assert_eq!(place.final_letters(), 1);

    database.execute("ALTER TABLE calls ALTER called_number TYPE text");
    place.engine(&["dead-letters", "replay", "calls.yaml"]).with_code(0);
    assert_eq!(
        database.value("SELECT called_number FROM calls WHERE length(called_number) = 51"),
        format!("{:051}", 2)
    );
    assert_eq!(database.count("calls"), 3);
    assert_eq!(place.final_letters(), 0);
    let again = place.engine(&["dead-letters", "replay", "calls.yaml"]).with_code(0);
    assert!(again.stdout.contains("nothing to replay"), "{}", again.stdout);
    assert_eq!(database.count("calls"), 3);
}

#[test]
fn a_malformed_line_is_replayed_through_the_decoder_or_dropped() {
    let database = Server::shared().database();
    // Not of this century, unless month and day are swapped.
    let place = calls(&database, b"091725 1547 00252 2434 0 2432\r\nnot a call\r\n");
    place.engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!((database.count("calls"), place.final_letters()), (0, 2));
    let pipeline = std::fs::read_to_string(place.path("calls.yaml")).unwrap();
    let american = "format: { use: avaya_cdr, with: { date_order: mdy } }";
    place.write("calls.yaml", pipeline.replace("format: avaya_cdr", american));
    place.engine(&["dead-letters", "replay", "calls.yaml", "--stage", "source"]).with_code(0);
    assert_eq!((database.count("calls"), place.final_letters()), (1, 1));
    assert_eq!(database.value("SELECT date FROM calls"), "2025-09-17 15:44:08");

    let refused = place.engine(&["dead-letters", "drop"]).with_code(2);
    refused.says(&["--all"]);
    place.engine(&["dead-letters", "drop", "--all"]).with_code(0);
    assert_eq!(place.final_letters(), 0);
    assert_eq!(place.dead_letters(DeadLetterStatus::Dropped).len(), 1);
    assert_eq!(place.json(&["dead-letters", "list", "--status", "dropped"]).len(), 1);
}

#[test]
fn neighbours_of_refused_rows_arrive_once_although_the_engine_is_killed() {
    const CALLS: u64 = 20_000;
    const EVERY: u64 = 400;
    let database = Server::shared().database();
    let mut log = Vec::new();
    for number in 0..CALLS {
        log.extend(if number % EVERY == 7 { too_long(number) } else { line(number) });
    }
    let place = calls(&database, &log);
    // Once a run has come to its end, another one would read everything again.
    let is_done = || {
        let runs =
            State::read(&place.state()).and_then(|state| state.runs(&RunFilter { limit: 1, ..RunFilter::default() }));
        runs.is_ok_and(|runs| runs.iter().any(|run| run.outcome == Some(Outcome::Succeeded)))
    };
    for delay in [40, 60, 80, 100] {
        let mut engine = place.start(&["run", "calls.yaml"]);
        std::thread::sleep(Duration::from_millis(delay));
        engine.kill();
        engine.wait();
        if is_done() {
            break;
        }
    }
    if !is_done() {
        place.engine(&["run", "calls.yaml"]).with_code(0);
    }
    let refused = CALLS / EVERY;
    assert_eq!(database.count("calls"), CALLS - refused);
    assert_eq!(database.value("SELECT count(DISTINCT called_number) FROM calls"), (CALLS - refused).to_string());
    assert_eq!(place.final_letters() as u64, refused);
}

#[test]
fn letters_are_replayed_and_dropped_while_the_engine_works() {
    let database = Server::shared().database();
    let place = calls(&database, b"");
    let pipeline = std::fs::read_to_string(place.path("calls.yaml")).unwrap();
    let listening = "{ use: tcp, with: { listen: \"127.0.0.1:0\" }";
    place.write("calls.yaml", pipeline.replace("{ use: file, with: { path: pbx.log }", listening));
    let mut engine = place.start(&["--json", "run", "calls.yaml"]);
    let mut caller = Caller::new(engine.address().expect("it listens"));
    caller.send([line(1), too_long(2), too_long(3), line(4)].concat());
    until("two rows are refused", || place.final_letters() == 2);
    database.execute("ALTER TABLE calls ALTER called_number TYPE text");
    let [second, third] = place.json(&["dead-letters", "list"]).try_into().unwrap();
    let drop = ["dead-letters", "drop", "--id", &third["id"].to_string()];
    place.engine(&drop).with_code(0);
    let replay = ["dead-letters", "replay", "calls.yaml", "--id", &second["id"].to_string()];
    place.engine(&replay).with_code(0);
    assert_eq!((database.count("calls"), place.final_letters()), (3, 0));
    // It goes on as if nothing had happened.
    caller.send(line(5));
    until("later calls arrive", || database.count("calls") == 4);
    caller.close();
    engine.terminate();
    engine.wait().with_code(0);
    assert_eq!(database.value("SELECT count(DISTINCT called_number) FROM calls"), "4");
}

#[test]
fn a_record_of_a_csv_file_is_replayed_with_its_header() {
    let place = Place::new();
    place.write("in.csv", "n,s\na,1\nb,x\nc,3\n");
    let pipeline = |types: &str| {
        format!(
            "source: {{ use: file, with: {{ path: in.csv }}, format: {{ use: csv, with: {{ {types} }} }} }}\n\
             sink: {{ use: sqlite, with: {{ path: out.db, table: t, create: true }} }}\n"
        )
    };
    place.write("p.yaml", pipeline("types: { s: integer }"));
    place.engine(&["run", "p.yaml"]).with_code(0);
    assert_eq!((sqlite_count(&place.path("out.db"), "t"), place.final_letters()), (2, 1));
    place.write("p.yaml", pipeline(""));
    let report = place.engine(&["--json", "dead-letters", "replay", "p.yaml"]).with_code(0).report();
    assert_eq!((report.read, report.sink("sqlite").written), (1, 1));
    assert_eq!(sqlite_rows(&place.path("out.db"), "SELECT s FROM t WHERE n = 'b'"), [["x"]]);
    assert_eq!(place.final_letters(), 0);
}

#[test]
fn what_a_lost_sink_is_not_given_leaves_no_letter_undecided() {
    let mut place = Place::new();
    // Nobody listens there.
    place.set("URL", "postgres://engine@127.0.0.1:1/none");
    place.write("pbx.log", [line(1), b"no call\r\n".to_vec(), line(2)].concat());
    place.write(
        "p.yaml",
        "source: { use: file, with: { path: pbx.log }, format: avaya_cdr }\n\
         sink: { use: postgres, with: { url: \"${env:URL}\", table: calls } }\n\
         retry: { attempts: 1, on_exhausted: dead_letter }\n",
    );
    let report = place.engine(&["--json", "run", "p.yaml"]).with_code(0).report();
    assert_eq!((report.read, report.dead_letters, report.sink("postgres").dead_letters), (3, 1, 2));
    assert_eq!(place.final_letters(), 3);
    assert!(place.dead_letters(DeadLetterStatus::Pending).is_empty());
}
