//! Deliveries, refused rows, keys, tables.

use arrow_array::TimestampMicrosecondArray;

use super::*;

const FIFTY: &str = "CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50))";

fn open(host: &Host, scratch: &Scratch, more: serde_json::Value) -> PostgresSink {
    let mut config = json!({"url": scratch.url(), "table": "calls"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.open(config).unwrap()
}

#[test]
fn rows_land_by_column_name_and_the_others_get_their_defaults() {
    let mut scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE calls (serial serial PRIMARY KEY, number varchar(50), id integer, note text DEFAULT 'none')",
    );
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    let receipt = deliver(&mut sink, 1, calls([(7, Some("2432")), (8, None)])).unwrap();
    assert_eq!(receipt.rows, 2);
    assert_eq!(
        scratch.rows("SELECT serial, number, id, note FROM calls ORDER BY serial"),
        ["1|2432|7|none", "2|NULL|8|none"]
    );
}

#[test]
fn a_text_too_long_for_its_column_does_not_cost_its_neighbours() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    let (fits, long) = ("ü".repeat(50), "ü".repeat(51));
    let rows = calls([(1, Some("a")), (2, Some(long.as_str())), (3, Some(fits.as_str())), (4, Some("nul\0"))]);
    assert_eq!(deliver(&mut sink, 1, rows).unwrap().rows, 2);
    assert_eq!(scratch.rows("SELECT id FROM calls ORDER BY id"), ["1", "3"]);
    let rejections = host.rejections();
    assert_eq!(rejections[0].code, "too_long");
    assert_eq!(rejections[0].reason, "number: 51 characters do not fit varchar(50)");
    assert_eq!(rejections[0].rows, Some(calls([(2, Some(long.as_str()))])));
    assert_eq!(rejections[1].code, "nul_byte");
}

#[test]
fn rows_that_only_the_server_can_refuse_are_found_by_halving() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number text CHECK (number <> 'bad'))");
    scratch.sql("INSERT INTO calls VALUES (500, 'there before')");
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    // Id 500 is there, 700 comes twice, and row 900 breaks the check.
    let mut rows: Vec<(i64, Option<&str>)> = (0..1000).map(|id| (id, Some("fine"))).collect();
    rows.push((700, Some("second")));
    rows[900].1 = Some("bad");
    assert_eq!(deliver(&mut sink, 1, calls(rows)).unwrap().rows, 998);
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["999"]);
    assert_eq!(scratch.rows("SELECT number FROM calls WHERE id IN (500, 700) ORDER BY id"), ["there before", "fine"]);
    let rejections = host.rejections();
    let found: Vec<_> = rejections.iter().map(|rejected| rejected.code.as_str()).collect();
    assert_eq!(found, ["duplicate", "check", "duplicate"]);
    assert!(rejections[0].reason.contains("(id)=(500)"), "{}", rejections[0].reason);
    assert_eq!(rejections[2].rows, Some(calls([(700, Some("second"))])));
}

#[test]
fn rows_that_triggers_and_indexes_refuse_in_their_own_ways_are_found_by_halving() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number text); CREATE INDEX ON calls (number)");
    scratch.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF new.number = 'code' THEN RAISE 'not this one' USING ERRCODE = 'BZ007'; END IF;
            ASSERT new.number <> 'assert', 'nor this one';
            RETURN new;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON calls FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    // Too big for a row of the index, and of many characters, so that it cannot be compressed.
    let long: String = (0..20_000).filter_map(|at| char::from_u32(0x4e00 + at)).collect();
    let mut rows: Vec<(i64, Option<&str>)> = (0..100).map(|id| (id, Some("fine"))).collect();
    for (at, number) in [(20, "code"), (40, "assert"), (60, long.as_str())] {
        rows[at].1 = Some(number);
    }
    assert_eq!(deliver(&mut sink, 1, calls(rows)).unwrap().rows, 97);
    assert_eq!(scratch.rows("SELECT count(*), count(DISTINCT id) FROM calls"), ["97|97"]);
    let reasons: Vec<_> = host.rejections().into_iter().map(|rejected| rejected.reason).collect();
    assert_eq!(reasons.len(), 3);
    for (reason, state) in reasons.iter().zip(["BZ007", "P0004", "54000"]) {
        assert!(reason.contains(state), "{state}: {reason}");
    }
}

