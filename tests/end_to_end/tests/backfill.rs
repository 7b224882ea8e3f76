//! `engine backfill`: old windows once more, beside the live cursor.

use engine_end_to_end_tests::{Database, Place, Server, sqlite_count};

fn place(database: &Database) -> Place {
    let mut place = Place::new();
    place.set("DATABASE", database.url());
    write(&place, "calls.db");
    place
}

fn write(place: &Place, path: &str) {
    place.write(
        "calls.yaml",
        format!(
            "source: {{ use: postgres, with: {{ url: \"${{env:DATABASE}}\", table: calls, cursor: {{ column: day }} }} }}\n\
             sinks: [{{ use: sqlite, with: {{ path: {path}, table: calls, create: true }} }}]\n\
             retry: {{ attempts: 1 }}\n"
        ),
    );
}

#[test]
fn old_windows_are_read_once_more_and_the_live_cursor_stays() {
    let database = Server::shared().database();
    database.execute("CREATE TABLE calls (id integer, day date)");
    database.execute("INSERT INTO calls SELECT n, '2026-01-01'::date + n FROM generate_series(0, 9) n");
    let place = place(&database);
    let rows = || sqlite_count(&place.path("calls.db"), "calls");
    place.engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!(rows(), 10);
    let position = || place.json(&["state", "show", "calls"])[0]["position"].clone();
    let before = position();
    // Above 2026-01-02, up to 2026-01-05: three days.
    let range = ["backfill", "calls.yaml", "--from", "2026-01-02", "--to", "2026-01-05", "--by", "1d"];
    let report = place.engine(&[&range[..], &["--json"]].concat()).with_code(0).report();
    assert_eq!((report.read, rows()), (3, 13));
    assert_eq!(position(), before);
    let cursor = place.json(&["state", "show", "calls"])[0]["sinks"][0]["value"].clone();
    assert_eq!(cursor, before, "nor has the sink's cursor moved");
    let ended = place.engine(&["run", "calls.yaml"]).with_code(0);
    assert!(ended.stdout.contains("there was nothing to read"), "{ended:?}");
    // Asked for again, it is done again.
    place.engine(&range).with_code(0);
    assert_eq!(rows(), 16);
}

#[test]
fn a_backfill_that_was_stopped_goes_on_where_it_was() {
    let database = Server::shared().database();
    database.execute("CREATE TABLE calls (id integer, day date)");
    database.execute("INSERT INTO calls SELECT n, '2026-01-01'::date + n FROM generate_series(0, 9) n");
    let place = place(&database);
    place.engine(&["run", "calls.yaml"]).with_code(0);
    // A day that the target does not take for now.
    let sql = |sql: &str| rusqlite_run(&place, sql);
    sql("CREATE TRIGGER no BEFORE INSERT ON calls WHEN new.id = 4 BEGIN SELECT RAISE(ROLLBACK, 'not now'); END");
    let range = ["backfill", "calls.yaml", "--from", "2026-01-02", "--to", "2026-01-10", "--by", "1d"];
    let ended = place.engine(&range);
    assert_ne!(ended.code, Some(0), "{ended:?}");
    let rows = || sqlite_count(&place.path("calls.db"), "calls");
    assert_eq!(rows(), 12, "two days are there, and not the third");
    sql("DROP TRIGGER no");
    let ended = place.engine(&range).with_code(0);
    assert!(ended.stdout.contains("where this backfill was stopped"), "{ended:?}");
    assert_eq!(rows(), 18, "each of the eight days once");
}

#[test]
fn what_cannot_be_read_again_is_refused() {
    let database = Server::shared().database();
    database.execute("CREATE TABLE calls (id integer, day date)");
    let place = place(&database);
    place.write("calls.csv", "id\n1\n");
    place.write(
        "file.yaml",
        "source: { use: file, with: { path: calls.csv }, format: csv }\n\
         sink: { use: sqlite, with: { path: x.db, table: calls, create: true } }\n",
    );
    let refused = |arguments: &[&str], said: &str| {
        place.engine(&[&["backfill"], arguments].concat()).with_code(2).says(&[said]);
    };
    refused(&["file.yaml", "--from", "1", "--to", "2"], "cannot read old windows again");
    refused(&["calls.yaml", "--from", "2026-01-09", "--to", "2026-01-01", "--by", "1d"], "nothing lies between");
    refused(&["calls.yaml", "--from", "2026-01-01", "--to", "2026-01-09", "--by", "soon"], "`--by soon` is no step");
    refused(&["calls.yaml", "--from", "2026-01-01", "--to", "2026-01-09", "--by", "7"], "does not fit the range");
}

fn rusqlite_run(place: &Place, sql: &str) {
    rusqlite::Connection::open(place.path("calls.db")).unwrap().execute_batch(sql).unwrap();
}
