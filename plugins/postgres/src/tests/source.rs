//! Reading tables and queries.

use super::*;

fn open(host: &Host, scratch: &Scratch, what: serde_json::Value) -> PostgresSource {
    let mut config = json!({"url": scratch.url()});
    config.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    host.open(config).unwrap()
}

#[test]
fn a_table_is_read_in_the_order_of_its_key_in_batches() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (number text, id bigint PRIMARY KEY)");
    scratch.sql("INSERT INTO calls SELECT 'n' || id, id FROM generate_series(10000, 1, -1) AS id");
    let host = Host::new();
    let mut source = open(&host, &scratch, json!({"table": "calls", "batch": 4000}));
    assert!(source.check().unwrap().summary.contains("table calls with 2 columns"));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    let batches = source.read(&plan.splits[0]).unwrap().collect::<Result<Vec<_>>>().unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [4000, 4000, 2000]);
    let ids = arrow_cast::cast(batches[2].column(1), &DataType::Int64).unwrap();
    let ids: &Int64Array = ids.as_any().downcast_ref().unwrap();
    assert_eq!((ids.value(0), ids.value(1999)), (8001, 10_000));
    assert_eq!(host.records(), 10_000);
}

#[test]
fn a_table_without_a_key_is_read_with_all_that_belongs_to_it() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE \"the calls\" (id integer, \"is it\" boolean)");
    scratch.sql("INSERT INTO \"the calls\" SELECT id, id > 2 FROM generate_series(3, 1, -1) AS id");
    scratch.sql("CREATE TABLE parent (id integer); INSERT INTO parent VALUES (1)");
    scratch.sql("CREATE TABLE child () INHERITS (parent); INSERT INTO child VALUES (2)");
    scratch.sql("CREATE TABLE parts (id integer) PARTITION BY LIST (id)");
    scratch.sql("CREATE TABLE one PARTITION OF parts FOR VALUES IN (1); INSERT INTO parts VALUES (1)");
    scratch.sql("CREATE TABLE doubled (id integer, twice integer GENERATED ALWAYS AS (id * 2) STORED)");
    scratch.sql("INSERT INTO doubled VALUES (4); CREATE VIEW seen AS SELECT id FROM doubled");
    scratch.sql("CREATE TABLE spans (id integer, span interval); INSERT INTO spans VALUES (1, '1 day')");
    let host = Host::new();
    for (table, expected) in [
        ("the calls", vec!["3 true", "2 false", "1 false"]),
        ("parent", vec!["1", "2"]),
        ("parts", vec!["1"]),
        ("doubled", vec!["4 8"]),
        ("seen", vec!["4"]),
        ("spans", vec!["1 1 day"]),
    ] {
        let rows = read(&mut open(&host, &scratch, json!({ "table": table }))).unwrap();
        let columns: Vec<_> =
            rows.columns().iter().map(|column| arrow_cast::cast(column, &DataType::Utf8).unwrap()).collect();
        let texts = |row| columns.iter().map(|column| column.as_string::<i32>().value(row)).collect::<Vec<_>>();
        assert_eq!((0..rows.num_rows()).map(|row| texts(row).join(" ")).collect::<Vec<_>>(), expected, "{table}");
    }
}

#[test]
fn a_query_keeps_its_order_its_names_and_the_sizes_of_its_numbers() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id integer, cost numeric(10,2))");
    scratch.sql("INSERT INTO calls VALUES (1, 1.50), (2, 20), (3, NULL)");
    let host = Host::new();
    let query = "SELECT cost, id, id AS \"id\", 1.5 AS free, 'x' AS text FROM calls ORDER BY id DESC; -- done";
    let query = query.replace("; -- done", " -- done");
    let rows = read(&mut open(&host, &scratch, json!({"query": query}))).unwrap();
    let schema = rows.schema();
    let types: Vec<_> =
        schema.fields().iter().map(|field| (field.name().as_str(), field.data_type().clone())).collect();
    assert_eq!(
        types,
        [
            ("cost", DataType::Decimal128(10, 2)),
            ("id", DataType::Int32),
            ("id", DataType::Int32),
            ("free", DataType::Utf8),
            ("text", DataType::Utf8)
        ]
    );
    let shown = arrow_cast::cast(rows.column(0), &DataType::Utf8).unwrap();
    assert_eq!(shown.as_ref(), &StringArray::from(vec![None, Some("20.00"), Some("1.50")]));
}

