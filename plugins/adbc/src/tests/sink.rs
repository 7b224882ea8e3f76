//! What arrives, and what does not.

use super::*;

#[test]
fn rows_land_by_column_name_and_the_others_get_their_defaults() {
    for mut scratch in both() {
        scratch.sql("CREATE TABLE calls (note VARCHAR(9) DEFAULT 'none', number TEXT, id BIGINT)");
        let mut sink = scratch.sink(json!({}));
        assert!(sink.check().unwrap().summary.ends_with("table calls found"));
        let receipt = deliver(&mut sink, &delivery(1), calls([(7, Some("2432")), (8, None)])).unwrap();
        assert_eq!((receipt.rows, receipt.location.as_deref()), (2, Some("calls")));
        assert_eq!(scratch.rows("SELECT note, number, id FROM calls ORDER BY id"), ["none|2432|7", "none|NULL|8"]);
    }
}

#[test]
fn a_missing_table_is_made_only_if_that_is_asked_for() {
    for mut scratch in both() {
        let error = scratch.sink(json!({})).check().unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Config, "there is no table calls"));
        let error = deliver(&mut scratch.sink(json!({})), &delivery(1), calls([(1, None)])).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Config, "there is no table calls"));
        let mut sink = scratch.sink(json!({"create": true}));
        assert!(sink.check().unwrap().summary.ends_with("table calls will be created"));
        deliver(&mut sink, &delivery(1), calls([])).unwrap();
        deliver(&mut sink, &delivery(2), calls([(1, None)])).unwrap();
        deliver(&mut scratch.sink(json!({"create": true})), &delivery(3), calls([(2, None)])).unwrap();
        assert_eq!(scratch.rows("SELECT * FROM calls ORDER BY id"), ["1|NULL", "2|NULL"]);
    }
}

#[test]
fn a_stream_that_does_not_fit_the_table_is_told_what_would() {
    for mut scratch in both() {
        scratch.sql("CREATE TABLE calls (ident BIGINT, number TEXT)");
        let error = deliver(&mut scratch.sink(json!({})), &delivery(1), calls([(1, None)])).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Config, "table calls has no column `id`"));
        assert!(error.hint.unwrap().contains("ident"));
    }
}

#[test]
fn a_column_of_a_type_that_the_driver_does_not_know_is_a_mistake_of_the_pipeline() {
    for scratch in both() {
        let inner = Arc::new(Field::new("inner", DataType::Int64, true));
        let outer = arrow_array::StructArray::from(vec![(inner, Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
        let rows = batch(vec![("outer", Arc::new(outer) as ArrayRef)]);
        let error = deliver(&mut scratch.sink(json!({"create": true})), &delivery(1), rows).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
    }
}

#[test]
fn a_delivery_is_committed_once_whatever_is_asked_twice() {
    for mut scratch in both() {
        let mut sink = scratch.sink(json!({"create": true}));
        let receipt = deliver(&mut sink, &delivery(1), calls([(1, None)])).unwrap();
        assert_eq!(sink.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt: receipt.clone() });
        drop(sink);
        let mut again = scratch.sink(json!({}));
        assert_eq!(again.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt });
        assert_eq!(again.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
        // Somebody who did not ask is stopped by the key.
        again.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
        let error = again.commit(&delivery(1)).unwrap_err();
        assert!(error.message.contains("was committed by somebody else"), "{error}");
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert_eq!(scratch.rows("SELECT COUNT(*) FROM calls"), ["1"]);
    }
}

#[test]
fn nothing_is_left_of_a_delivery_that_is_aborted_or_whose_engine_went_away() {
    for mut scratch in both() {
        let mut sink = scratch.sink(json!({"create": true}));
        deliver(&mut sink, &delivery(1), calls([(1, None)])).unwrap();
        sink.write(&delivery(2), Batches::once(calls([(2, None)]))).unwrap();
        sink.abort(&delivery(2)).unwrap();
        sink.abort(&delivery(2)).unwrap();
        sink.write(&delivery(2), Batches::once(calls([(2, None)]))).unwrap();
        drop(sink);
        assert_eq!(scratch.rows("SELECT id FROM calls"), ["1"]);
        deliver(&mut scratch.sink(json!({})), &delivery(2), calls([(2, None)])).unwrap();
        assert_eq!(scratch.rows("SELECT id FROM calls ORDER BY id"), ["1", "2"]);
    }
}

#[test]
fn rows_that_end_before_their_end_leave_nothing_and_keep_their_reason() {
    for mut scratch in both() {
        let mut sink = scratch.sink(json!({"create": true}));
        deliver(&mut sink, &delivery(1), calls([(1, None)])).unwrap();
        let cut = broken(calls([(2, None)]), Error::denied("the file is not yours").hint("ask for it"));
        let error = sink.write(&delivery(2), cut).unwrap_err();
        assert_eq!(error, Error::denied("the file is not yours").hint("ask for it"));
        assert_eq!(scratch.rows("SELECT id FROM calls"), ["1"]);
        // The table that a delivery makes goes with it.
        let mut sink = scratch.sink(json!({"create": true, "table": "others"}));
        sink.write(&delivery(3), broken(calls([(2, None)]), Error::unavailable("gone"))).unwrap_err();
        assert!(scratch.sink(json!({"table": "others"})).check().is_err());
    }
}

#[test]
fn a_row_that_the_table_refuses_stops_the_delivery_and_leaves_nothing() {
    for mut scratch in both() {
        scratch.sql("CREATE TABLE calls (id BIGINT PRIMARY KEY, number TEXT NOT NULL)");
        let mut sink = scratch.sink(json!({}));
        for rows in [calls([(1, Some("a")), (2, None)]), calls([(1, Some("a")), (1, Some("b"))])] {
            let error = deliver(&mut sink, &delivery(1), rows).unwrap_err();
            // No row is known to be bad, so none may be buried. That of SQLite does not even tell that it is a row.
            let kind = if scratch.is_postgres() { ErrorKind::Config } else { ErrorKind::Unavailable };
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.starts_with("rows for table calls: the driver refused: "), "{error}");
        }
        assert_eq!(scratch.rows("SELECT id FROM calls"), Vec::<String>::new());
        deliver(&mut sink, &delivery(1), calls([(1, Some("a"))])).unwrap();
        assert_eq!(scratch.rows("SELECT id FROM calls"), ["1"]);
    }
}

#[test]
fn a_sink_that_is_asked_to_stop_does_and_leaves_nothing() {
    for mut scratch in both() {
        scratch.sql("CREATE TABLE calls (id BIGINT, number TEXT)");
        let mut sink = scratch.sink(json!({}));
        assert_eq!(sink.begin_split(&delivery(1)).unwrap(), Begun::New);
        let rows = calls([(1, None)]);
        let host = &scratch.host as *const Host as usize;
        let endless = std::iter::repeat_n(rows.clone(), usize::MAX).enumerate().map(move |(at, rows)| {
            if at == 3 {
                // SAFETY: the host outlives the write, which takes these rows.
                unsafe { &*(host as *const Host) }.cancel();
            }
            Ok(rows)
        });
        let error = sink.write(&delivery(1), Batches::new(rows.schema(), endless)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled);
        assert_eq!(scratch.rows("SELECT id FROM calls"), Vec::<String>::new());
    }
}

#[test]
fn the_keys_may_stand_in_the_table_of_the_database_s_own_connector() {
    for mut scratch in both() {
        scratch.sql(
            "CREATE TABLE _engine_commits (state text, pipeline text, sink text, win bigint, split text, \
             receipt text NOT NULL, committed_at text NOT NULL DEFAULT 'now', \
             PRIMARY KEY (state, pipeline, sink, win, split))",
        );
        let mut sink = scratch.sink(json!({"create": true}));
        let receipt = deliver(&mut sink, &delivery(1), calls([(1, None)])).unwrap();
        assert_eq!(sink.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt });
    }
}

