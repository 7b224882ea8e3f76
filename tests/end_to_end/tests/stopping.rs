//! Asked to stop while a sink hangs.

use engine_end_to_end_tests::{Caller, Database, Engine, Place, Server, lines, sqlite_count, until};

const CALLS: u64 = 500;

/// A collector whose table is there.
fn collector(database: &Database) -> Place {
    let mut place = Place::new();
    place.set("URL", database.url());
    place.write(
        "calls.yaml",
        "source: { use: tcp, with: { listen: \"127.0.0.1:0\" }, format: avaya_cdr }\n\
         sink: { use: postgres, with: { url: \"${env:URL}\", table: calls } }\n",
    );
    database.execute(
        "CREATE TABLE calls (date timestamp, duration integer, calling_number text, called_number text, call_code text)",
    );
    place
}

/// An engine in the middle of a write that somebody else's lock holds up.
fn hanging(place: &Place, database: &Database, drain: &str) -> Engine {
    let mut engine = place.start(&["--json", "run", "calls.yaml", "--drain", drain]);
    let mut caller = Caller::new(engine.address().expect("it listens"));
    caller.send(lines(0..CALLS));
    caller.close();
    let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                   WHERE NOT l.granted AND a.datname = current_database()";
    until("a write waits for the lock", || database.value(waiting) != "0");
    engine
}

/// The next run delivers what this one could not.
fn completed_by_the_next(place: &Place, database: &Database) {
    let mut engine = place.start(&["--json", "run", "calls.yaml"]);
    until("the next run delivers", || database.count("calls") == CALLS);
    engine.terminate();
    engine.wait().with_code(0);
    assert_eq!(database.value("SELECT count(DISTINCT called_number) FROM calls"), CALLS.to_string());
    assert_eq!(database.count("calls"), CALLS);
}

#[test]
fn a_second_request_to_stop_ends_what_hangs() {
    let database = Server::shared().database();
    let place = collector(&database);
    let lock = database.lock("calls");
    let mut engine = hanging(&place, &database, "1h");
    engine.terminate();
    engine.logs("once more to stop at once");
    engine.terminate();
    engine.wait();
    drop(lock);
    completed_by_the_next(&place, &database);
}

#[test]
fn draining_ends_at_its_deadline_although_a_sink_hangs() {
    let database = Server::shared().database();
    let place = collector(&database);
    let lock = database.lock("calls");
    let mut engine = hanging(&place, &database, "200ms");
    engine.terminate();
    engine.wait().with_code(0);
    drop(lock);
    completed_by_the_next(&place, &database);
}

#[test]
fn a_request_to_stop_while_the_sink_is_away_is_no_failure() {
    let mut place = Place::new();
    // Nobody listens there.
    place.set("URL", "postgres://engine@127.0.0.1:1/none");
    place.write(
        "calls.yaml",
        "source: { use: tcp, with: { listen: \"127.0.0.1:0\" }, format: avaya_cdr }\n\
         sink: { use: postgres, with: { url: \"${env:URL}\", table: calls } }\n",
    );
    let mut engine = place.start(&["--json", "run", "calls.yaml"]);
    let mut caller = Caller::new(engine.address().expect("it listens"));
    caller.send(lines(0..3));
    caller.close();
    engine.logs("next attempt in");
    engine.terminate();
    let report = engine.wait().with_code(0).report();
    assert_eq!(report.outcome, "stopped");
    assert!(report.notes[0].contains("kept in the spool"), "{report:?}");
}

#[test]
fn a_sink_that_hangs_does_not_stop_the_other() {
    let database = Server::shared().database();
    let mut place = collector(&database);
    place.set("URL", database.url());
    place.write(
        "calls.yaml",
        "source: { use: tcp, with: { listen: \"127.0.0.1:0\" }, format: avaya_cdr }\n\
         sinks:\n\
         \x20 - { use: postgres, with: { url: \"${env:URL}\", table: calls } }\n\
         \x20 - { use: sqlite, with: { path: calls.db, table: calls, create: true } }\n",
    );
    let lock = database.lock("calls");
    let mut engine = place.start(&["--json", "run", "calls.yaml", "--stall", "200ms"]);
    let mut caller = Caller::new(engine.address().expect("it listens"));
    for part in 0..3 {
        caller.send(lines(part * 10..(part + 1) * 10));
        until("the other sink has them", || {
            place.path("calls.db").exists() && sqlite_count(&place.path("calls.db"), "calls") == (part + 1) * 10
        });
    }
    drop(lock);
    until("the one that hung has them too", || database.count("calls") == 30);
    caller.close();
    engine.terminate();
    engine.wait().with_code(0);
    assert_eq!((database.count("calls"), sqlite_count(&place.path("calls.db"), "calls")), (30, 30));
}