#[test]
fn values_that_arrow_cannot_hold_become_dead_letters_of_their_rows() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id integer PRIMARY KEY, at timestamp, cost numeric(5,1), day date, seen timestamptz DEFAULT now())");
    scratch.sql("INSERT INTO calls VALUES (1, now(), 1, now()), (2, 'infinity', 2, now()), (3, now(), 'NaN', '-infinity'), (4, NULL, NULL, NULL)");
    let host = Host::new();
    let rows = read(&mut open(&host, &scratch, json!({"table": "calls"}))).unwrap();
    assert_eq!(rows.num_rows(), 2);
    let rejections = host.rejections();
    assert_eq!(rejections.len(), 2);
    assert!(rejections[0].reason.starts_with("at: infinity cannot be held by Timestamp"), "{}", rejections[0].reason);
    let row = rejections[1].rows.clone().unwrap();
    assert_eq!(row.column(2).as_ref(), &StringArray::from(vec!["NaN"]));
    assert_eq!(row.column(0).as_ref(), &StringArray::from(vec!["3"]));
    assert_eq!(host.records(), 4);
}

#[test]
fn what_is_wrong_with_table_or_query_is_found_when_planning() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id integer)");
    let host = Host::new();
    let error = open(&host, &scratch, json!({"table": "call"})).plan(&PlanRequest::default()).unwrap_err();
    assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::Config, Some("did you mean calls?")));
    let error = open(&host, &scratch, json!({"query": "SELEKT 1"})).plan(&PlanRequest::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    for config in [json!({"url": "postgres://x/y"}), json!({"url": "postgres://x/y", "table": "a", "query": "b"})] {
        assert_eq!(refused::<PostgresSource>(&host, config).kind, ErrorKind::Config);
    }
}

#[test]
fn an_error_in_the_middle_of_a_query_ends_the_stream_with_its_kind() {
    let scratch = Scratch::new();
    let host = Host::new();
    let query = "SELECT 1 / (90000 - n) AS x FROM generate_series(1, 100000) AS n";
    let mut source = open(&host, &scratch, json!({"query": query}));
    let error = read(&mut source).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Rejected);
    assert!(error.message.contains("22012"), "{error}");
}

#[test]
fn a_query_that_waits_stops_when_the_engine_wants_to() {
    let scratch = Scratch::new();
    let host = Host::new();
    let mut source = open(&host, &scratch, json!({"query": "SELECT pg_sleep(600)"}));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    let mut rows = source.read(&plan.splits[0]).unwrap();
    host.cancel();
    assert_eq!(rows.next().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    assert!(rows.next().is_none());
}

#[test]
fn an_empty_table_gives_its_columns() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id integer)");
    let host = Host::new();
    let rows = read(&mut open(&host, &scratch, json!({"table": "calls"}))).unwrap();
    assert_eq!((rows.num_rows(), rows.num_columns()), (0, 1));
}

/// The first column of all splits of a plan, as texts, in their order.
fn values(source: &mut PostgresSource, plan: &Plan) -> Vec<String> {
    let mut values = vec![];
    for split in &plan.splits {
        for batch in source.read(split).unwrap() {
            let batch = batch.unwrap();
            let texts = arrow_cast::cast(batch.column(0), &DataType::Utf8).unwrap();
            let texts: &StringArray = texts.as_any().downcast_ref().unwrap();
            values.extend(texts.iter().map(|text| text.unwrap_or("NULL").to_owned()));
        }
    }
    values
}

#[test]
fn a_cursor_reads_what_is_new_and_no_tie_twice_or_never() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (number text, id bigint)");
    scratch.sql("INSERT INTO calls VALUES ('a', 1), ('b', 2), ('c', 2), ('none', NULL)");
    let host = Host::new();
    let mut source = open(&host, &scratch, json!({"table": "calls", "cursor": {"column": "id", "start": 2}}));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    assert_eq!(plan.upper, Some(json!("2")));
    // What comes after the plan is not read by it.
    scratch.sql("INSERT INTO calls VALUES ('d', 3), ('e', 4), ('f', 4)");
    assert_eq!(values(&mut source, &plan), ["b", "c"]);
    let plan = source.plan(&PlanRequest { cursor: plan.upper, ..PlanRequest::default() }).unwrap();
    assert_eq!(
        (plan.upper.clone(), values(&mut source, &plan)),
        (Some(json!("4")), vec!["d".into(), "e".into(), "f".into()])
    );
    let plan = source.plan(&PlanRequest { cursor: plan.upper, ..PlanRequest::default() }).unwrap();
    assert_eq!((plan.upper, plan.splits.len()), (None, 0), "nothing is new");
    // As `engine state set` may have left it.
    let plan = source.plan(&PlanRequest { cursor: Some(json!(3)), ..PlanRequest::default() }).unwrap();
    assert_eq!(values(&mut source, &plan), ["e", "f"]);
}

