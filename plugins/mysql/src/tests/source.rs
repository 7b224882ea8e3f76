//! Tables, queries, parameters, cursors, splits.

use super::*;

fn plan(source: &mut MysqlSource, cursor: Option<serde_json::Value>) -> Plan {
    source.plan(&PlanRequest { cursor, ..PlanRequest::default() }).unwrap()
}

/// The ids of one window, and how far it goes.
fn window(source: &mut MysqlSource, cursor: Option<serde_json::Value>) -> (Vec<String>, Option<serde_json::Value>) {
    let plan = plan(source, cursor);
    let ids = plan.splits.iter().flat_map(|split| texts(&read_split(source, split).unwrap(), "id")).collect();
    (ids, plan.upper)
}

#[test]
fn a_table_is_read_in_the_order_of_its_primary_key() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number varchar(9), PRIMARY KEY (number, id))");
    scratch.sql("INSERT INTO calls VALUES (1, 'b'), (3, 'a'), (2, 'a')");
    let host = Host::new();
    let mut source = source(&host, &scratch, json!({"table": "calls", "batch": 2}));
    assert_eq!(texts(&read(&mut source).unwrap(), "id"), ["2", "3", "1"]);
    assert_eq!(host.records(), 3);
    let summary = source.check().unwrap().summary;
    assert!(summary.contains("table calls with 2 columns"), "{summary}");
}

#[test]
fn a_query_keeps_its_order_and_takes_its_parameters_as_values() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number varchar(50))");
    let hostile = "'; DROP TABLE calls; -- \\";
    scratch.sql("INSERT INTO calls VALUES (1, '''; DROP TABLE calls; -- \\\\'), (2, 'x'), (3, NULL)");
    let host = Host::new();
    let ids = |query: &str, parameters: serde_json::Value| {
        let mut source = source(&host, &scratch, json!({"query": query, "parameters": parameters}));
        source.check().unwrap();
        texts(&read(&mut source).unwrap(), "id")
    };
    assert_eq!(ids("SELECT id FROM calls ORDER BY id DESC -- all\n;", json!({})), ["3", "2", "1"]);
    assert_eq!(ids("SELECT id FROM calls WHERE number = :number", json!({"number": hostile})), ["1"]);
    assert_eq!(ids("SELECT id FROM calls WHERE number <=> :n", json!({"n": null})), ["3"]);
    assert_eq!(ids("SELECT 5 -:n AS id", json!({"n": -1})), ["6"]);
    assert_eq!(ids("SELECT id FROM calls WHERE id < :n AND :yes", json!({"n": 1.5, "yes": true})), ["1"]);
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["3"]);
}

#[test]
fn what_cannot_be_read_is_told_with_a_way_out() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, ratio double)");
    let host = Host::new();
    let error = |config: serde_json::Value| {
        let error = source(&host, &scratch, config).check().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        format!("{error} {}", error.hint.clone().unwrap_or_default())
    };
    assert!(error(json!({"table": "cals"})).contains("did you mean calls"));
    assert!(error(json!({"query": "SELECT nothing FROM calls"})).contains("nothing"));
    assert!(error(json!({"query": "SELECT ? AS a"})).contains("write `:name`"));
    assert!(error(json!({"query": "DELETE FROM calls"})).contains("no columns"));
    assert!(error(json!({"query": "SELEKT 1"})).contains("1064"));
    assert!(error(json!({"table": "calls", "cursor": {"column": "ratio"}})).contains("cannot be a cursor"));
    assert!(error(json!({"table": "calls", "cursor": {"column": "id", "lag": "1m"}})).contains("leave `lag` out"));
    assert!(error(json!({"table": "calls", "key": "ids"})).contains("did you mean id"));
    let both = json!({"url": scratch.url(), "table": "calls", "query": "SELECT 1"});
    assert_eq!(refused::<MysqlSource>(&host, both).kind, ErrorKind::Config);
}

