//! Tables, queries, parameters, cursors, splits.

use super::*;

fn plan(source: &mut SqlServerSource, cursor: Option<serde_json::Value>) -> Plan {
    source.plan(&PlanRequest { cursor, ..PlanRequest::default() }).unwrap()
}

/// The ids of one window, and how far it goes.
fn window(source: &mut SqlServerSource, cursor: Option<serde_json::Value>) -> (Vec<String>, Option<serde_json::Value>) {
    let plan = plan(source, cursor);
    let ids = plan.splits.iter().flat_map(|split| texts(&read_split(source, split).unwrap(), "id")).collect();
    (ids, plan.upper)
}

#[test]
fn a_table_is_read_in_the_order_of_its_primary_key() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint, number varchar(9), PRIMARY KEY (number, id))");
    server.sql("INSERT INTO calls VALUES (1, 'b'), (3, 'a'), (2, 'a')");
    let host = Host::new();
    let mut source = source(&host, &server, json!({"table": "calls", "batch": 2}));
    assert_eq!(texts(&read(&mut source).unwrap(), "id"), ["2", "3", "1"]);
    assert_eq!(host.records(), 3);
    let summary = source.check().unwrap().summary;
    assert!(summary.starts_with("SQL Server 16.0.1000.6 at 127.0.0.1:"), "{summary}");
    assert!(summary.ends_with("/calls, table calls with 2 columns"), "{summary}");
}

#[test]
fn a_query_keeps_its_order_and_takes_its_parameters_as_values() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint, number nvarchar(50))");
    server.sql("INSERT INTO calls VALUES (1, '''; DROP TABLE calls; -- '), (2, 'x'), (3, NULL)");
    let host = Host::new();
    let ids = |query: &str, parameters: serde_json::Value| {
        let mut source = source(&host, &server, json!({"query": query, "parameters": parameters}));
        source.check().unwrap();
        texts(&read(&mut source).unwrap(), "id")
    };
    assert_eq!(ids("SELECT id FROM calls ORDER BY id DESC -- all\n;", json!({})), ["3", "2", "1"]);
    assert_eq!(
        ids("SELECT id FROM calls WHERE number = :number", json!({"number": "'; DROP TABLE calls; -- "})),
        ["1"]
    );
    assert_eq!(ids("SELECT id FROM calls WHERE number = :n OR number IS NULL", json!({"n": null})), ["3"]);
    assert_eq!(ids("SELECT id FROM calls WHERE id > :n AND id < :m", json!({"n": -1, "m": 1.5})), ["1"]);
    assert_eq!(ids("SELECT id FROM calls WHERE id = 2 AND :yes = 1", json!({"yes": true})), ["2"]);
    assert_eq!(server.rows("SELECT count(*) FROM calls"), ["3"]);
    assert!(server.statements().iter().all(|sql| !sql.contains("DROP")), "values are never part of a statement");
}

#[test]
fn what_cannot_be_read_is_told_with_a_way_out() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint, ratio float); CREATE TABLE shapes (id bigint, area geography)");
    let host = Host::new();
    let error = |config: serde_json::Value| {
        let error = source(&host, &server, config).check().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        format!("{error} {}", error.hint.clone().unwrap_or_default())
    };
    assert!(error(json!({"table": "cals"})).contains("did you mean calls"));
    let unknown = error(json!({"query": "SELECT missing FROM calls"}));
    assert!(unknown.contains("error 207"), "{unknown}");
    assert!(error(json!({"query": "SELECT id FROM nowhere"})).contains("error 208"));
    assert!(error(json!({"query": "DELETE FROM calls"})).contains("no columns"));
    assert!(error(json!({"query": "SELEKT 1"})).contains("error 102"));
    assert!(error(json!({"table": "calls", "cursor": {"column": "ratio"}})).contains("cannot be a cursor"));
    assert!(error(json!({"table": "calls", "cursor": {"column": "id", "lag": "1m"}})).contains("leave `lag` out"));
    assert!(error(json!({"table": "calls", "key": "ids"})).contains("did you mean id"));
    let shapes = error(json!({"table": "shapes"}));
    assert!(shapes.contains("of type geography") && shapes.contains("CAST([area] AS nvarchar(max))"), "{shapes}");
    let both = json!({"url": server.url(), "table": "calls", "query": "SELECT 1"});
    assert_eq!(refused::<SqlServerSource>(&host, both).kind, ErrorKind::Config);
}

