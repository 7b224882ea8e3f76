//! What is read: values in queries, what is new, and results that end early.

use engine_sdk::database::Position;

use super::*;

fn values(source: &mut AdbcSource, plan: &Plan) -> Vec<String> {
    plan.splits.iter().flat_map(|split| texts(&read_split(source, split).unwrap())).collect()
}

fn plan(source: &mut AdbcSource, cursor: Option<Value>) -> Plan {
    source.plan(&PlanRequest { cursor, ..PlanRequest::default() }).unwrap()
}

#[test]
fn what_a_parameter_holds_is_a_value_and_never_sql() {
    for mut scratch in both() {
        scratch.sql("CREATE TABLE calls (number TEXT)");
        scratch.sql("INSERT INTO calls VALUES ('kept')");
        for hostile in ["'; DROP TABLE calls; --", "\\", "x' OR 'a' = 'a", ":number", "/*", "$1", "?", "`", "größe"] {
            let query = "SELECT CAST(:value AS VARCHAR(99)) AS v, -:n AS n, :value = number AS same FROM calls -- all";
            let mut source = scratch.source(json!({"query": query, "parameters": {"value": hostile, "n": 1}}));
            let (planned, is_postgres) = (plan(&mut source, None), scratch.is_postgres());
            let same = if is_postgres { "false" } else { "0" };
            let batch = read_split(&mut source, &planned.splits[0]).unwrap();
            let shown = |at: usize| arrow_cast::display::array_value_to_string(batch.column(at), 0).unwrap();
            assert_eq!((shown(0), shown(1), shown(2)), (hostile.into(), "-1".into(), same.into()));
            let cursor = json!({"table": "calls", "cursor": {"column": "number", "start": hostile}});
            scratch
                .source(cursor)
                .plan(&PlanRequest { cursor: Some(json!(hostile)), ..PlanRequest::default() })
                .unwrap();
        }
        assert_eq!(scratch.rows("SELECT number FROM calls"), ["kept"]);
    }
}

#[test]
fn values_keep_their_kinds() {
    for scratch in both() {
        let query = "SELECT :whole AS a, :part AS b, :none AS c, :text AS d";
        let parameters = json!({"whole": i64::MAX, "part": 0.1, "none": null, "text": "18446744073709551615"});
        let rows = read(&mut scratch.source(json!({"query": query, "parameters": parameters}))).unwrap();
        assert_eq!(texts(&rows), ["9223372036854775807|0.1|NULL|18446744073709551615"]);
    }
}

#[test]
fn a_cursor_reads_what_is_new_and_no_tie_twice_or_never() {
    for mut scratch in both() {
        scratch.sql("CREATE TABLE calls (id INTEGER, number TEXT)");
        scratch.sql("INSERT INTO calls VALUES (1, 'a'), (2, 'b'), (2, 'c'), (NULL, 'none')");
        let mut source = scratch.source(json!({"table": "calls", "cursor": {"column": "id", "start": 2}}));
        assert!(source.check().unwrap().summary.contains("table calls"));
        let first = plan(&mut source, None);
        assert_eq!(first.upper, Some(json!(2)));
        scratch.sql("INSERT INTO calls VALUES (10, 'd'), (9, 'e')");
        assert_eq!(values(&mut source, &first), ["2|b", "2|c"]);
        let second = plan(&mut source, first.upper);
        assert_eq!(second.upper, Some(json!(10)));
        assert_eq!(values(&mut source, &second), ["9|e", "10|d"]);
        let third = plan(&mut source, second.upper);
        assert_eq!((third.upper, third.splits.len()), (None, 0));
        let old = source
            .plan(&PlanRequest { cursor: Some(json!(1)), upper: Some(json!(9)), ..PlanRequest::default() })
            .unwrap();
        assert_eq!(old.upper, Some(json!(9)));
        assert_eq!(values(&mut source, &old), ["2|b", "2|c", "9|e"]);
    }
}

#[test]
fn a_cursor_with_a_key_takes_up_among_equal_values_where_it_ended() {
    for mut scratch in both() {
        scratch.sql("CREATE TABLE calls (number TEXT, day DATE, id INTEGER)");
        scratch.sql("INSERT INTO calls VALUES ('b', '2026-01-02', 7), ('a', '2026-01-02', 3)");
        let query = "SELECT number, day, id FROM calls WHERE number <> :number -- all";
        let mut source = scratch.source(json!({
            "query": query, "parameters": {"number": "x"}, "cursor": {"column": "day", "key": "id"}
        }));
        let first = plan(&mut source, None);
        assert_eq!(first.upper, Some(json!(Position::Keyed { value: "2026-01-02".into(), key: 7.into() })));
        assert_eq!(values(&mut source, &first), ["a|2026-01-02|3", "b|2026-01-02|7"]);
        scratch.sql("INSERT INTO calls VALUES ('c', '2026-01-02', 8), ('d', '2026-01-03', 1)");
        let second = plan(&mut source, first.upper);
        assert_eq!(values(&mut source, &second), ["c|2026-01-02|8", "d|2026-01-03|1"]);
        scratch.sql("INSERT INTO calls VALUES ('e', '2026-01-04', NULL)");
        let error = source.plan(&PlanRequest { cursor: second.upper, ..PlanRequest::default() }).unwrap_err();
        assert!(error.message.contains("no value in `id`"), "{error}");
    }
}