#[test]
fn a_cursor_reads_each_row_once_and_says_when_there_is_nothing_new() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint unsigned PRIMARY KEY, at datetime(6))");
    scratch.sql("INSERT INTO calls VALUES (1, '2026-01-01'), (2, '2026-01-02 03:04:05.000006'), (3, '2026-01-02 03:04:05.000006'), (4, NULL)");
    let host = Host::new();
    let mut by_time =
        source(&host, &scratch, json!({"table": "calls", "cursor": {"column": "at", "start": "2026-01-02"}}));
    let (ids, upper) = window(&mut by_time, None);
    assert_eq!(ids, ["2", "3"]);
    assert_eq!(upper, Some(json!("2026-01-02 03:04:05.000006")));
    assert_eq!(window(&mut by_time, upper.clone()), (vec![], upper.clone()));
    scratch.sql("INSERT INTO calls VALUES (18446744073709551615, '2026-01-02 03:04:05.000007')");
    assert_eq!(window(&mut by_time, upper).0, ["18446744073709551615"]);
    // Whole numbers beyond what a double tells apart.
    scratch.sql("INSERT INTO calls VALUES (18446744073709551614, NULL)");
    let mut by_number = source(&host, &scratch, json!({"table": "calls", "cursor": {"column": "id"}}));
    let (ids, upper) = window(&mut by_number, Some(json!("18446744073709551614")));
    assert_eq!(ids, ["18446744073709551615"]);
    assert_eq!(upper, Some(json!("18446744073709551615")));
}

#[test]
fn with_a_key_a_row_that_gets_the_newest_value_later_is_read() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint PRIMARY KEY, at date)");
    scratch.sql("INSERT INTO calls VALUES (1, '2026-01-01'), (3, '2026-01-01')");
    let host = Host::new();
    let mut keyed = source(&host, &scratch, json!({"table": "calls", "cursor": {"column": "at", "key": "id"}}));
    let (ids, upper) = window(&mut keyed, None);
    assert_eq!(ids, ["1", "3"]);
    assert_eq!(upper, Some(json!({"value": "2026-01-01", "key": "3"})));
    scratch.sql("INSERT INTO calls VALUES (4, '2026-01-01'), (2, '2026-01-01'), (0, '2026-01-02')");
    let (ids, upper) = window(&mut keyed, upper);
    assert_eq!(ids, ["4", "0"], "and not 2, which the window before has passed");
    assert_eq!(window(&mut keyed, upper).0, Vec::<String>::new());
    scratch.sql("CREATE TABLE loose (id bigint, at date); INSERT INTO loose VALUES (NULL, '2026-01-01')");
    let mut loose = source(&host, &scratch, json!({"table": "loose", "cursor": {"column": "at", "key": "id"}}));
    assert_eq!(loose.plan(&PlanRequest::default()).unwrap_err().kind, ErrorKind::Config);
}

#[test]
fn a_row_that_is_committed_after_the_plan_belongs_to_the_next_window() {
    let mut scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE calls (id bigint PRIMARY KEY, number varchar(9)); INSERT INTO calls VALUES (1, 'a'), (5, 'b')",
    );
    let host = Host::new();
    let mut source = source(&host, &scratch, json!({"table": "calls", "cursor": {"column": "id"}}));
    let planned = plan(&mut source, None);
    scratch.sql("INSERT INTO calls VALUES (3, 'late'), (6, 'new'); UPDATE calls SET number = 'x'");
    assert_eq!(texts(&read_split(&mut source, &planned.splits[0]).unwrap(), "number"), ["a", "b"]);
    // Read again, by another session, it is what it is now, and the log says so.
    assert_eq!(texts(&read_split(&mut source, &planned.splits[0]).unwrap(), "number"), ["x", "x", "x"]);
    assert!(host.log().iter().any(|(_, message)| message.contains("can no longer be seen")));
}

#[test]
fn a_query_of_values_moves_the_windows_of_another_query() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE customer (id bigint, loaded bigint); CREATE TABLE payment (id bigint, loaded bigint)");
    scratch.sql("INSERT INTO customer VALUES (1, 10), (2, 20); INSERT INTO payment VALUES (1, 9007199254740993)");
    let host = Host::new();
    let mut source = source(
        &host,
        &scratch,
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
    scratch.sql("INSERT INTO payment VALUES (2, 9007199254740994)");
    let (ids, upper) = window(&mut source, upper);
    assert_eq!(ids, ["2"], "as whole numbers: doubles would not tell them apart");
    assert_eq!(window(&mut source, upper).0, Vec::<String>::new());
}