#[test]
fn a_cursor_reads_each_row_once_and_says_when_there_is_nothing_new() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint PRIMARY KEY, at datetime2(7))");
    server.sql("INSERT INTO calls VALUES (1, '2026-01-01 00:00:00.0000000'), (2, '2026-01-02 03:04:05.0000006'), (3, '2026-01-02 03:04:05.0000006'), (4, NULL)");
    let host = Host::new();
    let by_time = json!({"table": "calls", "cursor": {"column": "at", "start": "2026-01-02"}});
    let mut by_time = source(&host, &server, by_time);
    let (ids, upper) = window(&mut by_time, None);
    assert_eq!(ids, ["2", "3"]);
    assert_eq!(upper, Some(json!("2026-01-02 03:04:05.0000006")), "with the digit that Arrow has no place for");
    assert_eq!(window(&mut by_time, upper.clone()), (vec![], upper.clone()));
    server.sql("INSERT INTO calls VALUES (9223372036854775806, '2026-01-02 03:04:05.0000007')");
    assert_eq!(window(&mut by_time, upper).0, ["9223372036854775806"]);
    // Whole numbers beyond what a floating-point number tells apart.
    server.sql("INSERT INTO calls VALUES (9223372036854775807, NULL)");
    let mut by_number = source(&host, &server, json!({"table": "calls", "cursor": {"column": "id"}}));
    let (ids, upper) = window(&mut by_number, Some(json!("9223372036854775806")));
    assert_eq!(ids, ["9223372036854775807"]);
    assert_eq!(upper, Some(json!("9223372036854775807")));
}

#[test]
fn cursors_of_other_types_are_compared_with_their_like() {
    let server = StandIn::new();
    server.sql(
        "CREATE TABLE calls (id int, day date, tick datetime, word nvarchar(9), moment datetimeoffset(7), \
         amount money, version rowversion)",
    );
    server.sql("INSERT INTO calls VALUES (1, '2026-01-01', '2026-01-01 00:00:00.003', 'a', '2026-01-01 00:00:00.0000000 +00:00', '1.0001', x'00000000000007d1'), \
        (2, '2026-01-02', '2026-01-01 00:00:00.007', 'b', '2026-01-01 00:00:00.0000001 +00:00', '1.0002', x'00000000000107d2')");
    let host = Host::new();
    for (column, from, upper) in [
        ("day", json!("2026-01-01"), json!("2026-01-02")),
        ("tick", json!("2026-01-01 00:00:00.003"), json!("2026-01-01 00:00:00.007")),
        ("word", json!("a"), json!("b")),
        ("amount", json!("1.0001"), json!("1.0002")),
        ("version", json!("0x00000000000007d1"), json!("0x00000000000107D2")),
        ("moment", json!("2026-01-01 01:00:00 +01:00"), json!("2026-01-01 00:00:00.0000001 +00:00")),
    ] {
        let mut source = source(&host, &server, json!({"table": "calls", "cursor": {"column": column}}));
        assert_eq!(window(&mut source, Some(from)), (vec!["2".into()], Some(upper.clone())), "{column}");
        assert_eq!(window(&mut source, Some(upper)).0, Vec::<String>::new(), "{column}");
    }
}