#[test]
fn a_transaction_that_the_server_ends_for_being_idle_is_unavailable() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let url = format!("{}%20-cidle_in_transaction_session_timeout%3D100", scratch.url());
    let mut sink = open(&host, &scratch, json!({"url": url}));
    assert_eq!(sink.begin_split(&delivery(1)).unwrap(), Begun::New);
    let written = sink.write(&delivery(1), Batches::once(calls([(1, None)])));
    let held = "SELECT count(*) FROM pg_locks WHERE relation = 'calls'::regclass AND pid <> pg_backend_pid()";
    while scratch.rows(held) != ["0"] {}
    let error = written.and_then(|_| sink.commit(&delivery(1))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["0"]);
}

#[test]
fn numbers_and_nulls_that_do_not_fit_are_refused_before_they_are_sent() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id smallint, number text NOT NULL)");
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    deliver(&mut sink, 1, calls([(1, Some("a")), (70_000, Some("b")), (3, None)])).unwrap();
    assert_eq!(scratch.rows("SELECT id FROM calls"), ["1"]);
    let reasons: Vec<_> = host.rejections().iter().map(|rejected| rejected.reason.clone()).collect();
    assert_eq!(reasons, ["id: 70000 does not fit smallint", "number: null, and the table wants a value"]);
}

#[test]
fn a_delivery_is_committed_once_whatever_is_asked_twice() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    let receipt = deliver(&mut sink, 1, calls([(1, None)])).unwrap();
    assert_eq!(sink.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt: receipt.clone() });
    // An engine that was started again asks through another connection.
    let mut again = open(&host, &scratch, json!({}));
    assert_eq!(again.begin_split(&delivery(1)).unwrap(), Begun::Committed { receipt });
    assert_eq!(again.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn of_two_who_deliver_the_same_key_one_is_told_to_ask_again() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number text)");
    let host = Host::new();
    let (mut first, mut second) = (open(&host, &scratch, json!({})), open(&host, &scratch, json!({})));
    for sink in [&mut first, &mut second] {
        assert_eq!(sink.begin_split(&delivery(1)).unwrap(), Begun::New);
        sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    }
    first.commit(&delivery(1)).unwrap();
    assert_eq!(second.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
    assert!(matches!(second.begin_split(&delivery(1)).unwrap(), Begun::Committed { .. }));
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn nothing_is_left_of_an_aborted_delivery_and_it_can_be_written_again() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    sink.begin_split(&delivery(1)).unwrap();
    sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    sink.abort(&delivery(1)).unwrap();
    sink.abort(&delivery(1)).unwrap();
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["0"]);
    deliver(&mut sink, 1, calls([(1, None)])).unwrap();
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn nothing_is_left_of_a_delivery_whose_engine_went_away_before_the_commit() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    sink.begin_split(&delivery(1)).unwrap();
    sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    drop(sink);
    let mut sink = open(&host, &scratch, json!({}));
    deliver(&mut sink, 1, calls([(1, None)])).unwrap();
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn a_connection_that_is_cut_before_the_commit_makes_it_unavailable_and_the_next_try_works() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    sink.begin_split(&delivery(1)).unwrap();
    sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap();
    let cut = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_locks WHERE pid <> pg_backend_pid() \
        AND relation = 'calls'::regclass";
    assert_eq!(scratch.rows(cut), ["1"]);
    assert_eq!(sink.commit(&delivery(1)).unwrap_err().kind, ErrorKind::Unavailable);
    deliver(&mut sink, 1, calls([(1, None)])).unwrap();
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn keys_of_settled_windows_are_forgotten() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    deliver(&mut sink, 1, calls([(1, None)])).unwrap();
    deliver(&mut sink, 2, calls([(2, None)])).unwrap();
    let last = Delivery { settled_before: 2, ..delivery(3) };
    sink.begin_split(&last).unwrap();
    sink.write(&last, Batches::once(calls([(3, None)]))).unwrap();
    sink.commit(&last).unwrap();
    assert_eq!(scratch.rows("SELECT win FROM _engine_commits ORDER BY win"), ["2", "3"]);
}

#[test]
fn upsert_replaces_rows_by_key_and_the_last_of_a_key_stays() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(50), kept text DEFAULT 'kept')");
    scratch.sql("INSERT INTO calls VALUES (1, 'old', 'mine')");
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({"mode": "upsert", "key": ["id"]}));
    let rows = calls([(1, Some("first")), (2, Some("b")), (1, Some("last"))]);
    assert_eq!(deliver(&mut sink, 1, rows).unwrap().rows, 3);
    assert_eq!(scratch.rows("SELECT * FROM calls ORDER BY id"), ["1|last|mine", "2|b|kept"]);
    deliver(&mut sink, 2, calls([(2, Some("c"))])).unwrap();
    assert_eq!(scratch.rows("SELECT number FROM calls WHERE id = 2"), ["c"]);
}