#[test]
fn a_cursor_with_a_key_takes_up_among_equal_values_where_it_ended() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (number text, at date, id bigint)");
    scratch.sql("INSERT INTO calls VALUES ('b', '2026-01-02', 7), ('a', '2026-01-02', 3), ('none', NULL, 1)");
    let host = Host::new();
    let mut source = open(&host, &scratch, json!({"table": "calls", "cursor": {"column": "at", "key": "id"}}));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    assert_eq!(plan.upper, Some(json!({"value": "2026-01-02", "key": "7"})));
    assert_eq!(values(&mut source, &plan), ["a", "b"]);
    scratch.sql("INSERT INTO calls VALUES ('c', '2026-01-02', 8), ('d', '2026-01-03', 1)");
    let next = source.plan(&PlanRequest { cursor: plan.upper.clone(), ..PlanRequest::default() }).unwrap();
    assert_eq!(values(&mut source, &next), ["c", "d"], "the late one of the old day too");
    assert_eq!(values(&mut source, &plan), ["a", "b"], "the first window stays what it was");
    let again = source.plan(&PlanRequest { cursor: next.upper, ..PlanRequest::default() }).unwrap();
    assert!(again.splits.is_empty());
    // As `engine state set` may have left it: everything of that day is done.
    let plan = source.plan(&PlanRequest { cursor: Some(json!("2026-01-02")), ..PlanRequest::default() }).unwrap();
    assert_eq!(values(&mut source, &plan), ["d"]);
    scratch.sql("INSERT INTO calls VALUES ('e', '2026-01-04', NULL)");
    let error = source.plan(&PlanRequest { cursor: Some(json!("2026-01-02")), ..PlanRequest::default() }).unwrap_err();
    assert!(error.message.contains("no value in `id`"), "{error}");
}

#[test]
fn a_query_that_names_its_window_reads_what_other_tables_have_made_new() {
    let mut scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE details (account text, load timestamp); CREATE TABLE payments (account text, load timestamp);
         INSERT INTO details VALUES ('a', '2026-01-01'), ('b', '2026-01-01'), ('c', '2026-01-03');
         INSERT INTO payments VALUES ('b', '2026-01-02'), ('b', '2026-01-02')",
    );
    let host = Host::new();
    let query = "SELECT account FROM details d WHERE region(:region) AND account IN (
           SELECT account FROM details WHERE load > :window_start AND load <= :window_end
           UNION SELECT account FROM payments WHERE load > :window_start AND load <= :window_end) ORDER BY 1";
    scratch.sql(r"CREATE FUNCTION region(text) RETURNS boolean LANGUAGE sql AS $$ SELECT $1 = 'nor''t\h' $$");
    let mut source = open(
        &host,
        &scratch,
        json!({
            "query": query,
            "parameters": {"region": "nor't\\h"},
            "cursor": {
                "query": "SELECT load FROM details UNION ALL SELECT load FROM payments",
                "start": "1900-01-01",
                "lag": "1m"
            }
        }),
    );
    assert!(source.check().unwrap().summary.contains("1 column"));
    let plan = source.plan(&PlanRequest::default()).unwrap();
    assert_eq!(plan.upper, Some(json!("2026-01-03 00:00:00")));
    assert_eq!(values(&mut source, &plan), ["a", "b", "c"]);
    let plan =
        source.plan(&PlanRequest { cursor: Some(json!("2026-01-01 00:00:00")), ..PlanRequest::default() }).unwrap();
    assert_eq!(values(&mut source, &plan), ["b", "c"], "a payment is enough");
    scratch.sql("INSERT INTO payments VALUES ('a', '2026-01-03 00:00:01')");
    assert_eq!(values(&mut source, &plan), ["b", "c"], "the window stays what it was");
    let plan = source.plan(&PlanRequest { cursor: plan.upper, ..PlanRequest::default() }).unwrap();
    assert_eq!(values(&mut source, &plan), ["a"]);
    scratch.sql("INSERT INTO payments VALUES ('b', now() AT TIME ZONE 'UTC')");
    let plan = source.plan(&PlanRequest { cursor: plan.upper, ..PlanRequest::default() }).unwrap();
    assert!(plan.splits.is_empty(), "younger than the lag");
}

