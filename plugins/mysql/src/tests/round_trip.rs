//! What is written is read again, whatever it is, and what others have written is read as it is.

use arrow_array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Time64MicrosecondArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow_buffer::i256;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// Printed by a failing test; change it to look elsewhere.
const SEED: [u8; 32] = [7; 32];

type Cells<T> = Vec<Option<T>>;

fn cells<T: std::fmt::Debug + Clone + 'static>(value: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Cells<T>> {
    prop::collection::vec(prop::option::weighted(0.8, value), ROWS).boxed()
}

const ROWS: usize = 20;

fn column<T, A>(name: &'static str, cells: BoxedStrategy<Cells<T>>) -> BoxedStrategy<(&'static str, ArrayRef)>
where
    T: std::fmt::Debug + 'static,
    A: From<Cells<T>> + Array + 'static,
{
    cells.prop_map(move |cells| (name, Arc::new(A::from(cells)) as ArrayRef)).boxed()
}

fn rows() -> impl Strategy<Value = RecordBatch> {
    let finite32 = prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO;
    let finite64 = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO;
    let moment = -62_167_219_200_000_000_i64..253_402_300_800_000_000;
    let most = 10_i128.pow(38) - 1;
    // Of every length up to 65 digits.
    let long = (any::<[u8; 32]>(), 1..=65_u32).prop_map(|(bytes, digits)| {
        i256::from_be_bytes(bytes).checked_rem(i256::from_i128(10).checked_pow(digits).unwrap()).unwrap()
    });
    vec![
        column::<_, Int8Array>("int1", cells(any::<i8>())),
        column::<_, Int16Array>("int2", cells(any::<i16>())),
        column::<_, Int32Array>("int4", cells(any::<i32>())),
        column::<_, Int64Array>("int8", cells(any::<i64>())),
        column::<_, UInt8Array>("uint1", cells(any::<u8>())),
        column::<_, UInt16Array>("uint2", cells(any::<u16>())),
        column::<_, UInt32Array>("uint4", cells(any::<u32>())),
        column::<_, UInt64Array>("uint8", cells(any::<u64>())),
        column::<_, Float32Array>("float4", cells(finite32)),
        column::<_, Float64Array>("float8", cells(finite64)),
        cells(-most..=most)
            .prop_map(|cells| {
                let array = Decimal128Array::from(cells).with_precision_and_scale(38, 5).unwrap();
                ("decimal", Arc::new(array) as ArrayRef)
            })
            .boxed(),
        cells(long)
            .prop_map(|cells| {
                let array = Decimal256Array::from(cells).with_precision_and_scale(65, 30).unwrap();
                ("long", Arc::new(array) as ArrayRef)
            })
            .boxed(),
        cells("\\PC{0,20}|[\\x00-\\x7f]{0,20}".prop_map(String::from))
            .prop_map(|cells| ("text", Arc::new(StringArray::from(cells)) as ArrayRef))
            .boxed(),
        cells(prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|cells| ("bytes", Arc::new(BinaryArray::from_iter(cells)) as ArrayRef))
            .boxed(),
        column::<_, Date32Array>("day", cells(-719_528..=2_932_896)),
        column::<_, TimestampMicrosecondArray>("moment", cells(moment)),
    ]
    .prop_map(batch)
}

#[test]
fn every_type_comes_back_as_it_went() {
    println!("seed {SEED:?}");
    let scratch = Scratch::new();
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({"create": true}));
    let mut source = source(&host, &scratch, json!({"table": "calls"}));
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    let window = std::cell::Cell::new(0);
    let scratch = std::cell::RefCell::new(scratch);
    let ends = std::cell::RefCell::new((&mut sink, &mut source));
    runner
        .run(&rows(), |rows| {
            let (sink, source) = &mut *ends.borrow_mut();
            window.set(window.get() + 1);
            let receipt = deliver(sink, window.get(), rows.clone()).unwrap();
            prop_assert_eq!(receipt.rows, rows.num_rows() as u64, "{:?}", host.rejections());
            prop_assert_eq!(read(source).unwrap(), rows);
            scratch.borrow_mut().sql("TRUNCATE calls");
            Ok(())
        })
        .unwrap();
    assert_eq!(host.rejections(), []);
}

