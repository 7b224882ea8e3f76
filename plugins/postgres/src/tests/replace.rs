//! `mode: replace`.

use super::*;

fn sink(host: &Host, scratch: &Scratch) -> PostgresSink {
    host.open(json!({"url": scratch.url(), "table": "calls", "mode": "replace"})).unwrap()
}

fn run(window: u64) -> SinkRun {
    SinkRun { state: "state".into(), pipeline: "test".into(), sink: "postgres".into(), window, ..SinkRun::default() }
}

fn split(window: u64, split: &str) -> Delivery {
    Delivery { key: format!("state/test/postgres/{window}/{split}"), split: split.into(), ..delivery(window) }
}

fn deliver_split(sink: &mut PostgresSink, delivery: &Delivery, rows: RecordBatch) -> Result<Receipt> {
    assert_eq!(sink.begin_split(delivery)?, Begun::New);
    sink.write(delivery, Batches::once(rows))?;
    sink.commit(delivery)
}

fn leftovers(scratch: &mut Scratch) -> Vec<String> {
    let schema = scratch.schema.clone();
    scratch.rows(&format!(
        "SELECT count(*)::text FROM pg_tables WHERE schemaname = '{schema}' AND tablename LIKE '\\_engine\\_replace%'"
    ))
}

#[test]
fn readers_see_the_old_rows_until_all_new_ones_are_there() {
    let mut scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE calls (at integer GENERATED ALWAYS AS IDENTITY, id bigint PRIMARY KEY, number text, twice bigint GENERATED ALWAYS AS (id * 2) STORED);
         CREATE INDEX by_number ON calls (number); CREATE VIEW numbers AS SELECT number FROM calls ORDER BY id;
         GRANT SELECT ON calls TO PUBLIC; INSERT INTO calls (id, number) VALUES (7, 'old')",
    );
    let host = Host::new();
    let mut first = sink(&host, &scratch);
    assert!(first.check().unwrap().summary.contains("table calls found"));
    for (window, wanted) in [(1, ["a", "b", "c"]), (2, ["d", "e", "f"])] {
        let before = scratch.rows("SELECT * FROM numbers");
        first.begin_run(&run(window)).unwrap();
        deliver_split(&mut first, &split(window, "0000"), calls([(1, Some(wanted[0])), (2, Some(wanted[1]))])).unwrap();
        // The process dies here, and another one goes on.
        let mut second = sink(&host, &scratch);
        second.begin_run(&run(window)).unwrap();
        assert!(matches!(second.begin_split(&split(window, "0000")).unwrap(), Begun::Committed { .. }));
        deliver_split(&mut second, &split(window, "0001"), calls([(3, Some(wanted[2]))])).unwrap();
        assert_eq!(scratch.rows("SELECT * FROM numbers"), before);
        second.finish_run(&run(window)).unwrap();
        assert_eq!(scratch.rows("SELECT * FROM numbers"), wanted);
        // The end of the window was not noted, and it comes again.
        first = sink(&host, &scratch);
        first.begin_run(&run(window)).unwrap();
        first.finish_run(&run(window)).unwrap();
        assert_eq!(scratch.rows("SELECT * FROM numbers"), wanted);
        assert_eq!(leftovers(&mut scratch), ["0"]);
    }
    assert_eq!(scratch.rows("SELECT at::text, twice::text FROM calls ORDER BY id"), ["5|2", "6|4", "7|6"]);
    assert_eq!(
        scratch.rows("SELECT count(*)::text FROM pg_indexes WHERE tablename = 'calls' AND schemaname = current_schema"),
        ["2"]
    );
    assert_eq!(scratch.rows("SELECT has_table_privilege('public', 'calls', 'SELECT')::text"), ["true"]);
}

#[test]
fn rows_that_the_table_refuses_are_dead_letters_and_a_window_without_rows_empties_it() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint PRIMARY KEY CHECK (id > 0), number varchar(3)); INSERT INTO calls VALUES (9, 'old')");
    let host = Host::new();
    let mut sink = sink(&host, &scratch);
    sink.begin_run(&run(1)).unwrap();
    let rows = calls([(1, Some("a")), (1, Some("b")), (-1, Some("c")), (2, Some("long"))]);
    assert_eq!(deliver_split(&mut sink, &split(1, "0000"), rows).unwrap().rows, 1);
    sink.finish_run(&run(1)).unwrap();
    assert_eq!(host.rejections().len(), 3);
    assert_eq!(scratch.rows("SELECT number FROM calls"), ["a"]);
    sink.begin_run(&run(2)).unwrap();
    deliver_split(&mut sink, &split(2, "0000"), calls([])).unwrap();
    sink.finish_run(&run(2)).unwrap();
    assert_eq!(scratch.rows("SELECT number FROM calls"), Vec::<String>::new());
}