#[test]
fn times_of_a_cursor_are_compared_as_times_to_their_last_digit() {
    let mut scratch = Scratch::postgres();
    for data_type in ["timestamp", "timestamptz"] {
        scratch.sql(&format!("CREATE TABLE calls (at {data_type}, number text)"));
        scratch.sql(
            "INSERT INTO calls VALUES ('2026-01-02 10:00:00.123456Z', 'a'), ('2026-01-02 10:00:00.123457Z', 'b'), \
             (now() + interval '1 day', 'later')",
        );
        let cursor = json!({"column": "at", "start": "2026-01-02T10:00:00.123456Z", "lag": "1m"});
        let mut source = scratch.source(json!({"table": "calls", "cursor": cursor}));
        let first = plan(&mut source, None);
        assert_eq!(first.upper, Some(json!("2026-01-02T10:00:00.123457")));
        let shown = |values: Vec<String>| values.iter().map(|row| row[row.len() - 1..].to_owned()).collect::<String>();
        assert_eq!(shown(values(&mut source, &first)), "ab");
        scratch.sql("INSERT INTO calls VALUES ('2026-01-02 10:00:00.123458Z', 'c')");
        let second = plan(&mut source, first.upper);
        assert_eq!(shown(values(&mut source, &second)), "c");
        scratch.sql("DROP TABLE calls");
    }
    scratch.sql("CREATE TABLE calls (amount numeric(9, 2), number text)");
    let mut source = scratch.source(json!({"table": "calls", "cursor": {"column": "amount"}}));
    let error = source.check().unwrap_err();
    assert!(error.message.contains("`amount`") && error.message.contains("cannot be a cursor"), "{error}");
    let mut source = scratch.source(json!({"table": "calls", "cursor": {"column": "number", "lag": "1m"}}));
    assert!(source.check().unwrap_err().message.contains("is for columns of times"));
    let mut source = scratch.source(json!({"table": "calls", "cursor": {"column": "nmber"}}));
    assert_eq!(source.check().unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn a_query_that_names_its_window_goes_by_the_values_of_another() {
    for mut scratch in both() {
        scratch.sql("CREATE TABLE details (account TEXT, loaded DATE)");
        scratch.sql("CREATE TABLE payments (account TEXT, loaded DATE)");
        scratch.sql("INSERT INTO details VALUES ('a', '2026-01-01'), ('b', '2026-01-01')");
        scratch.sql("INSERT INTO payments VALUES ('b', '2026-01-02')");
        let query = "SELECT account FROM details WHERE account IN (
            SELECT account FROM details WHERE loaded > :window_start AND loaded <= :window_end
            UNION SELECT account FROM payments WHERE loaded > :window_start AND loaded <= :window_end) ORDER BY 1 -- all";
        let values_of = "SELECT loaded FROM details UNION ALL SELECT loaded FROM payments -- all";
        let mut source = scratch.source(json!({"query": query, "cursor": {"query": values_of, "start": "1900-01-01"}}));
        let first = plan(&mut source, None);
        assert_eq!(first.upper, Some(json!("2026-01-02")));
        assert_eq!(values(&mut source, &first), ["a", "b"]);
        let second = plan(&mut source, Some(json!("2026-01-01")));
        assert_eq!(values(&mut source, &second), ["b"]);
    }
}

#[test]
fn a_result_comes_batch_by_batch() {
    for mut scratch in both() {
        let query = "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 5000) \
            SELECT n, 'text' AS text FROM count ORDER BY n";
        let statement = if scratch.is_postgres() {
            json!({"adbc.postgresql.batch_size_hint_bytes": 16384})
        } else {
            json!({"adbc.sqlite.query.batch_rows": 100})
        };
        let mut source = scratch.source(json!({"query": query, "statement": statement}));
        let plan = plan(&mut source, None);
        let batches = source.read(&plan.splits[0]).unwrap().collect::<Result<Vec<_>>>().unwrap();
        assert!(batches.len() > 5, "{} batches", batches.len());
        assert_eq!(scratch.host.records(), 5000);
        scratch.sql("CREATE TABLE done (id BIGINT)");
    }
}

#[test]
fn an_error_in_the_middle_of_a_result_is_not_its_end() {
    for scratch in both() {
        let is_postgres = scratch.is_postgres();
        let fails =
            if is_postgres { "1 / (3000 - n)" } else { "abs(CASE n WHEN 3000 THEN -9223372036854775808 ELSE n END)" };
        let query = format!(
            "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 5000) \
             SELECT n, {fails} AS x FROM count"
        );
        let statement = if is_postgres {
            json!({"adbc.postgresql.batch_size_hint_bytes": 4096})
        } else {
            json!({"adbc.sqlite.query.batch_rows": 100})
        };
        let mut source = scratch.source(json!({"query": query, "statement": statement}));
        let plan = plan(&mut source, None);
        let mut rows = source.read(&plan.splits[0]).unwrap();
        let error = rows.by_ref().find_map(Result::err).expect("the result has an error");
        assert!(error.message.starts_with("the driver stopped giving rows: "), "{error}");
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(rows.next().is_none());
    }
}

#[test]
fn a_value_of_another_kind_than_its_column_has_is_not_lost() {
    let mut scratch = Scratch::sqlite();
    scratch.sql("CREATE TABLE calls (n)");
    scratch.sql(
        "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 3000) \
         INSERT INTO calls SELECT CASE n WHEN 2500 THEN 'many' ELSE n END FROM count",
    );
    let mut source = scratch.source(json!({"table": "calls", "statement": {"adbc.sqlite.query.batch_rows": 1000}}));
    let planned = plan(&mut source, None);
    let mut rows = source.read(&planned.splits[0]).unwrap();
    assert_eq!(rows.next().unwrap().unwrap().num_rows(), 1000);
    assert!(rows.any(|batch| batch.is_err()));
}

#[test]
fn a_query_that_takes_forever_stops_when_the_engine_wants_to() {
    for scratch in both() {
        // Rows come for ever.
        let query = "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count) SELECT n FROM count";
        let mut source = scratch.source(json!({"query": query}));
        let planned = plan(&mut source, None);
        let mut rows = source.read(&planned.splits[0]).unwrap();
        assert!(rows.next().unwrap().is_ok());
        scratch.host.cancel();
        assert_eq!(rows.next().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
        assert!(rows.next().is_none());
    }
}

#[test]
fn a_statement_that_gives_nothing_for_ever_is_cancelled() {
    let scratch = Scratch::postgres();
    let mut source = scratch.source(json!({"query": "SELECT n FROM (SELECT 1 AS n, pg_sleep(600)) AS slow"}));
    let planned = plan(&mut source, None);
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // As soon as the server is at it.
            let mut watcher = Scratch::postgres();
            let busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)) AS slow%' \
                AND state = 'active' AND pid <> pg_backend_pid()";
            while watcher.rows(busy) == ["0"] {
                std::thread::yield_now();
            }
            scratch.host.cancel();
        });
        let failed = source.read(&planned.splits[0]).map(|mut rows| rows.next().unwrap().unwrap_err());
        assert_eq!(failed.unwrap_or_else(|error| error).kind, ErrorKind::Cancelled);
    });
    assert!(begun.elapsed().as_secs() < 60);
    assert_eq!(scratch.host.log(), [], "the driver has stopped, too");
}