#[test]
fn times_booleans_and_moments_with_a_zone_come_back_as_the_table_has_them() {
    let mut scratch = Scratch::new();
    scratch.sql("CREATE TABLE calls (yes tinyint(1), at time(6), moment timestamp(6) NULL, whole decimal(20,0))");
    let host = Host::new();
    let mut sink = sink(&host, &scratch, json!({}));
    let moments =
        TimestampMicrosecondArray::from(vec![Some(1), Some(2_147_483_647_999_999), None]).with_timezone("UTC");
    let rows = batch(vec![
        ("yes", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("at", Arc::new(Time64MicrosecondArray::from(vec![Some(0), Some(86_399_999_999), None]))),
        ("moment", Arc::new(moments.clone())),
        ("whole", Arc::new(UInt64Array::from(vec![Some(0), Some(u64::MAX), None]))),
    ]);
    assert_eq!(deliver(&mut sink, 1, rows).unwrap().rows, 3, "{:?}", host.rejections());
    let read = read(&mut source(&host, &scratch, json!({"table": "calls"}))).unwrap();
    assert_eq!(texts(&read, "yes"), ["1", "0", "NULL"]);
    assert_eq!(texts(&read, "at"), ["00:00:00.000000", "23:59:59.999999", "NULL"]);
    assert_eq!(read.column_by_name("moment").unwrap().as_ref(), &moments as &dyn Array);
    assert_eq!(texts(&read, "whole"), ["0", "18446744073709551615", "NULL"]);
}

/// Type, value as SQL, Arrow type, value as text.
const ODDITIES: [(&str, &str, &str, &str); 51] = [
    ("tinyint", "-128", "Int8", "-128"),
    ("tinyint(1)", "2", "Int8", "2"),
    ("tinyint unsigned", "255", "UInt8", "255"),
    ("smallint unsigned", "65535", "UInt16", "65535"),
    ("mediumint", "-8388608", "Int32", "-8388608"),
    ("mediumint unsigned", "16777215", "UInt32", "16777215"),
    ("int unsigned zerofill", "7", "UInt32", "7"),
    ("bigint", "-9223372036854775808", "Int64", "-9223372036854775808"),
    ("bigint unsigned", "18446744073709551615", "UInt64", "18446744073709551615"),
    ("float", "16777217", "Float32", "16777216.0"),
    ("float", "0.1", "Float32", "0.1"),
    ("float", "3.4028234663852886e38", "Float32", "3.4028235e38"),
    ("float", "1.401298464324817e-45", "Float32", "1e-45"),
    ("float unsigned", "1234567.9", "Float32", "1234567.9"),
    ("double", "1.7976931348623157e308", "Float64", "1.7976931348623157e308"),
    ("double", "4.9e-324", "Float64", "5e-324"),
    ("double", "0.1 + 0.2e0", "Float64", "0.30000000000000004"),
    ("double(10,2)", "1.25", "Float64", "1.25"),
    ("decimal(4,4)", "-0.1234", "Decimal128(4, 4)", "-0.1234"),
    ("decimal(10,2) unsigned", "99999999.99", "Decimal128(10, 2)", "99999999.99"),
    ("decimal(10,0)", "-7", "Decimal128(10, 0)", "-7"),
    (
        "decimal(38,10)",
        "-9999999999999999999999999999.9999999999",
        "Decimal128(38, 10)",
        "-9999999999999999999999999999.9999999999",
    ),
    (
        "decimal(39,0)",
        "999999999999999999999999999999999999999",
        "Decimal256(39, 0)",
        "999999999999999999999999999999999999999",
    ),
    (
        "decimal(65,30)",
        "-99999999999999999999999999999999999.999999999999999999999999999999",
        "Decimal256(65, 30)",
        "-99999999999999999999999999999999999.999999999999999999999999999999",
    ),
    ("date", "'0001-01-01'", "Date32", "0001-01-01"),
    ("date", "'9999-12-31'", "Date32", "9999-12-31"),
    ("datetime", "'1000-01-01 00:00:00'", "Timestamp(µs)", "1000-01-01T00:00:00"),
    ("datetime(6)", "'9999-12-31 23:59:59.999999'", "Timestamp(µs)", "9999-12-31T23:59:59.999999"),
    ("timestamp(6) NULL", "'1970-01-01 00:00:01.000001'", "Timestamp(µs, \"UTC\")", "1970-01-01T00:00:01.000001Z"),
    ("timestamp NULL", "'2038-01-19 03:14:07'", "Timestamp(µs, \"UTC\")", "2038-01-19T03:14:07Z"),
    ("time", "'-838:59:59'", "Utf8", "-838:59:59"),
    ("time(3)", "'838:59:59.5'", "Utf8", "838:59:59.500"),
    ("time(6)", "'00:00:00.000001'", "Utf8", "00:00:00.000001"),
    ("year", "2155", "Int16", "2155"),
    ("year", "0", "Int16", "0"),
    ("bit(1)", "b'1'", "UInt64", "1"),
    (
        "bit(64)",
        "b'1111111111111111111111111111111111111111111111111111111111111111'",
        "UInt64",
        "18446744073709551615",
    ),
    ("char(5)", "'ab  '", "Utf8", "ab"),
    ("varchar(9) CHARACTER SET latin1", "'ÿü€'", "Utf8", "ÿü€"),
    ("varchar(9) CHARACTER SET utf8mb4", "'😀'", "Utf8", "😀"),
    ("varchar(9) CHARACTER SET utf16", "'😀'", "Utf8", "😀"),
    ("longtext", "''", "Utf8", ""),
    ("enum('a','ü','')", "'ü'", "Utf8", "ü"),
    ("set('a','b','c')", "'c,a'", "Utf8", "a,c"),
    ("json", "'{\"a\": [1, null]}'", "Utf8", "{\"a\": [1, null]}"),
    ("binary(3)", "'a'", "Binary", "610000"),
    ("varbinary(9)", "x'00ff'", "Binary", "00ff"),
    ("longblob", "''", "Binary", ""),
    ("point", "ST_GeomFromText('POINT(1 2)')", "Binary", "000000000101000000000000000000f03f0000000000000040"),
    ("inet6", "'::1'", "Utf8", "::1"),
    ("uuid", "'00112233-4455-6677-8899-aabbccddeeff'", "Utf8", "00112233-4455-6677-8899-aabbccddeeff"),
];

#[test]
fn the_ends_and_oddities_of_each_type_are_read_and_written_again_as_they_are() {
    let mut scratch = Scratch::new();
    scratch.sql("SET NAMES utf8mb4");
    let host = Host::new();
    for (at, (declared, value, arrow, text)) in ODDITIES.iter().enumerate() {
        scratch.sql(&format!("CREATE OR REPLACE TABLE calls (n int, v {declared})"));
        scratch.sql(&format!("INSERT INTO calls VALUES (1, {value}), (2, NULL)"));
        let mut source = source(&host, &scratch, json!({"query": "SELECT v FROM calls ORDER BY n"}));
        let rows = read(&mut source).unwrap();
        assert_eq!(rows.schema().field(0).data_type().to_string(), *arrow, "{declared} {value}");
        assert_eq!(texts(&rows, "v"), [*text, "NULL"], "{declared} {value}");
        let before = scratch.rows("SELECT v FROM calls WHERE n = 1");
        scratch.sql("DELETE FROM calls");
        let mut sink = sink(&host, &scratch, json!({}));
        let receipt = deliver(&mut sink, at as u64 + 1, rows.clone()).unwrap();
        assert_eq!(receipt.rows, 2, "{declared} {value} {:?}", host.rejections());
        assert_eq!(scratch.rows("SELECT v FROM calls WHERE v IS NOT NULL"), before, "{declared} {value}");
        let mut again = super::source(&host, &scratch, json!({"table": "calls"}));
        assert_eq!(read(&mut again).unwrap().column_by_name("v").unwrap(), rows.column(0), "{declared} {value}");
    }
    assert_eq!(host.rejections(), []);
}

#[test]
fn values_of_expressions_have_the_types_that_the_server_gives_them() {
    let scratch = Scratch::new();
    let host = Host::new();
    let query = "SELECT 1 AS whole, 1.50 AS exact, 1e0 AS near, 'a' AS word, NULL AS none, x'00' AS bytes, \
                 CAST('2026-01-31' AS DATE) AS day, SUM(1) AS total, COUNT(*) AS counted, TRUE AS yes, \
                 CONCAT(1, 'a') AS mixed, CAST(1 AS FLOAT) AS small";
    let rows = read(&mut source(&host, &scratch, json!({"query": query}))).unwrap();
    let types: Vec<_> = rows.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(
        types,
        [
            "Int32",
            "Decimal128(3, 2)",
            "Float64",
            "Utf8",
            "Utf8",
            "Binary",
            "Date32",
            "Decimal128(23, 0)",
            "Int64",
            "Int32",
            "Utf8",
            "Float32"
        ]
    );
}
