//! What is new since the last run, and values in queries.

use engine_sdk::database::Position;

use super::*;

/// The first column of a plan's rows, as texts.
fn values(source: &mut SqliteSource, plan: &Plan) -> Vec<String> {
    let mut values = vec![];
    for split in &plan.splits {
        for batch in source.read(split).unwrap() {
            let texts = arrow_cast::cast(batch.unwrap().column(0), &DataType::Utf8).unwrap();
            let texts: &StringArray = texts.as_any().downcast_ref().unwrap();
            values.extend(texts.iter().map(|text| text.unwrap_or("NULL").to_owned()));
        }
    }
    values
}

fn plan(source: &mut SqliteSource, cursor: Option<Value>) -> Plan {
    source.plan(&PlanRequest { cursor, ..PlanRequest::default() }).unwrap()
}

#[test]
fn a_cursor_reads_what_is_new_and_no_tie_twice_or_never() {
    let scratch = Scratch::new(
        "CREATE TABLE calls (number TEXT, id INTEGER);
         INSERT INTO calls VALUES ('a', 1), ('b', 2), ('c', 2), ('none', NULL)",
    );
    let mut source = scratch.source(json!({"table": "calls", "cursor": {"column": "id", "start": 2}}));
    let first = plan(&mut source, None);
    assert_eq!(first.upper, Some(json!(2)));
    scratch.sql("INSERT INTO calls VALUES ('d', 10), ('e', 9)");
    assert_eq!(values(&mut source, &first), ["b", "c"]);
    let second = plan(&mut source, first.upper);
    assert_eq!((second.upper.clone(), values(&mut source, &second)), (Some(json!(10)), vec!["e".into(), "d".into()]));
    assert!(plan(&mut source, second.upper).splits.is_empty());
    let old =
        source.plan(&PlanRequest { cursor: Some(json!(1)), upper: Some(json!(9)), ..PlanRequest::default() }).unwrap();
    assert_eq!(
        (old.upper.clone(), values(&mut source, &old)),
        (Some(json!(9)), vec!["b".into(), "c".into(), "e".into()])
    );
}

#[test]
fn a_cursor_with_a_key_takes_up_among_equal_values_where_it_ended() {
    let scratch = Scratch::new(
        "CREATE TABLE calls (number TEXT, day DATE, id INTEGER);
         INSERT INTO calls VALUES ('b', '2026-01-02', 7), ('a', '2026-01-02', 3)",
    );
    let mut source = scratch.source(json!({"table": "calls", "cursor": {"column": "day", "key": "id"}}));
    let first = plan(&mut source, None);
    assert_eq!(first.upper, Some(json!(Position::Keyed { value: "2026-01-02".into(), key: 7.into() })));
    assert_eq!(values(&mut source, &first), ["a", "b"]);
    scratch.sql("INSERT INTO calls VALUES ('c', '2026-01-02', 8), ('d', '2026-01-03', 1)");
    let second = plan(&mut source, first.upper);
    assert_eq!(values(&mut source, &second), ["c", "d"]);
    scratch.sql("INSERT INTO calls VALUES ('e', '2026-01-04', NULL)");
    let error = source.plan(&PlanRequest { cursor: second.upper, ..PlanRequest::default() }).unwrap_err();
    assert!(error.message.contains("no value in `id`"), "{error}");
}

#[test]
fn times_wait_as_long_as_the_lag_says_in_whatever_form_they_stand() {
    let scratch = Scratch::new(
        "CREATE TABLE calls (number TEXT, at TIMESTAMP, day DATE);
         INSERT INTO calls VALUES ('old', datetime('now', '-2 days'), date('now', '-2 days')),
           ('new', datetime('now', '-5 minutes'), date('now'))",
    );
    let read = |cursor: Value| {
        let mut source = scratch.source(json!({"table": "calls", "cursor": cursor}));
        let plan = plan(&mut source, None);
        values(&mut source, &plan)
    };
    assert_eq!(read(json!({"column": "at"})), ["old", "new"]);
    assert_eq!(read(json!({"column": "at", "lag": "1h"})), ["old"]);
    assert_eq!(read(json!({"column": "at", "lag": "3d"})), Vec::<String>::new());
    assert_eq!(read(json!({"column": "day", "lag": "0s"})), ["old"], "a day is read when it is over");
    let refused = scratch.source(json!({"table": "calls", "cursor": {"column": "number", "lag": "1h"}}));
    let mut refused = refused;
    assert!(refused.check().unwrap_err().message.contains("is for columns of times"));
}

#[test]
fn a_query_that_names_its_window_goes_by_the_values_of_another() {
    let scratch = Scratch::new(
        "CREATE TABLE details (account TEXT, load TEXT); CREATE TABLE payments (account TEXT, load TEXT);
         INSERT INTO details VALUES ('a', '2026-01-01'), ('b', '2026-01-01');
         INSERT INTO payments VALUES ('b', '2026-01-02')",
    );
    let query = "SELECT account FROM details WHERE account IN (
        SELECT account FROM details WHERE load > :window_start AND load <= :window_end
        UNION SELECT account FROM payments WHERE load > :window_start AND load <= :window_end) ORDER BY 1 -- all";
    let values_of = "SELECT load FROM details UNION ALL SELECT load FROM payments";
    let mut source = scratch.source(json!({"query": query, "cursor": {"query": values_of, "start": "1900-01-01"}}));
    let first = plan(&mut source, None);
    assert_eq!(
        (first.upper.clone(), values(&mut source, &first)),
        (Some(json!("2026-01-02")), vec!["a".into(), "b".into()])
    );
    let second = plan(&mut source, Some(json!("2026-01-01")));
    assert_eq!(values(&mut source, &second), ["b"]);
}

#[test]
fn what_a_parameter_holds_is_a_value_and_never_sql() {
    let scratch = Scratch::new("CREATE TABLE calls (number TEXT); INSERT INTO calls VALUES ('kept')");
    for hostile in ["'; DROP TABLE calls; --", "\\", "x' OR 'a' = 'a", ":number", "/*", "[", "`", "a\0'b"] {
        let config =
            json!({"query": "SELECT :value AS v, -:n AS n FROM calls", "parameters": {"value": hostile, "n": -1}});
        let mut source = scratch.source(config);
        let plan = plan(&mut source, None);
        assert_eq!(values(&mut source, &plan), [hostile]);
        let cursor = json!({"table": "calls", "cursor": {"column": "number", "start": hostile}});
        scratch.source(cursor).plan(&PlanRequest { cursor: Some(json!(hostile)), ..PlanRequest::default() }).unwrap();
    }
}
