//! Splits of one window that are worked on at the same time.

use engine_end_to_end_tests::{Database, Place, Server, until};

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
        "CREATE SEQUENCE meetings; CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           PERFORM pg_advisory_lock_shared(77); \
           IF nextval('meetings') > {connections} THEN RETURN NULL; END IF; \
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

#[test]
fn a_server_that_gives_away_one_connection_is_read_by_one() {
    let (database, mut place) = place("parallelism: 3\nretry: { attempts: 1 }", "");
    let role = format!("few_{}", std::process::id());
    database.execute(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'reads-alone' CONNECTION LIMIT 1; GRANT SELECT ON numbers TO {role}"
    ));
    let url = database.url().to_owned();
    let (scheme, rest) = url.split_once("://").unwrap();
    place.set("READER", format!("{scheme}://{role}:reads-alone@{}", rest.split_once('@').unwrap().1));
    let pipeline = std::fs::read_to_string(place.path("copy.yaml")).unwrap();
    place.write("copy.yaml", pipeline.replacen("${env:URL}", "${env:READER}", 1));
    let ended = place.engine(&["--json", "run", "copy.yaml"]).with_code(0);
    ended.report().adds_up();
    ended.says(&["fewer splits are read at the same time", "too many connections"]);
    all_arrived_once(&database);
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn only_the_split_that_cannot_be_delivered_is_given_up() {
    let (database, place) = place("parallelism: 2", "");
    let pipeline = std::fs::read_to_string(place.path("copy.yaml")).unwrap();
    place.write("copy.yaml", pipeline.replace("backoff: 1ms", "backoff: 1ms, attempts: 1, on_exhausted: dead_letter"));
    // The first split fails once, the second one for good; both are at work at the same time.
    meet(&database, 2);
    database.execute(
        "CREATE SEQUENCE tries; \
         CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF (NEW.id = 1 AND nextval('tries') = 1) OR NEW.id = 1500 THEN \
             RAISE 'busy' USING ERRCODE = '40001'; END IF; \
           RETURN NEW; \
         END $$; \
         CREATE TRIGGER busy BEFORE INSERT ON copied FOR EACH ROW EXECUTE FUNCTION busy()",
    );
    place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report().adds_up();
    let kept = database.rows("SELECT count(*)::text, count(DISTINCT id)::text, bool_or(id = 1)::text FROM copied");
    // About a third of the rows: the ranges are cut by statistics.
    let given_up = place.final_letters();
    assert!((950..1050).contains(&given_up), "{given_up}");
    let expected = (ROWS - given_up).to_string();
    assert_eq!(kept.concat(), [expected.clone(), expected, "true".into()]);
}

/// A login of its own that may copy the numbers and has so many connections; its address.
fn login(database: &Database, name: &str, connections: usize) -> String {
    database.execute(&format!(
        "CREATE ROLE {name} LOGIN PASSWORD 'few' CONNECTION LIMIT {connections}; \
         GRANT SELECT ON numbers TO {name}; GRANT ALL ON copied TO {name}; \
         GRANT ALL ON SEQUENCE copied_place_seq TO {name}; GRANT ALL ON SCHEMA public TO {name}"
    ));
    let (scheme, rest) = database.url().split_once("://").unwrap();
    format!("{scheme}://{name}:few@{}", rest.split_once('@').unwrap().1)
}

#[test]
fn a_server_that_gives_away_few_connections_is_written_to_by_one_reader() {
    let id = std::process::id();
    // The sink's alone; then one login for the source and the sink, of which each reader wants two connections.
    for (name, connections, source) in [(format!("writer_{id}"), 1, false), (format!("copier_{id}"), 2, true)] {
        let (database, mut place) = place("parallelism: 3", "");
        let pipeline = std::fs::read_to_string(place.path("copy.yaml")).unwrap().replace("backoff: 1ms", "attempts: 1");
        place.set("FEW", login(&database, &name, connections));
        let pipeline = if source { pipeline.replace("env:URL", "env:FEW") } else { last_url_is_few(&pipeline) };
        place.write("copy.yaml", pipeline);
        place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report().adds_up();
        all_arrived_once(&database);
        database.execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}"));
    }
}

fn last_url_is_few(pipeline: &str) -> String {
    let (source, sink) = pipeline.rsplit_once("env:URL").unwrap();
    format!("{source}env:FEW{sink}")
}

#[test]
fn a_window_is_completed_with_as_few_readers_as_the_file_says_by_then() {
    let (database, place) = place("parallelism: 3", "");
    let pipeline = std::fs::read_to_string(place.path("copy.yaml")).unwrap();
    place.write("copy.yaml", pipeline.replace("backoff: 1ms", "attempts: 1"));
    // Whoever inserts while another does is counted; at first nobody gets through.
    database.execute(
        "CREATE SEQUENCE collisions; \
         CREATE FUNCTION alone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'busy' USING ERRCODE = '40001'; END $$; \
         CREATE TRIGGER alone BEFORE INSERT ON copied FOR EACH STATEMENT EXECUTE FUNCTION alone()",
    );
    place.engine(&["--json", "run", "copy.yaml"]).with_code(1);
    database.execute(
        "CREATE OR REPLACE FUNCTION alone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF NOT pg_try_advisory_xact_lock(78) THEN PERFORM nextval('collisions'); END IF; \
           PERFORM pg_sleep(0.1); RETURN NULL; \
         END $$",
    );
    let pipeline = std::fs::read_to_string(place.path("copy.yaml")).unwrap();
    place.write("copy.yaml", pipeline.replace("parallelism: 3", "parallelism: 1"));
    let report = place.engine(&["--json", "run", "copy.yaml"]).with_code(0).report();
    assert_eq!(report.resumed, 1);
    assert_eq!(database.rows("SELECT is_called::text FROM collisions"), [["false"]]);
    database.execute("DROP TRIGGER alone ON copied");
    all_arrived_once(&database);
}