#[test]
fn what_a_parameter_holds_is_a_value_and_never_sql() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (number text); INSERT INTO calls VALUES ('kept')");
    let host = Host::new();
    for hostile in
        ["'; DROP TABLE calls; --", "\\'; DROP TABLE calls; --", "\\", "x' OR 'a' = 'a", "$$", ":number", "/*", "E'\\'"]
    {
        let config = json!({"query": "SELECT :value || '' AS v, -:n AS n FROM calls", "parameters": {"value": hostile, "n": -1}});
        let mut source = open(&host, &scratch, config);
        source.check().unwrap();
        let plan = source.plan(&PlanRequest::default()).unwrap();
        assert_eq!(values(&mut source, &plan), [hostile]);
        let cursor = json!({"query": "SELECT number FROM calls", "cursor": {"column": "number", "start": hostile}});
        open(&host, &scratch, cursor)
            .plan(&PlanRequest { cursor: Some(json!(hostile)), ..PlanRequest::default() })
            .unwrap();
    }
    let many = json!({"query": "SELECT :a IS NULL AND :b AND :c + 1.5 = 4 AS fine", "parameters": {"a": null, "b": true, "c": 2.5}});
    let mut source = open(&host, &scratch, many);
    let plan = source.plan(&PlanRequest::default()).unwrap();
    assert_eq!(values(&mut source, &plan), ["true"]);
}

#[test]
fn a_cursor_of_times_waits_as_long_as_its_lag_says() {
    let mut scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE calls (number text, at timestamptz, local timestamp);
         INSERT INTO calls SELECT number, at, at AT TIME ZONE 'Asia/Kolkata' FROM (VALUES
           ('o''ld', now() - interval '2 days'), ('new', now() - interval '5 minutes'), ('forever', 'infinity')) AS v (number, at)",
    );
    let host = Host::new();
    let read = |cursor: serde_json::Value| {
        let mut source =
            open(&host, &scratch, json!({"query": "SELECT * FROM calls ORDER BY at -- all", "cursor": cursor}));
        let plan = source.plan(&PlanRequest::default()).unwrap();
        values(&mut source, &plan)
    };
    assert_eq!(read(json!({"column": "at"})), ["o'ld", "new"]);
    assert_eq!(read(json!({"column": "at", "lag": "1h"})), ["o'ld"]);
    assert_eq!(read(json!({"column": "at", "lag": "3d"})), Vec::<String>::new());
    assert_eq!(read(json!({"column": "local", "lag": "1h", "time_zone": "Asia/Kolkata"})), ["o'ld"]);
    assert_eq!(read(json!({"column": "number", "start": "o'"})), ["o'ld"]);
    assert_eq!(read(json!({"column": "local", "lag": "1h"})).len(), 1, "taken as UTC, the new one is still to come");
}

#[test]
fn what_is_larger_than_everything_is_no_cursor_and_a_day_is_read_when_it_is_over() {
    let mut scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE calls (number text, cost numeric, day date);
         INSERT INTO calls VALUES ('a', 1.5, (now() AT TIME ZONE 'UTC')::date - 1), ('b', 'NaN', (now() AT TIME ZONE 'UTC')::date)",
    );
    let host = Host::new();
    for cursor in [json!({"column": "cost"}), json!({"column": "day", "lag": "0s"})] {
        let mut source = open(&host, &scratch, json!({"table": "calls", "cursor": cursor}));
        let plan = source.plan(&PlanRequest::default()).unwrap();
        assert_eq!(values(&mut source, &plan), ["a"], "{cursor}");
    }
}

