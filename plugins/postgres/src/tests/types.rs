//! The table of types in the README, type by type: into Arrow, and back into a table like the first.

use arrow_schema::TimeUnit;

use super::*;

/// Types of the server, what they are in Arrow, and values of them: the ends, the odd and the ordinary.
fn crossing() -> Vec<(&'static str, DataType, Vec<String>)> {
    use DataType as T;
    let micro = TimeUnit::Microsecond;
    let (moment, instant) = (T::Timestamp(micro, None), T::Timestamp(micro, Some("UTC".into())));
    let nines = |count: usize| "9".repeat(count);
    let around = |text: &str| vec![text.to_owned(), format!("-{text}"), "0".into(), "1".into(), "-1".into()];
    let below_one = |count: usize| around(&format!("0.{}", nines(count)));
    let all = |values: &[&str]| values.iter().map(|value| value.to_string()).collect::<Vec<_>>();
    vec![
        ("boolean", T::Boolean, all(&["true", "false"])),
        ("smallint", T::Int16, all(&["-32768", "32767", "0"])),
        ("integer", T::Int32, all(&["-2147483648", "2147483647"])),
        ("bigint", T::Int64, all(&["-9223372036854775808", "9223372036854775807"])),
        ("real", T::Float32, all(&["NaN", "Infinity", "-Infinity", "-0", "1e-45", "3.4028235e38", "0.1"])),
        (
            "double precision",
            T::Float64,
            all(&["NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e308"]),
        ),
        ("numeric(38,0)", T::Decimal128(38, 0), around(&nines(38))),
        ("numeric(38,38)", T::Decimal128(38, 38), below_one(38)[..3].to_vec()),
        ("numeric(39,0)", T::Decimal256(39, 0), around(&nines(39))),
        ("numeric(50,10)", T::Decimal256(50, 10), around(&format!("{}.0000000001", nines(40)))),
        ("numeric(76,0)", T::Decimal256(76, 0), [around(&nines(76)), around(&format!("1{}", "0".repeat(75)))].concat()),
        ("numeric(76,76)", T::Decimal256(76, 76), below_one(76)[..3].to_vec()),
        ("numeric(76,37)", T::Decimal256(76, 37), around(&format!("{}.{}", nines(39), nines(37)))),
        ("numeric(77,0)", T::Utf8, [around(&nines(77)), all(&["NaN"])].concat()),
        ("numeric(5,-2)", T::Utf8, all(&["123456", "-50", "NaN"])),
        ("numeric(2,5)", T::Utf8, all(&["0.00099", "0"])),
        ("numeric", T::Utf8, all(&["NaN", "Infinity", "-Infinity", "1.500", "1e1000", "1e-1000", "-0.0"])),
        (
            "text",
            T::Utf8,
            all(&["", " spaces ", "NULL", "\\N", "Grüße, 東京 🦀", "a\nb\tc\\d'e\"f", "\u{feff}\u{202e}\u{1}"]),
        ),
        ("varchar(5)", T::Utf8, all(&["", "🦀🦀🦀🦀🦀", "ab   "])),
        ("char(5)", T::Utf8, all(&["", "ab", "🦀🦀🦀🦀🦀"])),
        ("name", T::Utf8, vec!["select".into(), "n".repeat(63)]),
        ("\"char\"", T::Utf8, all(&["a", ""])),
        (
            "json",
            T::Utf8,
            all(&[r#"{"a": 1, "a":  [null, "\u0000", "🦀\ud83e\udd80"]}"#, "null", "\"\u{2028}\"", "1e400"]),
        ),
        (
            "jsonb",
            T::Utf8,
            all(&[r#"{"b": "\ud83e\udd80🦀\u2028", "a": [null, 1e30, {}]}"#, "null", "\"\\\"\"", "1.50"]),
        ),
        ("uuid", T::Utf8, all(&["00000000-0000-0000-0000-000000000000", "FFFFFFFF-ffff-ffff-ffff-ffffffffffff"])),
        ("bytea", T::Binary, all(&["", "\\x00ff5c27"])),
        ("date", T::Date32, all(&["4714-11-24 BC", "0001-12-31 BC", "0001-01-01", "1969-12-31", "5874897-12-31"])),
        ("time", T::Time64(micro), all(&["00:00", "23:59:59.999999", "24:00:00"])),
        ("timestamp", moment, all(&["4714-11-24 BC", "1969-12-31 23:59:59.999999", "294247-01-10 04:00:54.775807"])),
        (
            "timestamptz",
            instant,
            all(&["4714-11-24 00:00+00 BC", "2025-03-30 02:30+02", "294247-01-10 04:00:54.775807+00"]),
        ),
        ("timestamp(0)", T::Timestamp(micro, None), all(&["2025-09-17 15:44:08.6"])),
        ("timetz", T::Utf8, all(&["00:00+15:59:59", "24:00-15:59:59", "12:00:00.000001+05:30"])),
        (
            "interval",
            T::Utf8,
            all(&["-178000000 years", "178000000 years", "-1 year 2 mons -3 days 04:05:06.7", "-00:00:00.000001"]),
        ),
        ("money", T::Utf8, all(&["-92233720368547758.08", "92233720368547758.07", "0.01"])),
        ("bit(3)", T::Utf8, all(&["101", "000"])),
        ("varbit", T::Utf8, all(&["", "10101010101"])),
        ("inet", T::Utf8, all(&["10.0.0.1", "10.0.0.1/8", "::ffff:1.2.3.4", "fe80::/10"])),
        ("cidr", T::Utf8, all(&["10.0.0.0/8", "10.0.0.1/32", "::/0"])),
        ("macaddr", T::Utf8, all(&["08:00:2b:01:02:03"])),
        ("int4range", T::Utf8, all(&["empty", "[1,5)", "(,)", "[-2147483648,2147483647)"])),
        ("numrange", T::Utf8, all(&["(0.10,1e30]"])),
        ("tstzrange", T::Utf8, all(&["[2025-03-30 01:30+00,infinity)", "[4714-11-24 00:00+00 BC,)"])),
        ("int4multirange", T::Utf8, all(&["{}", "{[1,2),[5,7)}"])),
        ("xml", T::Utf8, all(&["<a b=\"1\">&amp;🦀</a>", "text <b/>"])),
        ("tsvector", T::Utf8, all(&["'a':1A 'it''s' 'back\\\\slash'"])),
        ("tsquery", T::Utf8, all(&["'a' & !'b'"])),
        ("point", T::Utf8, all(&["(0.1,-1e300)", "(NaN,Infinity)"])),
        ("oid", T::Utf8, all(&["4294967295"])),
        ("pg_lsn", T::Utf8, all(&["16/B374D848"])),
        ("integer[]", T::Utf8, all(&["{}", "{1,NULL,3}", "{{1,2},{3,NULL}}", "[0:1]={1,2}"])),
        ("text[]", T::Utf8, all(&[r#"{NULL,"NULL","",a b,"c,d","e\"f\\g","{}"}"#])),
        ("varchar(3)[]", T::Utf8, all(&["{abc,NULL}"])),
        (
            "double precision[]",
            T::Utf8,
            all(&["{0.1,5e-324,1.7976931348623157e308,NaN,-Infinity,-0,0.30000000000000004}"]),
        ),
        ("real[]", T::Utf8, all(&["{0.1,1e-45,3.4028235e38}"])),
        ("bytea[]", T::Utf8, all(&[r#"{"\\x00ff",NULL}"#])),
        ("timestamptz[]", T::Utf8, all(&["{\"2025-01-02 03:04:05.000001+00\",infinity}"])),
        ("interval[]", T::Utf8, all(&["{\"-1 year 2 mons -3 days 04:05:06.7\"}"])),
        ("jsonb[]", T::Utf8, all(&[r#"{"{\"a\": 1}",NULL}"#])),
        ("mood", T::Utf8, all(&["good", "it's bad"])),
        ("mood[]", T::Utf8, all(&["{good,\"it's bad\",NULL}"])),
        ("price", T::Utf8, vec![format!("{}.01", nines(48)), "0".into()]),
        ("short", T::Utf8, all(&["abc", ""])),
        ("good_mood", T::Utf8, all(&["good"])),
        ("pair", T::Utf8, all(&["(1,\"a \"\"b\"\"\")", "(,)"])),
    ]
}

const OF_OUR_OWN: &str = "CREATE TYPE mood AS ENUM ('good', 'it''s bad'); CREATE DOMAIN price AS numeric(50,2) CHECK (value >= 0);
    CREATE DOMAIN short AS varchar(3); CREATE DOMAIN good_mood AS mood CHECK (value = 'good'); CREATE TYPE pair AS (n integer, t text)";

/// Reads a table of every type, writes it into another, and compares them as the server shows them.
fn there_and_back(options: &str) {
    let types = crossing();
    let mut scratch = Scratch::new();
    scratch.sql(OF_OUR_OWN);
    let columns: Vec<_> = types.iter().enumerate().map(|(place, (name, ..))| format!("c{place} {name}")).collect();
    let columns = columns.join(", ");
    scratch.sql(&format!("CREATE TABLE calls (n integer PRIMARY KEY, {columns}); CREATE TABLE copies (LIKE calls)"));
    // One more than the longest list: the last row has no values.
    let rows = types.iter().map(|(.., values)| values.len()).max().unwrap() + 1;
    for row in 0..rows {
        let cell = |(_, _, values): &(_, _, Vec<String>)| {
            values.get(row).map_or("NULL".into(), |value| format!("'{}'", value.replace('\'', "''")))
        };
        let cells: Vec<_> = types.iter().map(cell).collect();
        scratch.sql(&format!("INSERT INTO calls VALUES ({row}, {})", cells.join(", ")));
    }
    let host = Host::new();
    let url = format!("{}{options}", scratch.url());
    let mut source: PostgresSource = host.open(json!({"url": url, "table": "calls"})).unwrap();
    let read = read(&mut source).unwrap();
    let schema = read.schema();
    for (field, (name, expected, _)) in schema.fields().iter().skip(1).zip(&types) {
        assert_eq!(field.data_type(), expected, "{name}");
    }
    let mut sink: PostgresSink = host.open(json!({"url": url, "table": "copies"})).unwrap();
    let written = deliver(&mut sink, 1, read).unwrap().rows;
    let reasons: Vec<_> = host.rejections().into_iter().map(|rejected| rejected.reason).collect();
    assert_eq!((written, reasons), (rows as u64, vec![]));
    for (place, (name, ..)) in types.iter().enumerate() {
        // Text in quotes keeps what `char` pads and what text would hide.
        let values = |table: &str| format!("SELECT quote_nullable(ROW(c{place})::text) FROM {table} ORDER BY n");
        assert_eq!(scratch.rows(&values("copies")), scratch.rows(&values("calls")), "{name}");
    }
}

#[test]
fn every_value_of_every_type_comes_back_as_it_was() {
    there_and_back("");
}

#[test]
fn a_numeric_has_its_size_where_a_table_or_view_gives_it_one() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE VIEW thirds AS SELECT (1::numeric / 3)::numeric(50,40) AS third");
    let host = Host::new();
    let query = "SELECT third, third + 0 AS free, (third + 0)::numeric(50,40) AS text FROM thirds";
    let mut source: PostgresSource = host.open(json!({"url": scratch.url(), "query": query})).unwrap();
    let rows = read(&mut source).unwrap();
    let types: Vec<_> = rows.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Decimal256(50, 40), DataType::Utf8, DataType::Utf8]);
    let third = arrow_cast::cast(rows.column(0), &DataType::Utf8).unwrap();
    assert_eq!((&third, &third), (rows.column(1), rows.column(2)));
}

#[test]
fn how_a_login_likes_to_see_values_makes_no_difference() {
    there_and_back(
        "%20-cextra_float_digits%3D-15%20-cbytea_output%3Descape%20-cIntervalStyle%3Diso_8601\
         %20-cDateStyle%3DSQL%2CDMY%20-cTimeZone%3DAsia%2FKolkata%20-cstandard_conforming_strings%3Doff",
    );
}

#[test]
fn values_that_no_arrow_type_holds_are_refused_by_name_and_their_rows_kept() {
    let mut scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE calls (n integer PRIMARY KEY, at timestamp, clock time, cost numeric(50,2), day date, raw bytea)",
    );
    scratch.sql(
        r"INSERT INTO calls VALUES
            (1, 'infinity', '24:00', 1, '5874897-12-31', '\xff00'),
            (2, '294276-12-31 23:59:59.999999', '12:00', 1, 'infinity', NULL),
            (3, '294247-01-10 04:00:54.775808', NULL, -12345678901234567890123456789012345678901234567.89, NULL, NULL),
            (4, '4714-11-24 BC', '24:00', 'NaN', '4714-11-24 BC', ''),
            (5, NULL, '24:00', NULL, NULL, NULL)",
    );
    let host = Host::new();
    let mut source: PostgresSource = host.open(json!({"url": scratch.url(), "table": "calls"})).unwrap();
    let rows = read(&mut source).unwrap();
    assert_eq!(rows.column(0).as_ref(), &arrow_array::Int32Array::from(vec![5]));
    let rejections = host.rejections();
    let shown = |rejected: &engine_sdk::testing::Rejected| {
        let row = rejected.rows.clone().unwrap();
        let text = |column: &ArrayRef| match column.as_string_opt::<i32>() {
            _ if column.is_null(0) => "NULL".to_owned(),
            Some(texts) => texts.value(0).to_owned(),
            None => format!("{:?}", column.as_binary::<i32>().value(0)),
        };
        row.columns().iter().map(text).collect::<Vec<_>>().join("|")
    };
    assert_eq!(
        rejections.iter().map(shown).collect::<Vec<_>>(),
        [
            r"1|infinity|24:00:00|1.00|5874897-12-31|[255, 0]",
            "2|294276-12-31 23:59:59.999999|12:00:00|1.00|infinity|NULL",
            "3|294247-01-10 04:00:54.775808|NULL|-12345678901234567890123456789012345678901234567.89|NULL|NULL",
            r"4|4714-11-24 00:00:00 BC|24:00:00|NaN|4714-11-24 BC|[]",
        ]
    );
    let begins = ["at: infinity", "at: 294276-12-31 23:59:59.999999", "at: 294247-01-10 04:00:54.775808", "cost: NaN"];
    for (rejected, begin) in rejections.iter().zip(begins) {
        assert!(rejected.reason.starts_with(&format!("{begin} cannot be held by ")), "{}", rejected.reason);
    }
}

#[test]
fn a_text_that_its_type_does_not_read_costs_only_its_row() {
    for (declared, good, bad) in [
        ("tsvector", "'a' 'b'", "'a"),
        ("tsquery", "'a' & 'b'", "a &"),
        ("jsonpath", "$.\"a\"", "$."),
        ("regclass", "pg_class", "no_such_table"),
        ("regclass", "pg_class", "no_such_schema.pg_class"),
        ("regclass", "pg_class", "a.b.c"),
        ("regproc", "pg_backend_pid", "abs"),
        ("regtype", "integer", "no_such_type"),
        ("regtype", "integer", "integer("),
        ("jsonb", "{}", &("[".repeat(100_000) + &"]".repeat(100_000))),
        ("name", "n", &"n".repeat(64)),
        ("jsonb", "{}", "\"\\u0000\""),
        ("json", "\"\\u0000\"", "{"),
        ("xml", "<a/>", "<a"),
        ("int4range", "[1,5)", "[5,1)"),
        ("timestamptz[]", "{infinity}", "{\"2025-01-01 00:00 Nowhere/City\"}"),
        ("cidr", "10.0.0.0/8", "10.0.0.1/8"),
        ("time", "24:00:00", "24:00:01"),
        ("numeric(76,76)", "0.1", "1"),
        ("money", "$1.00", "one"),
    ] {
        let mut scratch = Scratch::new();
        scratch.sql(&format!("CREATE TABLE calls (value {declared})"));
        let host = Host::new();
        let mut sink: PostgresSink = host.open(json!({"url": scratch.url(), "table": "calls"})).unwrap();
        let values = batch(vec![("value", Arc::new(StringArray::from(vec![good, bad, good])) as ArrayRef)]);
        assert_eq!(deliver(&mut sink, 1, values).unwrap().rows, 2, "{declared}");
        let same = format!("SELECT DISTINCT value::text = '{}'::{declared}::text FROM calls", good.replace('\'', "''"));
        assert_eq!(scratch.rows(&same), ["t"], "{declared}");
        assert_eq!(host.rejections().len(), 1, "{declared}");
    }
}

#[test]
fn what_is_wrong_with_a_functions_sql_buries_no_row() {
    let mut scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE calls (value tsvector);
         CREATE FUNCTION wrong() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELEKT 1'; RETURN new; END $$;
         CREATE TRIGGER wrong BEFORE INSERT ON calls FOR EACH ROW EXECUTE FUNCTION wrong()",
    );
    let host = Host::new();
    let mut sink: PostgresSink = host.open(json!({"url": scratch.url(), "table": "calls"})).unwrap();
    let rows = batch(vec![("value", Arc::new(StringArray::from(vec!["'a'", "'b'"])) as ArrayRef)]);
    assert_eq!(deliver(&mut sink, 1, rows).unwrap_err().kind, ErrorKind::Config);
    assert_eq!(host.rejections(), vec![]);
}
