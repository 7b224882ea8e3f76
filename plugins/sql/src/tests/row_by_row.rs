//! Queries that look at one row at a time.

use arrow_array::{Array, Int32Array, LargeStringArray, RecordBatchOptions, StringArray};
use proptest::prelude::*;

use super::*;

#[test]
fn rows_are_filtered_and_computed_and_those_left_out_are_counted() {
    let host = Host::new();
    let query = "SELECT CALLER AS caller, amount * 1.2 AS gross FROM input WHERE amount > 0";
    let out = run_with(&host, json!({"query": query}), Batches::once(calls())).unwrap();
    assert_eq!(names(&out), ["caller", "gross"]);
    assert_eq!(texts(&out, "caller"), some_texts(["ann"]));
    assert!((floats(&out, "gross")[0].unwrap() - 1.8).abs() < 1e-12);
    assert_eq!(host.filtered(), 2);
}

#[test]
fn names_are_taken_exactly_as_they_are_written() {
    let out = run("SELECT CALLER, ID AS Id FROM (SELECT *, id AS ID FROM input) WHERE id = 2", calls()).unwrap();
    assert_eq!(names(&out), ["CALLER", "Id"]);
    let error = run("SELECT caller FROM input", calls()).unwrap_err();
    assert_eq!(error.message, "there is no column `caller`");
    assert_eq!(error.hint.as_deref(), Some("names are taken exactly as they are written: `CALLER`"));
    // Functions and keywords may be written either way.
    assert_eq!(
        texts(&run("select UPPER(CALLER) as c FROM input", calls()).unwrap(), "c"),
        some_texts(["ANN", "BOB", "ANN"])
    );
}

#[test]
fn a_row_that_the_query_cannot_work_with_costs_no_other() {
    let host = Host::new();
    let texts = StringArray::from(vec![Some("1"), Some("2"), Some("x"), None, Some("5"), Some("y"), Some("7")]);
    let input = RecordBatch::try_from_iter([("t", Arc::new(texts) as ArrayRef)]).unwrap();
    let config = json!({"query": "SELECT CAST(t AS BIGINT) AS n FROM input WHERE t <> '2' OR t IS NULL"});
    let out = run_with(&host, config, Batches::once(input.clone())).unwrap();
    assert_eq!(integers(&out, "n"), [Some(1), None, Some(5), Some(7)]);
    assert_eq!(host.filtered(), 1);
    let rejected = host.rejections();
    assert_eq!(rejected.len(), 2);
    assert_eq!((rejected[0].code.as_str(), &rejected[0].rows), ("sql_error", &Some(input.slice(2, 1))));
    assert_eq!(rejected[1].rows, Some(input.slice(5, 1)));
    assert!(rejected[0].reason.contains("Cannot cast string 'x'"), "{}", rejected[0].reason);
}

#[test]
fn a_division_by_zero_and_a_number_that_does_not_fit_are_of_their_rows() {
    for (query, reason) in [
        ("SELECT 12 / (n - 2) AS q FROM input", "division by zero"),
        ("SELECT n + 9223372036854775805 AS q FROM input", "Overflow happened on: 3 + 9223372036854775805"),
        ("SELECT n * 4611686018427387903 AS q FROM input", "Overflow"),
        ("SELECT -9223372036854775806 - n AS q FROM input", "Overflow"),
    ] {
        let host = Host::new();
        let out = run_with(&host, json!({"query": query}), Batches::once(numbers([1, 2, 3]))).unwrap();
        assert_eq!(out.num_rows(), 2, "{query}");
        let rejected = host.rejections();
        assert_eq!(rejected.len(), 1, "{query}");
        assert!(rejected[0].reason.contains(reason), "{query}: {}", rejected[0].reason);
    }
}

#[test]
fn all_rows_may_be_refused() {
    let host = Host::new();
    let config = json!({"query": "SELECT 1 / (n - n) AS q FROM input"});
    let out = run_with(&host, config, Batches::once(numbers(0..1000))).unwrap();
    assert_eq!(out.num_rows(), 0);
    assert_eq!(host.rejections().len(), 1000);
}

#[test]
fn many_batches_keep_their_order() {
    let batches = (0..10_000).map(|at| numbers([at * 2, at * 2 + 1])).collect();
    let config = json!({"query": "SELECT n AS m FROM input WHERE n % 3 <> 0"});
    let out = run_with(&Host::new(), config, stream(batches)).unwrap();
    let expected: Vec<_> = (0..20_000).filter(|n| n % 3 != 0).map(Some).collect();
    assert_eq!(integers(&out, "m"), expected);
}

#[test]
fn a_stream_without_rows_or_columns_goes_through() {
    assert_eq!(run("SELECT n + 1 AS m FROM input", numbers([])).unwrap().num_rows(), 0);
    let nothing = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        vec![],
        &RecordBatchOptions::new().with_row_count(Some(3)),
    )
    .unwrap();
    let out = run("SELECT 7 AS seven FROM input", nothing.clone()).unwrap();
    assert_eq!(integers(&out, "seven"), some([7, 7, 7]));
    let counted = run("SELECT count(*) AS rows FROM input", nothing.clone()).unwrap();
    assert_eq!(integers(&counted, "rows"), some([3]));
    assert_eq!(run("SELECT * FROM input", nothing).unwrap().num_rows(), 3);
}

#[test]
fn what_no_row_can_pass_filters_all() {
    let host = Host::new();
    let out = run_with(&host, json!({"query": "SELECT n FROM input WHERE 1 = 2"}), Batches::once(numbers(0..5)));
    assert_eq!((out.unwrap().num_rows(), host.filtered()), (0, 5));
}