#[test]
fn splits_hold_every_row_once_as_it_was_when_they_were_planned() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number text)");
    scratch.sql(
        "INSERT INTO calls SELECT n, 'n' || n FROM generate_series(1, 1000) n; INSERT INTO calls VALUES (NULL, 'none')",
    );
    let host = Host::new();
    let all: Vec<String> = (1..=1000).map(|id| id.to_string()).collect();
    for (key, analyzed) in [("id", false), ("id", true), ("number", true)] {
        if analyzed {
            scratch.sql("ANALYZE calls");
        }
        let mut source = open(&host, &scratch, json!({"table": "calls", "key": key, "splits": 3}));
        let plan = source.plan(&PlanRequest::default()).unwrap();
        assert_eq!(plan.splits.len(), 3, "{key} {analyzed}");
        scratch.sql("UPDATE calls SET id = -id");
        // Another instance, which has not planned, sees the same.
        let mut other = open(&host, &scratch, json!({"table": "calls"}));
        let mut sizes = vec![];
        let mut seen: Vec<String> = vec![];
        for (at, split) in plan.splits.iter().enumerate() {
            let reader = if at == 1 { &mut other } else { &mut source };
            let part = values(reader, &Plan { upper: None, splits: vec![split.clone()], ..Plan::default() });
            sizes.push(part.len());
            seen.extend(part);
        }
        scratch.sql("UPDATE calls SET id = -id");
        assert!(sizes.iter().all(|size| (250..450).contains(size)), "{key} {analyzed}: {sizes:?}");
        seen.retain(|id| id != "NULL");
        seen.sort_by_key(|id| id.parse::<i64>().unwrap());
        assert_eq!(seen, all, "{key} {analyzed}");
    }
    assert!(host.log().is_empty(), "{:?}", host.log());
}

#[test]
fn a_split_can_be_read_when_the_moment_of_its_plan_is_gone() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint); INSERT INTO calls VALUES (1), (2)");
    let host = Host::new();
    let plan = open(&host, &scratch, json!({"table": "calls"})).plan(&PlanRequest::default()).unwrap();
    let mut later = open(&host, &scratch, json!({"table": "calls"}));
    assert_eq!(values(&mut later, &plan), ["1", "2"]);
    assert!(host.log()[0].1.contains("can no longer be seen"), "{:?}", host.log());
}

#[test]
fn columns_that_cannot_be_cursor_or_key_are_refused() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, fine boolean)");
    let host = Host::new();
    for (with, said) in [
        (json!({"cursor": {"column": "idd"}}), "there is no column `idd`, which `cursor` names"),
        (json!({"cursor": {"column": "fine"}}), "cannot be a cursor"),
        (json!({"cursor": {"column": "id", "lag": "1m"}}), "`cursor.lag` is for columns of times"),
        (json!({"key": "idd"}), "there is no column `idd`, which `key` names"),
    ] {
        let mut config = json!({"table": "calls"});
        config.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        let error = open(&host, &scratch, config.clone()).plan(&PlanRequest::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(said), "{error}");
        let checked = open(&host, &scratch, config).check();
        assert!(checked.is_err(), "{with}");
    }
    let error = refused::<PostgresSource>(&host, json!({"url": "postgres://x/y", "table": "a", "splits": 3}));
    assert!(error.message.contains("`splits` needs `key`"));
}

#[test]
fn nothing_is_locked_once_all_is_read() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint); INSERT INTO calls SELECT generate_series(1, 100)");
    scratch.sql("SET lock_timeout = '2s'");
    let host = Host::new();
    for splits in [1, 3] {
        let mut source = open(&host, &scratch, json!({"table": "calls", "key": "id", "splits": splits}));
        let plan = source.plan(&PlanRequest::default()).unwrap();
        assert_eq!(values(&mut source, &plan).len(), 100);
        scratch.sql("BEGIN; LOCK TABLE calls IN ACCESS EXCLUSIVE MODE; COMMIT");
        let empty = open(&host, &scratch, json!({"query": "SELECT 1 AS n", "cursor": {"column": "n", "start": 2}}))
            .plan(&PlanRequest::default());
        assert!(empty.unwrap().splits.is_empty());
    }
}

#[test]
fn a_query_that_takes_longer_than_it_may_is_given_up() {
    let (scratch, host) = (Scratch::new(), Host::new());
    let mut source = open(&host, &scratch, json!({"query": "SELECT pg_sleep(60)::text AS a", "timeout": "100ms"}));
    let error = read(&mut source).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    let said = error.to_string();
    assert!(said.contains("no answer within 100ms") && said.contains("`timeout`"), "{said}");
}