#[test]
fn a_sink_is_not_hurried_for_one_that_takes_nothing_more() {
    let database = Server::shared().database();
    database.execute(
        "CREATE TABLE numbers AS SELECT id, repeat('x', 2000) AS text FROM generate_series(1, 4000) AS id; \
         ANALYZE numbers; CREATE TABLE failing (id integer, text text); CREATE TABLE slow (id integer, text text); \
         CREATE SEQUENCE tries; CREATE SEQUENCE loads; \
         CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF NEW.id = 1 AND nextval('tries') = 1 THEN RAISE 'busy' USING ERRCODE = '40001'; END IF; RETURN NEW; \
         END $$; \
         CREATE TRIGGER fail_once BEFORE INSERT ON failing FOR EACH ROW EXECUTE FUNCTION fail_once(); \
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           PERFORM nextval('loads'); \
           IF (SELECT is_called FROM tries) THEN PERFORM pg_sleep(0.9); END IF; RETURN NULL; \
         END $$; \
         CREATE TRIGGER slow BEFORE INSERT ON slow FOR EACH STATEMENT EXECUTE FUNCTION slow()",
    );
    let mut place = Place::new();
    place.set("URL", database.url());
    place.write(
        "copy.yaml",
        "source: { use: postgres, with: { url: \"${env:URL}\", table: numbers, key: id, splits: 6 } }\n\
         sinks:\n\
         \x20 - { use: postgres, name: failing, with: { url: \"${env:URL}\", table: failing } }\n\
         \x20 - { use: postgres, name: slow, with: { url: \"${env:URL}\", table: slow } }\n\
         retry: { attempts: 2, backoff: 1ms }\n\
         parallelism: 2\n",
    );
    // Slow is one only once the other has failed.
    let ended = place.engine(&["--json", "run", "copy.yaml", "--stall", "600ms"]).with_code(0);
    ended.report().adds_up();
    assert!(!format!("{ended:?}").contains("held the other sinks up"), "{ended:?}");
    assert_eq!((database.count("failing"), database.count("slow")), (4000, 4000));
    assert_eq!(database.value("SELECT last_value::text FROM loads"), "6");
}

#[test]
fn a_sink_that_failed_does_not_wait_for_one_that_hangs() {
    let (database, place) = place("", "");
    database.execute(
        "CREATE TABLE locked (id integer); CREATE SEQUENCE tries; \
         CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF nextval('tries') = 1 THEN RAISE 'busy' USING ERRCODE = '40001'; END IF; RETURN NULL; \
         END $$; \
         CREATE TRIGGER fail_once BEFORE INSERT ON copied FOR EACH STATEMENT EXECUTE FUNCTION fail_once()",
    );
    place.write(
        "copy.yaml",
        "source: { use: postgres, with: { url: \"${env:URL}\", table: numbers } }\n\
         sinks:\n\
         \x20 - { use: postgres, name: locked, with: { url: \"${env:URL}\", table: locked } }\n\
         \x20 - { use: postgres, name: copied, with: { url: \"${env:URL}\", table: copied } }\n\
         retry: { attempts: 2, backoff: 1ms }\n",
    );
    let lock = database.lock("locked");
    let engine = place.start(&["--json", "run", "copy.yaml", "--stall", "200ms"]);
    until("the other sink has everything", || database.count("copied") == ROWS as u64);
    assert_eq!(database.count("locked"), 0);
    drop(lock);
    engine.wait().with_code(0).report().adds_up();
    assert_eq!(database.count("locked"), ROWS as u64);
    all_arrived_once(&database);
}

#[test]
fn a_sink_that_takes_nothing_holds_up_nobody_and_gets_what_it_missed() {
    let (database, place) = place("", "");
    // More than a queue holds, in one split.
    database.execute(
        "CREATE TABLE locked (id integer, text text); ALTER TABLE copied ADD COLUMN text text; \
         CREATE TABLE padded AS SELECT id, repeat(md5(id::text), 100) AS text FROM numbers",
    );
    place.write(
        "copy.yaml",
        "source: { use: postgres, with: { url: \"${env:URL}\", table: padded } }\n\
         sinks:\n\
         \x20 - { use: postgres, name: locked, with: { url: \"${env:URL}\", table: locked } }\n\
         \x20 - { use: postgres, name: copied, with: { url: \"${env:URL}\", table: copied } }\n\
         retry: { attempts: 1 }\n",
    );
    let lock = database.lock("locked");
    let engine = place.start(&["--json", "run", "copy.yaml", "--stall", "10m"]);
    until("the other sink has everything", || database.count("copied") == ROWS as u64);
    assert_eq!(database.count("locked"), 0);
    drop(lock);
    let ended = engine.wait().with_code(0);
    ended.report().adds_up();
    assert!(!format!("{ended:?}").contains("held the other sinks up"), "{ended:?}");
    all_arrived_once(&database);
    let differ = "SELECT count(*)::text FROM copied FULL JOIN locked USING (id, text) \
                  WHERE copied.place IS NULL OR locked.ctid IS NULL";
    assert_eq!((database.count("locked"), database.value(differ).as_str()), (ROWS as u64, "0"));
}