#[test]
fn a_missing_table_is_found_before_there_is_a_window() {
    let mut scratch = Scratch::postgres();
    let error = scratch.source(json!({"table": "nowhere"})).plan(&PlanRequest::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("nowhere") && error.message.contains("42P01"), "{error}");
    scratch.sql("CREATE TABLE calls (id bigint, at timestamp)");
    let summary = scratch.source(json!({"table": "calls"})).check().unwrap().summary;
    assert_eq!(summary, "connected to PostgreSQL, table calls with 2 columns");
    let error = scratch
        .source(json!({"query": "SELECT * FROM calls WHERE at > :at", "parameters": {"at": "2026-01-01"}}))
        .check()
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    let query = "SELECT * FROM calls WHERE at > CAST(:at AS timestamp)";
    scratch.source(json!({"query": query, "parameters": {"at": "2026-01-01"}})).check().unwrap();
    let mut scratch = Scratch::sqlite();
    let error = scratch.source(json!({"table": "nowhere"})).plan(&PlanRequest::default()).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Config, "there is no table nowhere"));
    scratch.sql("CREATE TABLE calls (id INTEGER)");
    let summary = scratch.source(json!({"table": "calls"})).check().unwrap().summary;
    assert_eq!(summary, "connected to SQLite, table calls with 1 column");
    let summary = scratch.source(json!({"query": "SELECT 1"})).check().unwrap().summary;
    assert_eq!(summary, "connected to SQLite; the driver cannot look at the query without running it");
}
