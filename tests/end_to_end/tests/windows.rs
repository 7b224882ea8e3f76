//! What a run of a PostgreSQL source covers, from one run to the next.

use engine_end_to_end_tests::{Database, Place, Server, sqlite_rows};

/// A pipeline from the table `calls` of a database.
fn place(database: &Database, source: &str, sink: &str) -> Place {
    let mut place = Place::new();
    place.set("URL", database.url());
    place.write(
        "calls.yaml",
        format!(
            "source: {{ use: postgres, with: {{ url: \"${{env:URL}}\", table: calls, {source} }} }}\nsink: {{ {sink} }}\n"
        ),
    );
    place
}

fn arrived(place: &Place) -> Vec<String> {
    let rows = sqlite_rows(&place.path("calls.db"), "SELECT number FROM calls ORDER BY rowid");
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

const TO_SQLITE: &str = "use: sqlite, with: { path: calls.db, table: calls, create: true }";

#[test]
fn a_cursor_goes_on_where_the_last_run_ended() {
    let database = Server::shared().database();
    database
        .execute("CREATE TABLE calls (id integer, number text); INSERT INTO calls VALUES (1, 'a'), (2, 'b'), (2, 'c')");
    let place = place(&database, "cursor: { column: id }", TO_SQLITE);
    let run = || place.engine(&["--json", "run", "calls.yaml"]).with_code(0).report();
    assert_eq!(run().read, 3);
    database.execute("INSERT INTO calls VALUES (3, 'd'), (5, 'f'), (4, 'e')");
    assert_eq!(run().read, 3);
    assert_eq!(arrived(&place), ["a", "b", "c", "d", "e", "f"]);
    let nothing = run();
    assert_eq!(
        (nothing.read, nothing.notes),
        (0, vec!["there was nothing to read: no new data since \"5\"".to_owned()])
    );
    assert!(place.engine(&["state", "show", "calls"]).with_code(0).stdout.contains("\"5\""));
    // Once more from there on.
    place.engine(&["state", "set", "calls", "4"]).with_code(0);
    assert_eq!(run().read, 1);
}

#[test]
fn a_cursor_stays_where_it_is_when_a_run_fails() {
    let database = Server::shared().database();
    database.execute("CREATE TABLE calls (id integer, number text); INSERT INTO calls VALUES (1, 'a'), (2, 'b')");
    let place = place(&database, "cursor: { column: id }", "use: sqlite, with: { path: calls.db, table: calls }");
    place.engine(&["run", "calls.yaml"]).with_code(2).says(&["calls.db", "create: true"]);
    database.execute("INSERT INTO calls VALUES (3, 'c')");
    let pipeline = std::fs::read_to_string(place.path("calls.yaml"))
        .unwrap()
        .replace("table: calls }", "table: calls, create: true }");
    place.write("calls.yaml", pipeline);
    place.engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!(arrived(&place), ["a", "b", "c"]);
}

#[test]
fn splits_of_a_key_see_what_was_planned_and_go_into_one_file_in_their_order() {
    let database = Server::shared().database();
    database.execute("CREATE TABLE calls AS SELECT id FROM generate_series(1, 3000) AS id; ANALYZE calls");
    let place = place(&database, "key: id, splits: 3", "use: file, with: { path: calls.csv }, format: csv");
    let ended = place.engine(&["--json", "run", "calls.yaml"]).with_code(0);
    ended.report().adds_up();
    assert!(!ended.stderr.contains("can no longer be seen"), "{}", ended.stderr);
    let written = std::fs::read_to_string(place.path("calls.csv")).unwrap();
    let ids: Vec<u32> = written.lines().skip(1).map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids, (1..=3000).collect::<Vec<_>>());
    let plan = place.engine(&["explain", "calls.yaml"]).with_code(0).stdout;
    assert!(plan.contains("split 0002"), "{plan}");
}

#[test]
fn a_replaced_table_keeps_its_rows_when_dead_letters_are_tried_again() {
    let database = Server::shared().database();
    database.execute(
        "CREATE TABLE calls AS SELECT id FROM generate_series(1, 3) AS id; \
         CREATE TABLE report (id integer CONSTRAINT small CHECK (id < 3)); INSERT INTO report VALUES (0)",
    );
    let sink = "use: postgres, with: { url: \"${env:URL}\", table: report, mode: replace }";
    let place = place(&database, "batch: 2", sink);
    let numbers = || database.rows("SELECT id::text FROM report ORDER BY id").concat();
    place.engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!(numbers(), ["1", "2"]);
    database.execute("ALTER TABLE report DROP CONSTRAINT small");
    place.engine(&["dead-letters", "replay", "calls.yaml"]).with_code(0);
    assert_eq!(numbers(), ["1", "2", "3"]);
    database.execute("DELETE FROM calls WHERE id > 1");
    place.engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!(numbers(), ["1"]);
}

#[test]
fn what_refuses_the_end_of_a_window_loses_none_of_its_splits() {
    let database = Server::shared().database();
    database.execute(
        "CREATE TABLE calls AS SELECT id FROM generate_series(1, 3000) AS id; ANALYZE calls; \
         CREATE TABLE report (id integer); INSERT INTO report VALUES (0); \
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed today'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON report FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let sink = "use: postgres, with: { url: \"${env:URL}\", table: report, mode: replace }, \
                retry: { attempts: 1, on_exhausted: dead_letter }";
    let place = place(&database, "key: id, splits: 3", sink);
    place.engine(&["run", "calls.yaml"]).with_code(2).says(&["keeps the old ones", "closed today"]);
    assert_eq!(database.rows("SELECT id::text FROM report"), [["0"]]);
    assert_eq!(place.final_letters(), 0);
    database.execute("DROP TRIGGER refuse ON report");
    place.engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!(database.rows("SELECT count(*)::text, count(DISTINCT id)::text FROM report"), [["3000", "3000"]]);
}
