//! Windows that take the place of what is there.

use super::*;

fn run(window: u64) -> SinkRun {
    SinkRun {
        state: "state".into(),
        pipeline: "test".into(),
        sink: "adbc".into(),
        window,
        splits: vec!["0000".into(), "0001".into()],
        replay: false,
    }
}

fn sink(scratch: &Scratch) -> AdbcSink {
    scratch.sink(json!({"mode": "replace", "create": true}))
}

const ALL: &str = "SELECT id FROM calls ORDER BY id";

#[test]
fn the_rows_of_a_window_take_the_place_of_the_old_ones_when_all_are_there() {
    for mut scratch in both() {
        scratch.sql("CREATE TABLE calls (note VARCHAR(9) DEFAULT 'none', id BIGINT, number TEXT)");
        scratch.sql("INSERT INTO calls (id) VALUES (100)");
        let mut sink = sink(&scratch);
        for window in 1..3 {
            let old = scratch.rows(ALL);
            sink.begin_run(&run(window)).unwrap();
            let first = window as i64 * 10;
            deliver(&mut sink, &split_of(window, "0000"), calls([(first, None)])).unwrap();
            deliver(&mut sink, &split_of(window, "0001"), calls([(first + 1, None)])).unwrap();
            assert_eq!(scratch.rows(ALL), old, "readers see the old rows until then");
            for _ in 0..2 {
                sink.finish_run(&run(window)).unwrap();
                assert_eq!(scratch.rows(ALL), [first.to_string(), (first + 1).to_string()]);
            }
        }
        assert_eq!(scratch.rows("SELECT DISTINCT note FROM calls"), ["none"], "the table is the one that it was");
        let beside = crate::replace::beside(&run(1), &crate::name::Target::new(None, "calls").unwrap());
        assert!(scratch.sink(json!({"table": beside.to_string()})).check().is_err(), "nothing is left beside it");
    }
}

#[test]
fn a_window_goes_on_after_a_crash_and_one_that_was_given_up_leaves_nothing() {
    for mut scratch in both() {
        let mut first = sink(&scratch);
        first.begin_run(&run(1)).unwrap();
        deliver(&mut first, &split_of(1, "0000"), calls([(1, None)])).unwrap();
        first.write(&split_of(1, "0001"), Batches::once(calls([(2, None)]))).unwrap();
        drop(first);
        let mut second = sink(&scratch);
        second.begin_run(&run(1)).unwrap();
        assert!(matches!(second.begin_split(&split_of(1, "0000")).unwrap(), Begun::Committed { .. }));
        deliver(&mut second, &split_of(1, "0001"), calls([(2, None)])).unwrap();
        second.finish_run(&run(1)).unwrap();
        assert_eq!(scratch.rows(ALL), ["1", "2"]);
        // A window that is never finished.
        let mut third = sink(&scratch);
        third.begin_run(&run(2)).unwrap();
        deliver(&mut third, &split_of(2, "0000"), calls([(3, None)])).unwrap();
        drop(third);
        let mut fourth = sink(&scratch);
        fourth.begin_run(&run(3)).unwrap();
        deliver(&mut fourth, &split_of(3, "0000"), calls([(4, None)])).unwrap();
        fourth.finish_run(&run(3)).unwrap();
        assert_eq!(scratch.rows(ALL), ["4"]);
    }
}

#[test]
fn rows_that_the_target_refuses_leave_the_old_ones() {
    for mut scratch in both() {
        scratch.sql("CREATE TABLE calls (id BIGINT, number TEXT NOT NULL)");
        scratch.sql("INSERT INTO calls VALUES (100, 'old')");
        let mut sink = sink(&scratch);
        sink.begin_run(&run(1)).unwrap();
        deliver(&mut sink, &split_of(1, "0000"), calls([(1, Some("fine")), (2, None)])).unwrap();
        let error = sink.finish_run(&run(1)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.starts_with("table calls keeps its old rows: "), "{error}");
        assert_eq!(scratch.rows(ALL), ["100"]);
    }
}

#[test]
fn dead_letters_that_are_tried_again_replace_nothing_and_no_delivery_leaves_everything() {
    for mut scratch in both() {
        let mut sink = sink(&scratch);
        sink.begin_run(&run(1)).unwrap();
        deliver(&mut sink, &split_of(1, "0000"), calls([(1, None)])).unwrap();
        sink.finish_run(&run(1)).unwrap();
        let replay = SinkRun { replay: true, ..run(2) };
        sink.begin_run(&replay).unwrap();
        deliver(&mut sink, &split_of(2, "0000"), calls([(2, None)])).unwrap();
        sink.finish_run(&replay).unwrap();
        sink.begin_run(&run(3)).unwrap();
        sink.finish_run(&run(3)).unwrap();
        assert_eq!(scratch.rows(ALL), ["1", "2"]);
    }
}

#[test]
fn replacing_needs_transactions() {
    let scratch = Scratch::sqlite();
    let config = scratch.with(json!({"table": "calls", "mode": "replace", "transactions": false}));
    let error = scratch.host.open::<AdbcSink>(config).err().unwrap();
    assert_eq!(error.message, "`mode: replace` needs transactions");
}
