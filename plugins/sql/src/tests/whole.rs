//! Queries that see the stream as a whole.

use super::*;

#[test]
fn rows_are_grouped_sorted_and_limited() {
    let query = "SELECT CALLER, count(*) AS calls, sum(id) AS ids FROM input GROUP BY CALLER ORDER BY calls DESC";
    let out = run(query, calls()).unwrap();
    assert_eq!(texts(&out, "CALLER"), some_texts(["ann", "bob"]));
    assert_eq!(integers(&out, "ids"), some([4, 2]));
    let out = run("SELECT id FROM input ORDER BY amount DESC NULLS LAST LIMIT 2", calls()).unwrap();
    assert_eq!(integers(&out, "id"), some([1, 3]));
}

#[test]
fn the_newest_row_of_each_is_kept() {
    let by_distinct = "SELECT DISTINCT ON (CALLER) CALLER, id FROM input ORDER BY CALLER, id DESC";
    let by_window = "WITH ranked AS (
        SELECT *, row_number() OVER (PARTITION BY CALLER ORDER BY id DESC) AS place FROM input
    ) SELECT CALLER, id FROM ranked WHERE place = 1 ORDER BY CALLER";
    for query in [by_distinct, by_window] {
        let out = run(query, calls()).unwrap();
        assert_eq!(integers(&out, "id"), some([3, 2]), "{query}");
    }
}

#[test]
fn rows_are_nested_and_taken_apart_again() {
    let nested =
        run("SELECT CALLER, array_agg(id ORDER BY id) AS ids FROM input GROUP BY CALLER ORDER BY CALLER", calls());
    let nested = nested.unwrap();
    assert!(matches!(nested.schema().field(1).data_type(), DataType::List(_)));
    let flat = run("SELECT CALLER, unnest(ids) AS id FROM input", nested).unwrap();
    assert_eq!(integers(&flat, "id"), some([1, 3, 2]));
}

#[test]
fn no_rows_make_one_count_and_no_group() {
    assert_eq!(integers(&run("SELECT count(*) AS c FROM input", numbers([])).unwrap(), "c"), some([0]));
    assert_eq!(run("SELECT n, count(*) AS c FROM input GROUP BY n", numbers([])).unwrap().num_rows(), 0);
}

#[test]
fn a_value_that_cannot_be_worked_with_ends_the_run_and_says_what_helps() {
    let error = run("SELECT sum(10 / n) AS s FROM input", numbers([1, 0])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("division by zero"), "{error}");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("NULLIF")), "{error}");
}

#[test]
fn the_stream_is_read_to_its_end_also_behind_a_limit() {
    let read = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let input = (0..50).map(move |at| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(numbers([at]))
    });
    let config = json!({"query": "SELECT n FROM input LIMIT 2"});
    let out = run_with(&Host::new(), config, Batches::new(numbers([]).schema(), input)).unwrap();
    assert_eq!(integers(&out, "n"), some([0, 1]));
    assert_eq!(read.load(std::sync::atomic::Ordering::SeqCst), 50);
}

#[test]
fn an_instance_works_on_one_stream_after_the_other() {
    let host = Host::new();
    let mut sql: Sql = host.open(json!({"query": "SELECT sum(n) AS s FROM input"})).unwrap();
    for last in [3, 10] {
        let out = sql.apply(Batches::once(numbers(0..=last))).unwrap().next().unwrap().unwrap();
        assert_eq!(integers(&out, "s"), some([last * (last + 1) / 2]));
    }
    // Other columns are another plan.
    assert_eq!(sql.apply(Batches::once(calls())).unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn a_stream_that_is_read_twice_is_kept_and_gone_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    for (query, expected) in [
        ("SELECT n * 100 / (SELECT sum(n) FROM input) AS share FROM input ORDER BY n", vec![0, 10, 20, 30, 40]),
        (
            "SELECT n AS share FROM input UNION ALL SELECT -n FROM input ORDER BY 1",
            vec![-4, -3, -2, -1, 0, 0, 1, 2, 3, 4],
        ),
        (
            "WITH a AS (SELECT n FROM input) SELECT x.n AS share FROM a x JOIN a y ON x.n = y.n + 3 ORDER BY 1",
            vec![3, 4],
        ),
    ] {
        let config = json!({"query": query, "spill": folder.path()});
        let input = stream((0..5).map(|at| numbers([at])).collect());
        let out = run_with(&Host::new(), config, input).unwrap();
        assert_eq!(integers(&out, "share"), expected.into_iter().map(Some).collect::<Vec<_>>(), "{query}");
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "{query}");
    }
    let small = json!({"query": "SELECT * FROM input WHERE n > (SELECT avg(n) FROM input)", "disk": 2000});
    let error = run_with(&Host::new(), small, stream((0..50).map(|at| numbers([at])).collect())).unwrap_err();
    assert!(
        error.kind == ErrorKind::Config && error.hint.as_deref().is_some_and(|it| it.contains("`disk`")),
        "{error}"
    );
}