#[test]
fn with_a_key_a_row_that_gets_the_newest_value_later_is_read() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint PRIMARY KEY, at date)");
    server.sql("INSERT INTO calls VALUES (1, '2026-01-01'), (3, '2026-01-01')");
    let host = Host::new();
    let mut keyed = source(&host, &server, json!({"table": "calls", "cursor": {"column": "at", "key": "id"}}));
    let (ids, upper) = window(&mut keyed, None);
    assert_eq!(ids, ["1", "3"]);
    assert_eq!(upper, Some(json!({"value": "2026-01-01", "key": "3"})));
    server.sql("INSERT INTO calls VALUES (4, '2026-01-01'), (2, '2026-01-01'), (0, '2026-01-02')");
    let (ids, upper) = window(&mut keyed, upper);
    assert_eq!(ids, ["4", "0"], "and not 2, which the window before has passed");
    assert_eq!(window(&mut keyed, upper).0, Vec::<String>::new());
    server.sql("CREATE TABLE loose (id bigint, at date); INSERT INTO loose VALUES (NULL, '2026-01-01')");
    let mut loose = source(&host, &server, json!({"table": "loose", "cursor": {"column": "at", "key": "id"}}));
    assert_eq!(loose.plan(&PlanRequest::default()).unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn a_row_that_is_committed_after_the_plan_belongs_to_the_next_window() {
    let server = StandIn::new();
    server.sql(
        "CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(9)); INSERT INTO calls VALUES (1, 'a'), (5, 'b')",
    );
    let host = Host::new();
    let mut source = source(&host, &server, json!({"table": "calls", "cursor": {"column": "id"}}));
    let planned = plan(&mut source, None);
    server.sql("INSERT INTO calls VALUES (3, 'late'), (6, 'new'); UPDATE calls SET number = 'x'");
    assert_eq!(texts(&read_split(&mut source, &planned.splits[0]).unwrap(), "number"), ["a", "b"]);
    // Read again, by another session, it is what it is now, and the log says so.
    assert_eq!(texts(&read_split(&mut source, &planned.splits[0]).unwrap(), "number"), ["x", "x", "x"]);
    assert!(host.log().iter().any(|(_, message)| message.contains("can no longer be seen")));
}

#[test]
fn a_database_without_snapshots_is_read_as_it_is_and_the_log_says_so() {
    let server = StandIn::with(|settings| settings.snapshots = false);
    server.sql("CREATE TABLE calls (id bigint PRIMARY KEY); INSERT INTO calls VALUES (1), (5), (9)");
    let host = Host::new();
    let mut source = source(&host, &server, json!({"table": "calls", "key": "id", "splits": 2}));
    let planned = plan(&mut source, None);
    server.sql("INSERT INTO calls VALUES (3)");
    let ids: Vec<_> =
        planned.splits.iter().flat_map(|split| texts(&read_split(&mut source, split).unwrap(), "id")).collect();
    assert_eq!(ids, ["1", "3", "5", "9"]);
    let log = host.log();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].1.contains("ALLOW_SNAPSHOT_ISOLATION"));
    assert!(server.statements().iter().all(|sql| !sql.contains("BEGIN TRANSACTION")));
}

#[test]
fn a_query_of_values_moves_the_windows_of_another_query() {
    let server = StandIn::new();
    server.sql("CREATE TABLE customer (id bigint, loaded bigint); CREATE TABLE payment (id bigint, loaded bigint)");
    server.sql("INSERT INTO customer VALUES (1, 10), (2, 20); INSERT INTO payment VALUES (1, 9007199254740993)");
    let host = Host::new();
    let mut source = source(
        &host,
        &server,
        json!({
            "query": "SELECT DISTINCT c.id FROM customer c LEFT JOIN payment p ON p.id = c.id \
                      WHERE (c.loaded > :window_start AND c.loaded <= :window_end) \
                      OR (p.loaded > :window_start AND p.loaded <= :window_end) ORDER BY c.id DESC",
            "cursor": {"query": "SELECT loaded FROM customer UNION ALL SELECT loaded FROM payment", "start": 0}
        }),
    );
    source.check().unwrap();
    let (ids, upper) = window(&mut source, None);
    assert_eq!(ids, ["2", "1"]);
    assert_eq!(upper, Some(json!("9007199254740993")));
    server.sql("INSERT INTO payment VALUES (2, 9007199254740994)");
    let (ids, upper) = window(&mut source, upper);
    assert_eq!(ids, ["2"], "as whole numbers: floating-point ones would not tell them apart");
    assert_eq!(window(&mut source, upper).0, Vec::<String>::new());
}

