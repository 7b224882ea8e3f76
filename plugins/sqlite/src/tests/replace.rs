//! `mode: replace`.

use super::*;

/// Makes all deliveries of a window, each with its rows.
fn replace(sink: &mut SqliteSink, number: u64, splits: &[RecordBatch]) {
    let run = SinkRun {
        state: "state".into(),
        pipeline: "test".into(),
        sink: "sqlite".into(),
        window: number,
        ..SinkRun::default()
    };
    sink.begin_run(&run).unwrap();
    for (at, rows) in splits.iter().enumerate() {
        let delivery = Delivery { split: at.to_string(), key: format!("key/{number}/{at}"), ..delivery(number) };
        if sink.begin_split(&delivery).unwrap() == Begun::New {
            sink.write(&delivery, Batches::once(rows.clone())).unwrap();
            sink.commit(&delivery).unwrap();
        }
    }
}

fn finish(sink: &mut SqliteSink, window: u64) -> Result<()> {
    let (state, pipeline, name) = ("state".into(), "test".into(), "sqlite".into());
    sink.finish_run(&SinkRun { state, pipeline, sink: name, window, ..SinkRun::default() })
}

#[test]
fn replace_shows_the_old_rows_until_all_new_ones_are_there() {
    let scratch = Scratch::new(
        "CREATE TABLE \"calls\" (id INTEGER PRIMARY KEY, number TEXT CHECK (number <> 'bad'), made TEXT DEFAULT 'now');
         CREATE UNIQUE INDEX [by number] ON calls(number);
         CREATE INDEX plain ON calls(made);
         CREATE VIEW shown AS SELECT number FROM calls;
         CREATE TABLE notes (of INTEGER REFERENCES calls);
         INSERT INTO calls (id, number) VALUES (1, 'old'), (7, 'older');
         INSERT INTO notes VALUES (1)",
    );
    let shown = || scratch.rows("SELECT number FROM shown ORDER BY number");
    let mut sink = scratch.sink(json!({"mode": "replace"}));
    let (first, second) = (calls([(1, Some("a")), (2, Some("bad"))]), calls([(3, Some("a")), (4, Some("b"))]));
    replace(&mut sink, 1, &[first.clone(), second.clone()]);
    assert_eq!(shown(), ["old", "older"]);
    let reasons: Vec<_> = scratch.host.rejections().into_iter().map(|it| (it.code, it.reason)).collect();
    let told = |reason: &str| ("constraint".to_owned(), format!("SQLite refused: {reason}"));
    let expected = [told("CHECK constraint failed: number <> 'bad'"), told("UNIQUE constraint failed: calls.number")];
    assert_eq!(reasons, expected, "what the table would refuse is refused beside it, under its name");

    // The engine dies before the end of the window, and comes back.
    drop(sink);
    let mut sink = scratch.sink(json!({"mode": "replace"}));
    replace(&mut sink, 1, &[first, second]);
    finish(&mut sink, 1).unwrap();
    finish(&mut sink, 1).unwrap();
    assert_eq!(scratch.rows("SELECT id, number, made FROM calls ORDER BY id"), ["1|a|now", "4|b|now"]);
    assert_eq!(scratch.rows("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%engine_replace%'"), ["0"]);

    // An earlier window left something: it is not in the way of the next one.
    replace(&mut sink, 2, &[calls([(1, Some("left"))])]);
    replace(&mut sink, 3, &[calls([(1, Some("new"))])]);
    finish(&mut sink, 3).unwrap();
    assert_eq!(shown(), ["new"]);
    // A row that another table needs cannot go; then all stay.
    replace(&mut sink, 4, &[calls([(9, Some("c"))])]);
    let error = finish(&mut sink, 4).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    assert_eq!(shown(), ["new"]);
    // A replay adds to what is there.
    let run = SinkRun { window: 5, replay: true, ..SinkRun::default() };
    sink.begin_run(&run).unwrap();
    deliver(&mut sink, 5, calls([(2, Some("replayed"))])).unwrap();
    sink.finish_run(&run).unwrap();
    assert_eq!(shown(), ["new", "replayed"]);
}

#[test]
fn replace_makes_a_missing_table_and_refuses_a_view() {
    let scratch = Scratch::without_file();
    let mut sink = scratch.sink(json!({"mode": "replace", "create": true}));
    replace(&mut sink, 1, &[calls([(1, Some("a"))])]);
    finish(&mut sink, 1).unwrap();
    assert_eq!(scratch.rows("SELECT * FROM calls"), ["1|a"]);
    // No delivery at all: what is there stays. One without rows: nothing stays.
    replace(&mut sink, 2, &[]);
    finish(&mut sink, 2).unwrap();
    assert_eq!(scratch.rows("SELECT * FROM calls"), ["1|a"]);
    replace(&mut sink, 3, &[calls([])]);
    finish(&mut sink, 3).unwrap();
    assert!(scratch.rows("SELECT * FROM calls").is_empty());

    for (sql, says) in [
        ("CREATE TABLE t (id INTEGER, number TEXT); CREATE VIEW calls AS SELECT * FROM t", "neither views"),
        (
            "CREATE TABLE calls (id INTEGER PRIMARY KEY, number REFERENCES CALLS (id) ON DELETE CASCADE)",
            "refer to each other",
        ),
        ("CREATE TABLE calls (id INTEGER, number TEXT, CHECK (calls.id > 0))", "name columns alone"),
        (
            "CREATE TABLE calls (id INTEGER, number TEXT); CREATE UNIQUE INDEX i /* c */ ON calls (id)",
            "without comments",
        ),
    ] {
        let scratch = Scratch::new(sql);
        let mut sink = scratch.sink(json!({"mode": "replace"}));
        sink.begin_run(&SinkRun::default()).unwrap();
        let error = sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap_err();
        let whole = format!("{error} {}", error.hint.clone().unwrap_or_default());
        assert!(error.kind == ErrorKind::Config && whole.contains(says), "{whole}");
    }
}

#[test]
fn what_a_cascade_takes_along_is_never_a_new_row() {
    // The old rows take their notes along, and those what refers to them: never what has just come.
    let scratch = Scratch::new(
        "CREATE TABLE calls (id INTEGER PRIMARY KEY, number TEXT, note INTEGER REFERENCES notes ON DELETE CASCADE);
         CREATE TABLE notes (id INTEGER PRIMARY KEY, of INTEGER REFERENCES calls ON DELETE CASCADE);
         INSERT INTO calls VALUES (1, 'old', NULL); INSERT INTO notes VALUES (7, 1), (8, NULL)",
    );
    let mut sink = scratch.sink(json!({"mode": "replace"}));
    let notes: ArrayRef = Arc::new(Int64Array::from(vec![8]));
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1]))),
        ("number", Arc::new(StringArray::from(vec!["new"]))),
        ("note", notes),
    ]);
    replace(&mut sink, 1, &[rows]);
    finish(&mut sink, 1).unwrap();
    assert_eq!(scratch.rows("SELECT * FROM calls"), ["1|new|8"]);
    assert_eq!(scratch.rows("SELECT id FROM notes"), ["8"]);
}