#[test]
fn times_wait_for_their_lag_in_their_own_zone() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, at timestamp(6) NULL, local datetime)");
    scratch.sql("INSERT INTO calls VALUES (1, NOW() - INTERVAL 2 HOUR, NOW() - INTERVAL 2 HOUR), (2, NOW() + INTERVAL 90 MINUTE, NOW() + INTERVAL 90 MINUTE)");
    let host = Host::new();
    let ids = |cursor: serde_json::Value| {
        window(&mut source(&host, &scratch, json!({"table": "calls", "cursor": cursor})), None).0
    };
    assert_eq!(ids(json!({"column": "at"})), ["1", "2"]);
    assert_eq!(ids(json!({"column": "at", "lag": "1h"})), ["1"]);
    assert_eq!(ids(json!({"column": "local", "lag": "1h"})), ["1"]);
    // Tokyo is nine hours ahead, all year.
    assert_eq!(ids(json!({"column": "local", "lag": "1h", "time_zone": "Asia/Tokyo"})), ["1", "2"]);
    assert_eq!(ids(json!({"column": "at", "lag": "1h", "time_zone": "Asia/Tokyo"})), ["1"]);
}

#[test]
fn hostile_values_of_a_cursor_are_values_or_refused() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id varchar(99) PRIMARY KEY, number int)");
    scratch.sql("INSERT INTO calls VALUES ('a', 1), ('b''; DROP TABLE calls; -- \\\\', 2)");
    let host = Host::new();
    let mut by_text = source(&host, &scratch, json!({"table": "calls", "cursor": {"column": "id"}}));
    let (ids, upper) = window(&mut by_text, None);
    assert_eq!(ids.len(), 2);
    assert_eq!(window(&mut by_text, upper).0, Vec::<String>::new());
    let mut by_number = source(&host, &scratch, json!({"table": "calls", "cursor": {"column": "number"}}));
    let error =
        by_number.plan(&PlanRequest { cursor: Some(json!("1) OR (1=1")), ..PlanRequest::default() }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert_eq!(scratch.rows("SELECT count(*) FROM calls"), ["2"]);
}

#[test]
fn splits_hold_every_row_once_as_they_were_at_one_moment() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (id bigint, number int)");
    scratch.sql("INSERT INTO calls SELECT CAST(seq AS SIGNED) * 7 - 500, seq FROM seq_1_to_1000; INSERT INTO calls VALUES (NULL, 0), (9223372036854775807, 1), (-9223372036854775808, 2)");
    let host = Host::new();
    let mut source = source(&host, &scratch, json!({"table": "calls", "key": "id", "splits": 5}));
    let planned = plan(&mut source, None);
    assert_eq!(planned.splits.len(), 5);
    scratch.sql("UPDATE calls SET id = id DIV -3; DELETE FROM calls WHERE number > 500");
    let mut ids: Vec<_> =
        planned.splits.iter().flat_map(|split| texts(&read_split(&mut source, split).unwrap(), "id")).collect();
    assert_eq!(ids.len(), 1003);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1003);
    // The session has ended with the last split: nobody waits for it.
    scratch.sql("ALTER TABLE calls DROP COLUMN number");
    // Texts are not cut.
    scratch.sql("CREATE TABLE words (id varchar(9)); INSERT INTO words VALUES ('a'), ('b')");
    let mut words = super::source(&host, &scratch, json!({"table": "words", "key": "id"}));
    assert_eq!(plan(&mut words, None).splits.len(), 1);
}

#[test]
fn a_day_that_no_calendar_has_is_a_dead_letter() {
    let mut scratch = Scratch::new();
    scratch.sql("SET sql_mode = ''; CREATE TABLE calls (id int, day date, at datetime(3), moment timestamp NULL)");
    scratch.sql("INSERT INTO calls VALUES (1, '2026-01-31', '2026-01-31 10:00:00.5', '2026-01-31 10:00:00'), \
        (2, '0000-00-00', NULL, NULL), (3, NULL, '2026-00-10 01:02:03.4', NULL), (4, NULL, NULL, '0000-00-00 00:00:00')");
    let host = Host::new();
    let mut source = source(&host, &scratch, json!({"query": "SELECT * FROM calls ORDER BY id"}));
    assert_eq!(texts(&read(&mut source).unwrap(), "id"), ["1"]);
    let rejections = host.rejections();
    assert!(rejections.iter().all(|rejected| rejected.code == "no_such_value"));
    let days: Vec<_> = rejections.iter().map(|rejected| rejected.rows.clone().unwrap()).collect();
    assert_eq!(texts(&days[0], "day"), ["0000-00-00"]);
    assert_eq!(texts(&days[1], "at"), ["2026-00-10 01:02:03.400000"]);
    assert_eq!(texts(&days[2], "moment"), ["0000-00-00"]);
    assert_eq!(texts(&days[2], "id"), ["4"]);
    assert_eq!(host.records(), 4);
}