#[test]
fn an_error_of_the_input_comes_out_as_it_is() {
    for query in ["SELECT n FROM input", "SELECT count(*) AS c FROM input", "SELECT n FROM input LIMIT 1"] {
        let gone = Error::unavailable("the server went away").hint("wait");
        let items = vec![Ok(numbers([1])), Ok(numbers([2])), Err(gone.clone())];
        let input = Batches::new(numbers([]).schema(), items.into_iter());
        assert_eq!(run_with(&Host::new(), json!({"query": query}), input).unwrap_err(), gone, "{query}");
    }
}

#[test]
fn a_request_to_stop_ends_the_stream() {
    for query in ["SELECT n FROM input", "SELECT count(*) AS c FROM input", "SELECT n FROM input ORDER BY n"] {
        let host = Arc::new(Host::new());
        let mut sql: Sql = host.open(json!({"query": query})).unwrap();
        let asked = Arc::clone(&host);
        let endless = (0i64..).map(move |at| {
            if at == 20 {
                asked.cancel();
            }
            assert!(at < 100, "it went on: {query}");
            Ok(numbers([at]))
        });
        let output = sql.apply(Batches::new(numbers([]).schema(), endless)).unwrap();
        assert_eq!(output.collect::<Result<Vec<_>>>().unwrap_err().kind, ErrorKind::Cancelled, "{query}");
    }
}

#[test]
fn what_sinks_do_not_take_becomes_what_they_take() {
    let large = Arc::new(LargeStringArray::from(vec!["a", "b"])) as ArrayRef;
    let keys = Int32Array::from(vec![0, 0]);
    let words = arrow_array::DictionaryArray::new(keys, Arc::new(StringArray::from(vec!["x"])));
    let input = RecordBatch::try_from_iter([("large", large), ("word", Arc::new(words) as _)]).unwrap();
    let out = run("SELECT large, word, NULL AS nothing, arrow_cast(large, 'Utf8View') AS view FROM input", input);
    let out = out.unwrap();
    assert!(out.schema().fields().iter().all(|field| field.data_type() == &DataType::Utf8), "{:?}", out.schema());
    assert_eq!(texts(&out, "word"), some_texts(["x", "x"]));
    assert!(out.column_by_name("nothing").unwrap().is_null(0));
}

#[test]
fn a_number_with_a_point_is_a_decimal() {
    let out = run("SELECT CAST(n AS DECIMAL(10,2)) * 0.1 AS tenth FROM input", numbers([3])).unwrap();
    assert_eq!(out.schema().field(0).data_type(), &DataType::Decimal128(12, 3));
}

#[test]
fn a_column_without_a_name_is_named_by_its_text() {
    let out = run("SELECT n + 1, upper('a'), n FROM input", numbers([3])).unwrap();
    assert_eq!(names(&out), ["n + 1", "upper('a')", "n"]);
}

#[test]
fn now_is_one_moment_for_all_rows() {
    for query in ["SELECT now() AS at FROM input", "SELECT now() AS at FROM input ORDER BY 1"] {
        let out = run(query, numbers(0..3)).unwrap();
        assert_eq!(out.column(0).slice(0, 1).as_ref(), out.column(0).slice(2, 1).as_ref(), "{query}");
    }
}

#[test]
fn columns_can_be_left_out_and_replaced() {
    let out = run("SELECT * EXCLUDE (amount) FROM input", calls()).unwrap();
    assert_eq!(names(&out), ["id", "CALLER"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_and_a_projection_are_what_a_loop_makes(
        rows in proptest::collection::vec((any::<Option<i32>>(), any::<Option<i16>>()), 0..200),
        cuts in proptest::collection::vec(1usize..50, 1..8),
        limit in any::<i16>(),
    ) {
        let a = Int64Array::from_iter(rows.iter().map(|row| row.0.map(i64::from)));
        let b = Int64Array::from_iter(rows.iter().map(|row| row.1.map(i64::from)));
        let all = RecordBatch::try_from_iter_with_nullable([
            ("a", Arc::new(a) as ArrayRef, true), ("b", Arc::new(b) as _, true),
        ]).unwrap();
        let (mut batches, mut at) = (vec![all.slice(0, 0)], 0);
        for cut in cuts.iter().cycle() {
            let length = (*cut).min(all.num_rows() - at);
            if length == 0 { break }
            batches.push(all.slice(at, length));
            at += length;
        }
        let host = Host::new();
        let config = json!({
            "query": "SELECT a - 2 * b AS c, 100 / b AS q FROM input WHERE a + b > :limit",
            "parameters": {"limit": limit},
        });
        let out = run_with(&host, config, stream(batches)).unwrap();
        let (mut expected, mut filtered, mut rejected) = (Vec::new(), 0, 0);
        for (a, b) in rows.iter().map(|row| (row.0.map(i64::from), row.1.map(i64::from))) {
            match (a, b) {
                (Some(a), Some(b)) if a + b > i64::from(limit) => match 100i64.checked_div(b) {
                    Some(quotient) => expected.push((a - 2 * b, quotient)),
                    None => rejected += 1,
                },
                _ => filtered += 1,
            }
        }
        let found: Vec<_> = integers(&out, "c").into_iter().flatten().zip(integers(&out, "q").into_iter().flatten()).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(host.filtered(), filtered);
        prop_assert_eq!(host.rejections().len(), rejected);
    }
}
