//! What is refused, and when.

use engine_sdk::Scope;

use super::*;
use crate::config::Config;
use crate::query::Query;
use crate::session::Bounds;

fn refused(config: Value) -> Error {
    Host::new().open::<Sql>(config).map(drop).unwrap_err()
}

#[test]
fn what_is_no_query_is_refused_before_a_row_is_read() {
    for (query, said) in [
        ("SELEC n FROM input", "line 1, column 1 of the query"),
        ("SELECT n\nFROM input WHERE (n > 1", "found: EOF"),
        ("", "the query is empty"),
        ("SELECT 1 FROM input; SELECT 2 FROM input", "more than one statement"),
        ("SELECT 1", "does not read the stream"),
        ("SELECT upp(n) FROM input", "there is no function `upp`, line 1, column 8 of the query"),
        ("SELECT * FROM inptu", "there is no table `inptu`"),
        ("SELECT * FROM input JOIN '/etc/passwd' ON true", "there is no table"),
        ("SELECT * FROM 'data.csv'", "there is no table"),
        ("SELECT random() FROM input", "`random` gives another value each time"),
        ("SELECT uuid() FROM input", "`uuid` gives another value each time"),
        ("SELECT version() FROM input", "there is no function `version`"),
        ("SELECT * FROM input WHERE n = :from", "`:from`, which has no value"),
        ("SELECT * FROM input WHERE n = $1", "`$1` is no parameter"),
        ("SELECT * FROM information_schema.tables", "there is no table"),
        ("SELECT * FROM public.input", "there is no table"),
        ("CREATE TABLE t AS SELECT * FROM input", "no SELECT"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "no SELECT"),
        ("COPY input TO '/tmp/x.csv'", "no SELECT"),
        ("COPY (SELECT * FROM input) TO '/tmp/x.csv' STORED AS CSV", "no SELECT"),
        ("INSERT INTO input VALUES (1)", "no SELECT"),
        ("DELETE FROM input", "no SELECT"),
        ("DROP TABLE input", "no SELECT"),
        ("SET datafusion.catalog.information_schema = true", "no SELECT"),
        ("SHOW TABLES", "no SELECT"),
        ("EXPLAIN SELECT * FROM input", "no SELECT"),
        ("SELECT * INTO t FROM input", "no SELECT"),
        ("SELECT * FROM input FOR UPDATE", "no SELECT"),
        ("BEGIN", "no SELECT"),
    ] {
        let error = refused(json!({"query": query}));
        assert_eq!(error.kind, ErrorKind::Config, "{query}: {error}");
        assert!(error.message.contains(said), "{query}: {error}");
    }
}

#[test]
fn a_query_nested_without_end_is_refused() {
    let deep = format!("SELECT {}1{} AS n FROM input", "(".repeat(5000), ")".repeat(5000));
    assert!(refused(json!({"query": deep})).message.contains("nested too deeply"));
    let endless = format!("SELECT {} AS n FROM input", vec!["n"; 3000].join(" + "));
    let error = refused(json!({"query": endless}));
    assert!(error.message.contains("may chain 1000"), "{error}");
}