/// Its SQLSTATE is also that of some texts which their types cannot read.
#[test]
fn what_is_wrong_with_the_table_costs_no_row() {
    for (mode, default, column) in [
        (json!({"mode": "upsert", "key": ["id"]}), "text DEFAULT current_setting('app.tenant')", "integer"),
        (json!({"mode": "append"}), "bigint DEFAULT nextval('no_such_sequence'::text)", "tsquery"),
    ] {
        let mut scratch = Scratch::new();
        scratch.sql(&format!("CREATE TABLE calls (id {column} UNIQUE, tenant {default})"));
        let host = Host::new();
        let mut sink = open(&host, &scratch, mode);
        let ids = batch(vec![("id", Arc::new(StringArray::from(vec!["1", "2", "3"])) as ArrayRef)]);
        let error = deliver(&mut sink, 1, ids).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        assert_eq!(host.rejections().len(), 0);
        assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["0"]);
    }
}

#[test]
fn upsert_without_a_unique_index_says_so() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number text)");
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({"mode": "upsert", "key": ["id"]}));
    let error = deliver(&mut sink, 1, calls([(1, None)])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.hint.unwrap().contains("unique index"));
}

#[test]
fn a_missing_table_is_made_from_the_stream_or_by_a_statement() {
    let mut scratch = Scratch::new();
    let host = Host::new();
    let mut derived = open(&host, &scratch, json!({"create": true, "mode": "upsert", "key": ["id"]}));
    assert!(derived.check().unwrap().summary.contains("will be created"));
    deliver(&mut derived, 1, calls([(1, Some("a"))])).unwrap();
    deliver(&mut derived, 2, calls([(1, Some("b"))])).unwrap();
    assert_eq!(scratch.rows("SELECT * FROM calls"), ["1|b"]);

    let ddl = "CREATE TABLE stated (row serial PRIMARY KEY, id integer NOT NULL, number varchar(50)); CREATE INDEX ON stated (id)";
    let mut stated = open(&host, &scratch, json!({"table": "stated", "create": {"ddl": ddl}}));
    deliver(&mut stated, 3, calls([(1, Some("a"))])).unwrap();
    // The statement is not run again, although it has no IF NOT EXISTS.
    let mut again = open(&host, &scratch, json!({"table": "stated", "create": {"ddl": ddl}}));
    deliver(&mut again, 4, calls([(2, Some("b"))])).unwrap();
    assert_eq!(scratch.rows("SELECT row, id FROM stated ORDER BY 1"), ["1|1", "2|2"]);
}

#[test]
fn two_engines_can_make_the_same_table_at_once() {
    let mut scratch = Scratch::new();
    let url = scratch.url();
    std::thread::scope(|scope| {
        for window in 0..4 {
            let url = url.clone();
            scope.spawn(move || {
                let host = Host::new();
                let mut sink: PostgresSink = host.open(json!({"url": url, "table": "calls", "create": true})).unwrap();
                deliver(&mut sink, window, calls([(window as i64, None)])).unwrap();
            });
        }
    });
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["4"]);
}

#[test]
fn names_with_quotes_keywords_and_other_letters_are_just_names() {
    let mut scratch = Scratch::new();
    let host = Host::new();
    let rows = batch(vec![
        ("select", Arc::new(Int64Array::from(vec![1]))),
        ("it's \"quoted\"", Arc::new(StringArray::from(vec!["'); DROP TABLE x; --"]))),
        ("größe 数", Arc::new(StringArray::from(vec!["ß"]))),
    ]);
    let table = format!("{}.\"or\"\"der.by\"", scratch.schema);
    let config = json!({"table": table, "create": true, "mode": "upsert", "key": ["it's \"quoted\""]});
    let mut sink = open(&host, &scratch, config);
    deliver(&mut sink, 1, rows.clone()).unwrap();
    assert_eq!(scratch.rows("SELECT * FROM \"or\"\"der.by\""), ["1|'); DROP TABLE x; --|ß"]);
    let mut source: PostgresSource = host.open(json!({"url": scratch.url(), "table": table})).unwrap();
    assert_eq!(read(&mut source).unwrap(), rows);
}

