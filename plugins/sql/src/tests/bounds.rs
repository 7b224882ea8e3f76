//! Memory and disk.

use std::path::Path;

use super::*;

/// Rows in an order of their own, many more than 2 MiB.
fn shuffled(batches: i64) -> Batches {
    let rows = |at: i64| {
        let keys = (at * 8192..(at + 1) * 8192).map(|n| (n * 7_919) % 1_000_003);
        let keys: Vec<i64> = keys.collect();
        let texts = StringArray::from_iter_values(keys.iter().map(|key| format!("a caller with the number {key:>12}")));
        RecordBatch::try_from_iter_with_nullable([
            ("key", Arc::new(Int64Array::from(keys)) as ArrayRef, true),
            ("text", Arc::new(texts) as _, true),
        ])
    };
    Batches::new(rows(0).unwrap().schema(), (0..batches).map(move |at| Ok(rows(at)?)))
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

fn bounded(query: &str, folder: &Path, memory: &str, disk: &str) -> Value {
    json!({"query": query, "memory": memory, "disk": disk, "spill": folder})
}

#[test]
fn what_does_not_fit_into_memory_goes_to_disk_and_nothing_stays_there() {
    let folder = tempfile::tempdir().unwrap();
    for query in [
        "SELECT key, text FROM input ORDER BY text",
        "SELECT key, text, count(*) AS rows FROM input GROUP BY key, text ORDER BY text",
    ] {
        let host = Host::new();
        let mut sql: Sql = host.open(bounded(query, folder.path(), "8MiB", "1GiB")).unwrap();
        let mut output = sql.apply(shuffled(60)).unwrap();
        let first = output.next().unwrap().unwrap();
        let spilled = std::fs::read_dir(folder.path()).unwrap().flatten().flat_map(|it| std::fs::read_dir(it.path()));
        assert!(spilled.flatten().next().is_some(), "nothing was spilled: {query}");
        let mut rows = first.num_rows();
        let mut last = texts(&first, "text").into_iter().next_back().unwrap();
        for batch in output {
            let found = texts(&batch.unwrap(), "text");
            assert!(found[0] >= last && found.is_sorted(), "{query}");
            (rows, last) = (rows + found.len(), found.into_iter().next_back().unwrap());
        }
        assert_eq!(rows, 60 * 8192, "{query}");
        drop(sql);
        assert!(is_empty(folder.path()), "{query}");
    }
}

#[test]
fn more_than_the_disk_may_hold_is_refused_with_the_setting_and_cleaned_up() {
    let folder = tempfile::tempdir().unwrap();
    let config = bounded("SELECT * FROM input ORDER BY text", folder.path(), "4MiB", "1MiB");
    let error = run_with(&Host::new(), config, shuffled(60)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("`disk`")), "{error}");
    assert!(is_empty(folder.path()));
}

#[test]
fn more_than_the_memory_may_hold_is_refused_with_the_setting() {
    let folder = tempfile::tempdir().unwrap();
    let config = bounded("SELECT array_agg(text) AS all FROM input", folder.path(), "4MiB", "1GiB");
    let error = run_with(&Host::new(), config, shuffled(60)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("`memory`")), "{error}");
    assert!(is_empty(folder.path()));
}

#[test]
fn a_stream_that_is_let_go_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let config = bounded("SELECT * FROM input ORDER BY text", folder.path(), "4MiB", "1GiB");
    let mut sql: Sql = host.open(config).unwrap();
    let mut output = sql.apply(shuffled(60)).unwrap();
    output.next().unwrap().unwrap();
    drop(output);
    assert!(is_empty(folder.path()));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let config = bounded("SELECT count(*) AS c FROM input", Path::new("/no/such/folder"), "4MiB", "1GiB");
    let error = run_with(&Host::new(), config, Batches::once(numbers([1]))).unwrap_err();
    assert_eq!(error.message, "`spill` names /no/such/folder, which is no folder");
}