#[test]
fn a_long_chain_is_worked_on_and_a_longer_list_too() {
    let sum = vec!["n"; 200].join(" + ");
    let any = (0..200).map(|n| format!("n = {n}")).collect::<Vec<_>>().join(" OR ");
    let list = (0..5000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    for (query, expected) in [
        (format!("SELECT {sum} AS m FROM input"), some([0, 200, 400])),
        (format!("SELECT sum({sum}) AS m FROM input"), some([600])),
        (format!("SELECT n AS m FROM input WHERE {any}"), some([0, 1, 2])),
        (format!("SELECT n AS m FROM input WHERE n IN ({list})"), some([0, 1, 2])),
    ] {
        assert_eq!(integers(&run(&query, numbers([0, 1, 2])).unwrap(), "m"), expected);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let query = "SELECT * FROM input";
    for (config, said) in [
        (json!({"query": query, "memory": "4KiB"}), "`memory` is less than 1MiB"),
        (json!({"query": query, "parameters": {"a": 1}}), "does not name the parameter `:a`"),
        (json!({"query": query, "inputs": {"a": {"path": "a.csv"}}}), "does not read `a`"),
        (json!({"query": query, "inputs": {"input": {"path": "a.csv"}}}), "a file is named `input`"),
        (
            json!({"query": "SELECT * FROM input, a", "inputs": {"a": {"path": "a.txt"}}}),
            "does not say how it is written",
        ),
        (
            json!({"query": "SELECT * FROM input, a", "inputs": {"a": {"path": "a.csv", "delimiter": "ä"}}}),
            "one printable ASCII character",
        ),
    ] {
        let error = refused(config);
        assert!(error.message.contains(said), "{error}");
    }
}

#[test]
fn a_column_that_is_not_there_is_named_with_the_nearest_that_is() {
    for query in ["SELECT amont FROM input", "SELECT CALLER FROM input GROUP BY CALLER ORDER BY amont"] {
        let error = run(query, calls()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert_eq!(error.message, "there is no column `amont`", "{query}");
        assert!(error.hint.is_some(), "{query}");
    }
    let hint = run("SELECT amont FROM input", calls()).unwrap_err().hint.unwrap();
    assert_eq!(hint, "did you mean `amount`? the columns are id, CALLER, amount");
    let error = run("SELECT id, CALLER AS id FROM input", calls()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    let error = run("SELECT upper(id, 1) AS u FROM input", calls()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
}

#[test]
fn parameters_are_values_and_never_text_of_the_query() {
    let config = json!({
        "query": "SELECT id FROM input WHERE CALLER = :who OR amount < :least OR :all",
        "parameters": {"who": "' OR 1=1 --", "least": -3.5, "all": false},
    });
    let out = run_with(&Host::new(), config, Batches::once(calls())).unwrap();
    assert_eq!(integers(&out, "id"), some([3]));
    let config = json!({"query": "SELECT :a AS a, :b AS b FROM input LIMIT 1", "parameters": {"a": null, "b": "x"}});
    let out = run_with(&Host::new(), config, Batches::once(calls())).unwrap();
    assert_eq!((texts(&out, "a"), texts(&out, "b")), (vec![None], some_texts(["x"])));
}

#[test]
fn the_scope_of_a_query_is_read_from_its_text() {
    let files = json!({"d": {"path": "d.csv"}});
    let scope_of = |query: &str| {
        let mut config = json!({"query": query});
        if query.contains(" d") {
            config["inputs"] = files.clone();
        }
        let config: Config = serde_json::from_value(config).unwrap();
        struct Bare(Context);
        impl Component for Bare {
            type Config = serde_json::Map<String, Value>;
            const SUMMARY: &'static str = "Test";
            fn examples() -> Vec<Example> {
                Vec::new()
            }
            fn open(_: Self::Config, cx: Context) -> Result<Self> {
                Ok(Self(cx))
            }
        }
        let host = Host::new();
        let bare: Bare = host.open(json!({})).unwrap();
        let session = Bounds::new(&config, &bare.0).unwrap().session();
        Query::new(&config, &session).map(|query| query.scope)
    };
    for (query, scope) in [
        ("SELECT * FROM input", Scope::Row),
        ("SELECT a.n + 1 AS m FROM (SELECT n FROM input WHERE n > 1) a WHERE upper(n) = 'A'", Scope::Row),
        ("WITH a AS (SELECT * FROM input) SELECT CASE WHEN n IS NULL THEN 1 ELSE n END FROM a", Scope::Row),
        ("SELECT unnest(l) FROM input", Scope::Batch),
        ("SELECT * FROM input JOIN d ON n = d.id", Scope::Batch),
        ("SELECT * FROM input LEFT JOIN d ON n = d.id WHERE d.id IS NULL", Scope::Batch),
        ("SELECT * FROM input, d", Scope::Batch),
        ("SELECT * FROM d RIGHT JOIN input ON n = d.id", Scope::Batch),
        ("SELECT * FROM input JOIN (SELECT max(id) AS id FROM d) m ON n = m.id", Scope::Batch),
        ("SELECT * FROM input RIGHT JOIN d ON n = d.id", Scope::Window),
        ("SELECT * FROM input FULL JOIN d ON n = d.id", Scope::Window),
        ("SELECT * FROM input a JOIN input b ON a.n = b.n", Scope::Window),
        ("SELECT * FROM input WHERE n IN (SELECT id FROM d)", Scope::Window),
        ("SELECT max(n) FROM input", Scope::Window),
        ("SELECT n FROM input GROUP BY n", Scope::Window),
        ("SELECT DISTINCT n FROM input", Scope::Window),
        ("SELECT n FROM input ORDER BY n", Scope::Window),
        ("SELECT n FROM input LIMIT 3", Scope::Window),
        ("SELECT n, lag(n) OVER () FROM input", Scope::Window),
        ("SELECT n FROM input UNION ALL SELECT n FROM input", Scope::Window),
        ("SELECT * FROM (SELECT DISTINCT n FROM input)", Scope::Window),
        ("WITH a AS (SELECT n FROM input LIMIT 1) SELECT * FROM a", Scope::Window),
    ] {
        assert_eq!(scope_of(query).unwrap(), scope, "{query}");
    }
    for query in ["SELECT * FROM d", "WITH input AS (SELECT * FROM d) SELECT * FROM input"] {
        assert!(scope_of(query).unwrap_err().message.contains("does not read the stream"), "{query}");
    }
}
