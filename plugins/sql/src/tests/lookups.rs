//! Files beside the stream.

use std::path::Path;

use super::*;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("domains.csv", "id,name\n1,one\n3,three\n3,drei\n,nobody\n");
    write("domains.jsonl", "{\"id\": 1, \"name\": \"one\"}\n{\"name\": \"three\", \"id\": 3, \"live\": true}\n");
    folder
}

fn joined(folder: &Path, config: Value, input: Batches) -> Result<RecordBatch> {
    run_with(&Host::in_folder(folder), config, input)
}

#[test]
fn a_file_is_joined_with_its_duplicates_and_without_what_is_missing() {
    let folder = folder();
    let inputs = json!({"domains": {"path": "domains.csv", "types": {"id": "integer"}}});
    let outer = json!({"query": "SELECT n, name FROM input LEFT JOIN domains ON n = domains.id", "inputs": inputs});
    let input = stream((0..3).map(|at| numbers([at * 2, at * 2 + 1])).collect());
    let out = joined(folder.path(), outer, input).unwrap();
    let mut found: Vec<_> = integers(&out, "n").into_iter().flatten().zip(texts(&out, "name")).collect();
    found.sort();
    let expected =
        [(0, None), (1, Some("one")), (2, None), (3, Some("drei")), (3, Some("three")), (4, None), (5, None)];
    assert_eq!(found, expected.map(|(n, name)| (n, name.map(str::to_owned))));
    let inner = json!({"query": "SELECT n FROM input JOIN domains ON n = domains.id", "inputs": inputs});
    let out = joined(folder.path(), inner, Batches::once(numbers([9, 3, 1, 0]))).unwrap();
    assert_eq!(integers(&out, "n"), some([3, 3, 1]));
}

#[test]
fn a_join_lets_many_batches_pass_without_holding_them() {
    let folder = folder();
    let inputs = json!({"domains": {"path": "domains.jsonl"}});
    for (query, is_inner) in [
        ("SELECT n FROM input JOIN domains ON n % 5 = domains.id", true),
        ("SELECT n FROM domains JOIN input ON n % 5 = domains.id", true),
        ("SELECT n FROM input LEFT JOIN domains ON n % 5 = domains.id", false),
        ("SELECT n FROM domains RIGHT JOIN input ON n % 5 = domains.id", false),
    ] {
        // The rows alone are more than the memory.
        let wide = |at: i64| numbers(at * 8192..(at + 1) * 8192);
        let input = Batches::new(numbers([]).schema(), (0..64).map(move |at| Ok(wide(at))));
        let config = json!({"query": query, "inputs": inputs, "memory": "1MiB"});
        let out = joined(folder.path(), config, input).unwrap();
        let mut found = integers(&out, "n");
        if is_inner {
            assert!(found.is_sorted(), "{query}");
            let partners = (0..64 * 8192).filter(|n| [1, 3].contains(&(n % 5)));
            assert_eq!(found, partners.map(Some).collect::<Vec<_>>(), "{query}");
        } else {
            // Within a batch, rows without a partner come last.
            found.sort();
            assert_eq!(found, (0..64 * 8192).map(Some).collect::<Vec<_>>(), "{query}");
        }
    }
}

#[test]
fn json_brings_its_own_types_unless_others_are_named() {
    let folder = folder();
    let query = "SELECT n, name, live FROM input JOIN domains ON n = domains.id";
    let config = json!({"query": query, "inputs": {"domains": {"path": "domains.jsonl"}}});
    let out = joined(folder.path(), config, Batches::once(numbers([3]))).unwrap();
    assert_eq!(out.schema().field(2).data_type(), &DataType::Boolean);
    let typed = json!({"domains": {"path": "domains.jsonl", "types": {"id": "text"}}});
    let config =
        json!({"query": "SELECT n FROM input JOIN domains ON CAST(n AS VARCHAR) = domains.id", "inputs": typed});
    assert_eq!(joined(folder.path(), config, Batches::once(numbers([3, 4]))).unwrap().num_rows(), 1);
}

#[test]
fn a_file_that_has_changed_is_read_again() {
    let folder = folder();
    let host = Host::in_folder(folder.path());
    let inputs = json!({"domains": {"path": "domains.csv"}});
    let mut sql: Sql =
        host.open(json!({"query": "SELECT count(*) AS c FROM input, domains", "inputs": inputs})).unwrap();
    let mut count = || integers(&sql.apply(Batches::once(numbers([1]))).unwrap().next().unwrap().unwrap(), "c");
    assert_eq!(count(), some([4]));
    std::fs::write(folder.path().join("domains.csv"), "id,name\n1,one\n").unwrap();
    assert_eq!(count(), some([1]));
}

#[test]
fn a_file_that_cannot_be_a_table_is_refused_with_its_place() {
    let folder = folder();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("bad.csv", "id\n1\n1x\n");
    write("ragged.csv", "a,b\n1,2\n1\n");
    write("bad.jsonl", "{\"id\": 1}\n[1]\n");
    write("large.csv", &"id\n".repeat(6 << 20));
    for (path, types, said) in [
        ("bad.csv", json!({"id": "integer"}), "line 3: \"1x\" in the column `id` is not a whole number"),
        ("bad.csv", json!({"no": "integer"}), "`types` names the column `no`"),
        ("ragged.csv", json!({}), "cannot be read as CSV"),
        ("bad.jsonl", json!({}), "not one JSON object a line"),
        ("large.csv", json!({}), "has 18874368 bytes, and a table beside the stream may have 16777216"),
        ("missing.csv", json!({}), "No such file"),
    ] {
        let config = json!({"query": "SELECT * FROM input, d", "inputs": {"d": {"path": path, "types": types}}});
        let error = joined(folder.path(), config, Batches::once(numbers([1]))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{path}: {error}");
        assert!(error.message.contains(said) && error.message.contains(path), "{path}: {error}");
    }
}
