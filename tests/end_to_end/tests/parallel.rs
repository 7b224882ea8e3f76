//! Splits of one window that are worked on at the same time.

use engine_end_to_end_tests::{Database, Place, Server};

const ROWS: usize = 3000;

/// A table of [`ROWS`] numbers, in three splits, on its way into `copied`.
fn place(pipeline: &str, sink: &str) -> (Database, Place) {
    let database = Server::shared().database();
    database.execute(&format!(
        "CREATE TABLE numbers AS SELECT id FROM generate_series(1, {ROWS}) AS id; ANALYZE numbers; \
         CREATE TABLE copied (place bigserial, id integer UNIQUE)"
    ));
    let mut place = Place::new();
    place.set("URL", database.url());
    place.write(
        "copy.yaml",
        format!(
            "source: {{ use: postgres, with: {{ url: \"${{env:URL}}\", table: numbers, key: id, splits: 3 }} }}\n\
             sink: {{ use: postgres, with: {{ url: \"${{env:URL}}\", table: copied {sink} }}, retry: {{ backoff: 1ms }} }}\n\
             {pipeline}\n"
        ),
    );
    (database, place)
}

fn all_arrived_once(database: &Database) {
    let counts = database.rows("SELECT count(*)::text, count(DISTINCT id)::text, sum(id)::text FROM copied").concat();
    assert_eq!(counts, [ROWS.to_string(), ROWS.to_string(), (ROWS * (ROWS + 1) / 2).to_string()]);
}

/// No delivery ends its first statement before as many others have begun theirs.
fn meet(database: &Database, connections: usize) {
    database.execute(&format!(
        "CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           PERFORM pg_advisory_lock_shared(77); \
           FOR attempt IN 1..500 LOOP \
             IF (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND objsubid = 1) >= {connections} \
             THEN RETURN NULL; END IF; \
             PERFORM pg_sleep(0.01); \
           END LOOP; \
           RAISE 'alone'; \
         END $$; \
         CREATE TRIGGER meet BEFORE INSERT ON copied FOR EACH STATEMENT EXECUTE FUNCTION meet()"
    ));
}

#[test]
fn splits_are_delivered_at_the_same_time() {
    let (database, place) = place("parallelism: 3", "");
    meet(&database, 3);
    place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report().adds_up();
    all_arrived_once(&database);
    let plan = place.engine(&["explain", "copy.yaml"]).with_code(0).stdout;
    assert!(plan.contains("up to 3 splits at the same time"), "{plan}");
}

#[test]
fn one_at_a_time_keeps_the_order() {
    let (database, place) = place("parallelism: 1", "");
    place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report().adds_up();
    all_arrived_once(&database);
    assert_eq!(database.rows("SELECT count(*)::text FROM copied WHERE place <> id"), [["0"]]);
}

#[test]
fn a_sink_that_needs_the_order_gets_it() {
    let (database, place) = place("parallelism: 3", ", mode: upsert, key: [id]");
    place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report().adds_up();
    all_arrived_once(&database);
    assert_eq!(database.rows("SELECT count(*)::text FROM copied WHERE place <> id"), [["0"]]);
}

#[test]
fn a_sink_that_fails_in_one_split_gets_every_row_once() {
    let (database, place) = place("parallelism: 3", "");
    // The sequence keeps its number when the transaction goes.
    database.execute(
        "CREATE SEQUENCE tries; \
         CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF NEW.id = 1700 AND nextval('tries') = 1 THEN RAISE 'busy' USING ERRCODE = '40001'; END IF; \
           RETURN NEW; \
         END $$; \
         CREATE TRIGGER fail_once BEFORE INSERT ON copied FOR EACH ROW EXECUTE FUNCTION fail_once()",
    );
    place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report().adds_up();
    all_arrived_once(&database);
    assert_eq!(database.rows("SELECT last_value::text FROM tries"), [["2"]]);
}

#[test]
fn a_replaced_table_takes_its_place_after_the_last_of_several_splits() {
    let (database, place) = place("parallelism: 3", ", mode: replace");
    database.execute("INSERT INTO copied (id) VALUES (-1)");
    for _ in 0..2 {
        place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report().adds_up();
        all_arrived_once(&database);
    }
}