#[test]
fn text_is_cast_by_the_server_into_types_that_have_no_binary_form_here() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN short AS varchar(3)");
    scratch.sql("CREATE TABLE calls (id numeric, number mood, place inet, list integer[], at timestamp, code short, bits bit(3))");
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    let text = |values: [&str; 5]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let rows = batch(vec![
        ("id", text(["1.50", "2", "3", "4", "5"])),
        ("number", text(["good", "ugly", "bad", "bad", "bad"])),
        ("place", text(["10.0.0.1"; 5])),
        ("list", text(["{1,2}"; 5])),
        ("at", text(["2025-09-17 15:44:08", "2025-09-17", "yesterday-ish", "2025-09-17", "2025-09-17"])),
        ("code", text(["abc", "abc", "abc", "abcd", "abc"])),
        ("bits", text(["101", "101", "101", "101", "1011"])),
    ]);
    assert_eq!(deliver(&mut sink, 1, rows).unwrap().rows, 1);
    assert_eq!(scratch.rows("SELECT * FROM calls"), ["1.50|good|10.0.0.1|{1,2}|2025-09-17 15:44:08|abc|101"]);
    assert_eq!(host.rejections().len(), 4);
}

#[test]
fn a_stream_that_does_not_fit_the_table_is_told_what_would() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (ident bigint NOT NULL, number date)");
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    let error = deliver(&mut sink, 1, calls([(1, None)])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert_eq!(error.message, "table calls has no column `id`");
    assert!(error.hint.unwrap().contains("ident"));

    let rows = batch(vec![("number", Arc::new(StringArray::from(vec!["2025-01-01"])))]);
    let error = deliver(&mut sink, 1, rows).unwrap_err();
    assert!(error.message.contains("no column `ident`"), "{error}");

    let rows = batch(vec![
        ("ident", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("number", Arc::new(Int64Array::from(vec![1]))),
    ]);
    let error = deliver(&mut sink, 1, rows).unwrap_err();
    assert!(error.message.contains("Int64 in the stream and date in the table"), "{error}");

    let mut sink = open(&host, &scratch, json!({"table": "cals"}));
    let error = sink.begin_split(&delivery(1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert_eq!(error.hint.unwrap(), "did you mean calls?");
}

#[test]
fn a_deferred_constraint_fails_the_write_and_not_the_commit() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE parents (id bigint PRIMARY KEY)");
    scratch.sql("CREATE TABLE calls (id bigint REFERENCES parents DEFERRABLE INITIALLY DEFERRED, number text)");
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    sink.begin_split(&delivery(1)).unwrap();
    let error = sink.write(&delivery(1), Batches::once(calls([(1, None)]))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "what is `Rejected` would bury every row: {error}");
    assert!(error.hint.unwrap().contains("NOT DEFERRABLE"));
    assert_eq!(host.rejections(), vec![]);
    // Once the constraint holds, the same delivery goes through.
    scratch.sql("INSERT INTO parents VALUES (1)");
    deliver(&mut sink, 1, calls([(1, None)])).unwrap();
}

#[test]
fn a_moment_out_of_range_is_refused_alone() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (at timestamp)");
    let host = Host::new();
    let mut sink = open(&host, &scratch, json!({}));
    let rows = batch(vec![("at", Arc::new(TimestampMicrosecondArray::from(vec![0, i64::MIN, 1])))]);
    deliver(&mut sink, 1, rows).unwrap();
    assert_eq!(scratch.rows("SELECT at FROM calls"), ["1970-01-01 00:00:00", "1970-01-01 00:00:00.000001"]);
    assert_eq!(host.rejections().iter().filter(|rejected| rejected.code == "out_of_range").count(), 1);
}

#[test]
fn settings_that_contradict_each_other_are_refused_at_once() {
    let host = Host::new();
    let url = "postgres://localhost/x";
    let without = refused::<PostgresSink>(&host, json!({"url": url, "table": "t", "mode": "upsert"}));
    assert!(without.message.contains("needs `key`"));
    let useless = refused::<PostgresSink>(&host, json!({"url": url, "table": "t", "key": ["id"]}));
    assert_eq!(useless.kind, ErrorKind::Config);
}

#[test]
fn a_login_that_may_not_insert_is_found_by_check() {
    let mut scratch = Scratch::new();
    scratch.sql(FIFTY);
    let role = format!("reader_{}", scratch.schema);
    scratch.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA {} TO {role}", scratch.schema));
    let address = scratch.url();
    let at = address.rfind('@').unwrap();
    let host = Host::new();
    let config = json!({"url": format!("postgres://{role}:x{}", &address[at..]), "table": "calls"});
    let mut sink: PostgresSink = host.open(config).unwrap();
    assert_eq!(sink.check().unwrap_err().kind, ErrorKind::Denied);
    // The table of keys cannot be made either, and the hint says how it looks.
    let error = sink.begin_split(&delivery(1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.hint.unwrap().contains("CREATE TABLE IF NOT EXISTS"));
    drop(sink);
    scratch.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