#[test]
fn a_long_answer_stops_when_it_is_told_to_and_a_server_that_goes_away_is_unavailable() {
    let mut scratch = Scratch::new();
    let host = Host::new();
    let endless = json!({"query": "SELECT seq FROM seq_1_to_1000000000"});
    let mut read = source(&host, &scratch, endless.clone());
    let split = plan(&mut read, None).splits.remove(0);
    let mut batches = read.read(&split).unwrap();
    assert!(batches.next().unwrap().is_ok());
    let process = format!(
        "SELECT id FROM information_schema.PROCESSLIST WHERE DB = '{}' AND id <> CONNECTION_ID()",
        scratch.database
    );
    let id = scratch.rows(&process).remove(0);
    scratch.sql(&format!("KILL {id}"));
    let error = batches.find_map(Result::err).unwrap();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    let mut batches = read.read(&split).unwrap();
    assert!(batches.next().unwrap().is_ok());
    host.cancel();
    assert_eq!(batches.find_map(Result::err).unwrap().kind, ErrorKind::Cancelled);
    drop(batches);
    // The connection is gone with it, and the server notices.
    while !scratch.rows(&process).is_empty() {}
}

#[test]
fn answers_of_any_shape_are_read() {
    let scratch = Scratch::new();
    let host = Host::new();
    let read = |query: &str| {
        let mut source = source(&host, &scratch, json!({"query": query}));
        source.check().unwrap_or_else(|error| panic!("{query}: {error}"));
        read(&mut source).unwrap_or_else(|error| panic!("{query}: {error}"))
    };
    assert_eq!(texts(&read("SELECT NULL AS a UNION ALL SELECT 7 ORDER BY a"), "a"), ["NULL", "7"]);
    assert_eq!(texts(&read("SELECT @x := 5 AS a"), "a"), ["5"]);
    assert_eq!(texts(&read("SELECT IF(1, 'x', 2) AS a, '?' AS b"), "a"), ["x"]);
    assert_eq!(texts(&read("WITH c AS (SELECT 1 AS n) SELECT n AS a FROM c"), "a"), ["1"]);
    assert_eq!(texts(&read("SELECT ROW_NUMBER() OVER (ORDER BY seq DESC) AS a FROM seq_1_to_3"), "a"), ["1", "2", "3"]);
    assert_eq!(texts(&read("SELECT GROUP_CONCAT(seq ORDER BY seq) AS a FROM seq_1_to_3"), "a"), ["1,2,3"]);
    assert_eq!(texts(&read("SELECT JSON_OBJECT('a', 1) AS a"), "a"), ["{\"a\": 1}"]);
    assert_eq!(texts(&read("SELECT TIMEDIFF('2026-01-02 00:00:00', '2026-01-01 00:00:00') AS a"), "a"), ["24:00:00"]);
    let empty = read("SELECT 1 AS a FROM seq_1_to_3 WHERE FALSE");
    assert_eq!((empty.num_rows(), empty.num_columns()), (0, 1));
    // Two columns of one name: as they are where the query is read as it stands.
    assert_eq!(read("SELECT 1 AS a, 2 AS a").num_columns(), 2);
    let keyed = json!({"query": "SELECT 1 AS a, 2 AS a", "cursor": {"column": "a"}});
    let error = source(&host, &scratch, keyed).plan(&PlanRequest::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    assert!(error.hint.unwrap().contains("a name of its own"));
}

#[test]
fn a_query_that_takes_longer_than_it_may_is_given_up() {
    let (scratch, host) = (Scratch::new(), Host::new());
    let mut source = source(&host, &scratch, json!({"query": "SELECT sleep(60) AS a", "timeout": "100ms"}));
    let error = read(&mut source).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    let said = error.to_string();
    assert!(said.contains("no answer within 100ms") && said.contains("`timeout`"), "{said}");
}