#[test]
fn keys_of_settled_windows_are_forgotten() {
    for mut scratch in both() {
        let mut sink = scratch.sink(json!({"create": true}));
        deliver(&mut sink, &delivery(1), calls([(1, None)])).unwrap();
        deliver(&mut sink, &Delivery { settled_before: 2, ..delivery(2) }, calls([(2, None)])).unwrap();
        assert_eq!(scratch.rows("SELECT \"split\" FROM \"_engine_commits\""), ["0000"]);
        assert_eq!(sink.begin_split(&delivery(1)).unwrap(), Begun::New, "the engine never asks for it again");
    }
}

#[test]
fn names_with_quotes_keywords_and_other_letters_are_just_names() {
    for mut scratch in both() {
        let rows = batch(vec![
            ("select", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
            ("it's \"quoted\" :v0 ?", Arc::new(StringArray::from(vec!["'); DROP TABLE x; --"]))),
            ("größe 数", Arc::new(StringArray::from(vec!["ß"]))),
        ]);
        let table = "\"or\"\"der.by'; DROP TABLE x; --\"";
        for mode in ["append", "replace"] {
            let mut sink = scratch.sink(json!({"table": table, "create": true, "mode": mode}));
            let run = run_of(1);
            sink.begin_run(&run).unwrap();
            let delivery = Delivery { sink: mode.into(), ..delivery(1) };
            deliver(&mut sink, &delivery, rows.clone()).unwrap();
            sink.finish_run(&run).unwrap();
            assert_eq!(texts(&read(&mut scratch.source(json!({"table": table}))).unwrap()), texts(&rows), "{mode}");
        }
        let schema = scratch.schema.clone().unwrap_or("main".into());
        let table = format!("{schema}.{table}");
        let mut source = scratch.source(json!({"table": table, "cursor": {"column": "it's \"quoted\" :v0 ?"}}));
        assert_eq!(texts(&read(&mut source).unwrap()), texts(&rows));
        scratch.sql("CREATE TABLE still_there (id BIGINT)");
    }
}

fn run_of(window: u64) -> SinkRun {
    SinkRun {
        state: "state".into(),
        pipeline: "test".into(),
        sink: "adbc".into(),
        window,
        splits: vec!["0000".into()],
        replay: false,
    }
}

#[test]
fn without_transactions_rows_are_there_at_once_and_no_key_is_kept() {
    for mut scratch in both() {
        let mut sink = scratch.sink(json!({"create": true, "transactions": false}));
        for _ in 0..2 {
            assert_eq!(sink.begin_split(&delivery(1)).unwrap(), Begun::New);
            sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
            sink.abort(&delivery(1)).unwrap();
        }
        assert_eq!(scratch.rows("SELECT id FROM calls"), ["1", "1"], "what cannot be taken back stays");
        deliver(&mut sink, &delivery(1), calls([(2, None)])).unwrap();
        assert_eq!(scratch.rows("SELECT COUNT(*) FROM calls"), ["3"]);
        assert!(scratch.sink(json!({"table": "_engine_commits"})).check().is_err());
    }
}

#[test]
fn two_sinks_with_long_names_are_told_apart_or_refused() {
    let scratch = Scratch::sqlite();
    let mut sink = scratch.sink(json!({"create": true}));
    let long = Delivery { pipeline: "p".repeat(151), ..delivery(1) };
    let error = sink.begin_split(&long).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
}