#[test]
fn times_wait_for_their_lag_in_their_own_zone() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint, day date, local datetime2(7), moment datetimeoffset(7))");
    // The server's clock says noon of the 28th.
    server.sql("INSERT INTO calls VALUES (1, '2026-11-27', '2026-11-28 10:00:00.0000000', '2026-11-28 10:00:00.0000000 +00:00'), \
        (2, '2026-11-28', '2026-11-28 13:30:00.0000000', '2026-11-28 13:30:00.0000000 +00:00')");
    let host = Host::new();
    let ids = |cursor: serde_json::Value| {
        window(&mut source(&host, &server, json!({"table": "calls", "cursor": cursor})), None).0
    };
    assert_eq!(ids(json!({"column": "local"})), ["1", "2"]);
    assert_eq!(ids(json!({"column": "local", "lag": "1h"})), ["1"]);
    // Tokyo is nine hours ahead, all year.
    assert_eq!(ids(json!({"column": "local", "lag": "1h", "time_zone": "Asia/Tokyo"})), ["1", "2"]);
    assert_eq!(ids(json!({"column": "moment", "lag": "1h", "time_zone": "Asia/Tokyo"})), ["1"]);
    assert_eq!(ids(json!({"column": "day", "lag": "1h"})), ["1"], "the 28th is not over");
    assert_eq!(ids(json!({"column": "day", "lag": "13h"})), Vec::<String>::new());
}

#[test]
fn hostile_values_of_a_cursor_are_values_or_refused() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id nvarchar(99) PRIMARY KEY, number int)");
    server.sql("INSERT INTO calls VALUES ('a', 1), ('b''; DROP TABLE calls; --', 2)");
    let host = Host::new();
    let mut by_text = source(&host, &server, json!({"table": "calls", "cursor": {"column": "id"}}));
    let (ids, upper) = window(&mut by_text, None);
    assert_eq!(ids.len(), 2);
    assert_eq!(window(&mut by_text, upper).0, Vec::<String>::new());
    let mut by_number = source(&host, &server, json!({"table": "calls", "cursor": {"column": "number"}}));
    let error =
        by_number.plan(&PlanRequest { cursor: Some(json!("1) OR (1=1")), ..PlanRequest::default() }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(server.statements().iter().all(|sql| !sql.contains("DROP") && !sql.contains("1=1")));
}

#[test]
fn splits_hold_every_row_once_as_they_were_at_one_moment() {
    let server = StandIn::new();
    server.sql("CREATE TABLE calls (id bigint, number int)");
    server.sql("INSERT INTO calls WITH RECURSIVE seq(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM seq WHERE n < 1000) SELECT n * 7 - 500, n FROM seq");
    server.sql("INSERT INTO calls VALUES (NULL, 0), (9223372036854775807, 1), (-9223372036854775808, 2)");
    let host = Host::new();
    let mut first = source(&host, &server, json!({"table": "calls", "key": "id", "splits": 5}));
    let planned = plan(&mut first, None);
    assert_eq!(planned.splits.len(), 5);
    server.sql("UPDATE calls SET id = id / -3; DELETE FROM calls WHERE number > 500");
    let mut ids: Vec<_> =
        planned.splits.iter().flat_map(|split| texts(&read_split(&mut first, split).unwrap(), "id")).collect();
    assert_eq!(ids.len(), 1003);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1003);
    // Texts are not cut.
    server.sql("CREATE TABLE words (id varchar(9)); INSERT INTO words VALUES ('a'), ('b')");
    let mut words = source(&host, &server, json!({"table": "words", "key": "id"}));
    assert_eq!(plan(&mut words, None).splits.len(), 1);
}

#[test]
fn a_long_answer_stops_when_it_is_told_to_and_a_server_that_goes_away_is_unavailable() {
    let server = StandIn::new();
    let host = Host::new();
    let mut read = source(&host, &server, json!({"query": server::ENDLESS}));
    let split = plan(&mut read, None).splits.remove(0);
    let mut batches = read.read(&split).unwrap();
    assert_eq!(batches.next().unwrap().unwrap().num_rows(), 8192);
    server.cut();
    let error = batches.find_map(Result::err).unwrap();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    let mut batches = read.read(&split).unwrap();
    assert!(batches.next().unwrap().is_ok());
    host.cancel();
    assert_eq!(batches.find_map(Result::err).unwrap().kind, ErrorKind::Cancelled);
}
