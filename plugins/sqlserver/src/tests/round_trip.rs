//! What is written is read again, whatever it is.

use arrow_array::{
    BooleanArray, Decimal128Array, Decimal256Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use proptest::prelude::*;

use super::codec::{cells, column, rows, runner};
use super::*;

#[test]
fn every_type_comes_back_as_it_went() {
    let server = StandIn::new();
    let host = Host::new();
    let sink = std::cell::RefCell::new(sink(&host, &server, json!({"create": true})));
    let source = std::cell::RefCell::new(source(&host, &server, json!({"table": "calls"})));
    let window = std::cell::Cell::new(0);
    runner(24)
        .run(&rows(), |rows| {
            window.set(window.get() + 1);
            let receipt = deliver(&mut sink.borrow_mut(), window.get(), rows.clone()).unwrap();
            prop_assert_eq!(receipt.rows, rows.num_rows() as u64, "{:?}", host.rejections());
            prop_assert_eq!(read(&mut source.borrow_mut()).unwrap(), rows);
            server.sql("DELETE FROM calls");
            Ok(())
        })
        .unwrap();
    assert_eq!(host.rejections(), []);
}

/// Each of these in the columns of a table that was made before, of the widest type that holds it.
#[test]
fn whole_numbers_keep_their_values_in_the_columns_that_are_made_for_them() {
    let strategy = vec![
        column::<_, Int8Array>("int1", cells(any::<i8>())),
        column::<_, Int16Array>("int2", cells(any::<i16>())),
        column::<_, Int32Array>("int4", cells(any::<i32>())),
        column::<_, UInt8Array>("uint1", cells(any::<u8>())),
        column::<_, UInt16Array>("uint2", cells(any::<u16>())),
        column::<_, UInt32Array>("uint4", cells(any::<u32>())),
        column::<_, UInt64Array>("uint8", cells(any::<u64>())),
    ];
    let server = StandIn::new();
    let host = Host::new();
    let window = std::cell::Cell::new(0);
    runner(12)
        .run(&strategy.prop_map(batch), |rows| {
            window.set(window.get() + 1);
            deliver(&mut sink(&host, &server, json!({"create": true})), window.get(), rows.clone()).unwrap();
            let found = read(&mut source(&host, &server, json!({"table": "calls"}))).unwrap();
            for field in rows.schema().fields() {
                prop_assert_eq!(texts(&found, field.name()), texts(&rows, field.name()), "{}", field.name());
            }
            server.sql("DELETE FROM calls");
            Ok(())
        })
        .unwrap();
    assert_eq!(host.rejections(), []);
}

#[test]
fn values_come_back_as_the_tables_own_types_have_them() {
    let server = StandIn::new();
    server.sql(
        "CREATE TABLE calls (yes bit, amount money, small smallmoney, exact decimal(10, 2), about decimal(10, 2), \
         at time(3), minute smalldatetime, tick datetime, fine datetime2(7), zoned datetimeoffset(3), \
         word varchar(20), number nvarchar(20), tiny tinyint, id uniqueidentifier, doc xml)",
    );
    let host = Host::new();
    let decimals = Decimal128Array::from(vec![Some(-92_233), Some(21_474_836), None]);
    let micros = vec![Some(0), Some(1_234_567_000), None];
    let id = "6F9619FF-8B86-D011-B42D-00C04FC964FF";
    let rows = batch(vec![
        ("yes", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("amount", Arc::new(decimals.clone().with_precision_and_scale(19, 4).unwrap())),
        ("small", Arc::new(decimals.with_precision_and_scale(10, 2).unwrap())),
        (
            "exact",
            Arc::new(
                Decimal256Array::from(vec![Some(123_i128.into()), Some((-5_i128).into()), None])
                    .with_precision_and_scale(50, 1)
                    .unwrap(),
            ),
        ),
        ("about", Arc::new(Float64Array::from(vec![Some(1.25), Some(-0.5), None]))),
        ("at", Arc::new(Time64MicrosecondArray::from(vec![Some(0), Some(86_399_999_000), None]))),
        ("minute", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(60_000_000), None]))),
        ("tick", Arc::new(TimestampMicrosecondArray::from(micros.clone()))),
        ("fine", Arc::new(TimestampNanosecondArray::from(vec![Some(0), Some(1_234_567_890_123_456_700), None]))),
        ("zoned", Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("Europe/Dublin"))),
        ("word", Arc::new(Int64Array::from(vec![Some(1), Some(-2), None]))),
        ("number", Arc::new(StringArray::from(vec![Some("ü"), Some(""), None]))),
        ("tiny", Arc::new(Int64Array::from(vec![Some(0), Some(255), None]))),
        ("id", Arc::new(StringArray::from(vec![Some(id), None, None]))),
        ("doc", Arc::new(StringArray::from(vec![Some("<a>1</a>"), None, None]))),
    ]);
    assert_eq!(deliver(&mut sink(&host, &server, json!({})), 1, rows).unwrap().rows, 3, "{:?}", host.rejections());
    let read = read(&mut source(&host, &server, json!({"table": "calls"}))).unwrap();
    for (name, expected) in [
        ("yes", ["true", "false", "NULL"]),
        ("amount", ["-9.2233", "2147.4836", "NULL"]),
        ("small", ["-922.3300", "214748.3600", "NULL"]),
        ("exact", ["12.30", "-0.50", "NULL"]),
        ("about", ["1.25", "-0.50", "NULL"]),
        ("at", ["00:00:00", "23:59:59.999", "NULL"]),
        ("minute", ["1970-01-01T00:00:00", "1970-01-01T00:01:00", "NULL"]),
        ("tick", ["1970-01-01T00:00:00", "1970-01-01T00:20:34.567", "NULL"]),
        ("fine", ["1970-01-01T00:00:00", "2009-02-13T23:31:30.123456", "NULL"]),
        ("zoned", ["1970-01-01T00:00:00Z", "1970-01-01T00:20:34.567Z", "NULL"]),
        ("word", ["1", "-2", "NULL"]),
        ("number", ["ü", "", "NULL"]),
        ("tiny", ["0", "255", "NULL"]),
        ("id", [id, "NULL", "NULL"]),
        ("doc", ["<a>1</a>", "NULL", "NULL"]),
    ] {
        assert_eq!(texts(&read, name), expected, "{name}");
    }
    // As the query stands, money comes as the driver has it.
    let query = json!({"query": "SELECT amount, small FROM calls"});
    let money = super::read(&mut source(&host, &server, query)).unwrap();
    assert_eq!(texts(&money, "amount"), ["-9.2233", "2147.4836", "NULL"]);
    assert_eq!(texts(&money, "small"), ["-922.3300", "214748.3600", "NULL"]);
    // In the server, the tenths of microseconds are all there.
    assert_eq!(server.rows("SELECT fine FROM calls")[1], "2009-02-13 23:31:30.1234567");
}