#[test]
fn a_window_that_was_given_up_leaves_no_table_for_ever() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number text)");
    let host = Host::new();
    let mut sink = sink(&host, &scratch);
    for window in [1, 2, 3] {
        sink.begin_run(&run(window)).unwrap();
        deliver_split(&mut sink, &split(window, "0000"), calls([(window as i64, None)])).unwrap();
    }
    assert_eq!(leftovers(&mut scratch), ["3"]);
    sink.finish_run(&run(2)).unwrap();
    assert_eq!(leftovers(&mut scratch), ["1"]);
    assert_eq!(scratch.rows("SELECT id::text FROM calls"), ["2"]);
}

#[test]
fn what_refuses_the_swap_keeps_the_old_rows() {
    let mut scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE calls (id bigint, number text); INSERT INTO calls VALUES (1, 'old');
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no such number'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON calls FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let host = Host::new();
    let mut sink = sink(&host, &scratch);
    sink.begin_run(&run(1)).unwrap();
    deliver_split(&mut sink, &split(1, "0000"), calls([(2, Some("new"))])).unwrap();
    let error = sink.finish_run(&run(1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("keeps the old ones: no such number"), "{error}");
    assert_eq!(scratch.rows("SELECT number FROM calls"), ["old"]);
    scratch.sql("DROP TRIGGER refuse ON calls");
    sink.finish_run(&run(1)).unwrap();
    assert_eq!(scratch.rows("SELECT number FROM calls"), ["new"]);
}

#[test]
fn a_window_of_which_nothing_came_leaves_the_rows_and_a_new_column_does_not_stop_one() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number text); INSERT INTO calls VALUES (1, 'old')");
    let host = Host::new();
    let mut sink = sink(&host, &scratch);
    sink.finish_run(&run(1)).unwrap();
    assert_eq!(scratch.rows("SELECT number FROM calls"), ["old"]);
    sink.begin_run(&run(2)).unwrap();
    deliver_split(&mut sink, &split(2, "0000"), calls([(2, Some("new"))])).unwrap();
    scratch.sql("ALTER TABLE calls ADD COLUMN note text DEFAULT 'none'");
    sink.finish_run(&run(2)).unwrap();
    assert_eq!(scratch.rows("SELECT number, note FROM calls"), ["new|none"]);
}

#[test]
fn who_has_begun_to_read_goes_on_to_see_the_old_rows() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number text); INSERT INTO calls VALUES (1, 'old')");
    let mut reader = Scratch::new();
    reader.sql(&format!("SET search_path = {}; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1", scratch.schema));
    let host = Host::new();
    let mut sink = sink(&host, &scratch);
    sink.begin_run(&run(1)).unwrap();
    deliver_split(&mut sink, &split(1, "0000"), calls([(2, Some("new"))])).unwrap();
    sink.finish_run(&run(1)).unwrap();
    assert_eq!(reader.rows("SELECT number FROM calls"), ["old"]);
    reader.sql("COMMIT");
    assert_eq!(reader.rows("SELECT number FROM calls"), ["new"]);
}

#[test]
fn a_parent_of_other_rows_is_not_emptied_and_a_view_cannot_be() {
    let mut scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE calls (id bigint PRIMARY KEY, number text); CREATE TABLE notes (call bigint REFERENCES calls)",
    );
    let host = Host::new();
    let mut parent = sink(&host, &scratch);
    parent.begin_run(&run(1)).unwrap();
    let error = deliver_split(&mut parent, &split(1, "0000"), calls([(1, None)])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("a foreign key of table notes refers to them"), "{error}");
    scratch.sql("DROP TABLE notes; ALTER TABLE calls RENAME TO other; CREATE VIEW calls AS SELECT * FROM other");
    let mut view = sink(&host, &scratch);
    view.begin_run(&run(1)).unwrap();
    let error = deliver_split(&mut view, &split(1, "0000"), calls([(1, None)])).unwrap_err();
    assert!(error.message.contains("is not a table"), "{error}");
}

#[test]
fn dead_letters_that_are_tried_again_replace_nothing() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number text); INSERT INTO calls VALUES (1, 'old')");
    let host = Host::new();
    let mut sink = sink(&host, &scratch);
    let replay = SinkRun { replay: true, ..run(1) };
    // A sink that gives a replay up is new, and only told at the end.
    let mut fresh: PostgresSink = self::sink(&host, &scratch);
    fresh.finish_run(&replay).unwrap();
    sink.begin_run(&replay).unwrap();
    deliver_split(&mut sink, &split(1, "0000"), calls([(2, Some("again"))])).unwrap();
    sink.finish_run(&replay).unwrap();
    assert_eq!(scratch.rows("SELECT number FROM calls ORDER BY id"), ["old", "again"]);
}
