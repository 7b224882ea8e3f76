//! Exact numbers into columns of other sizes.

use arrow_array::{Decimal32Array, Decimal64Array, Decimal128Array, Decimal256Array, Float64Array};
use arrow_buffer::i256;

use super::*;

fn long(values: &[&str], precision: u8, scale: i8) -> ArrayRef {
    let values: Vec<_> = values.iter().map(|value| i256::from_string(value)).collect();
    Arc::new(Decimal256Array::from(values).with_precision_and_scale(precision, scale).unwrap())
}

/// Writes one column into a column of some type. Answers what is there then, and why rows were refused.
fn written(declared: &str, values: ArrayRef) -> (Vec<String>, Vec<String>) {
    let mut scratch = Scratch::new();
    scratch.sql(&format!("CREATE DOMAIN price AS numeric(50,2); CREATE TABLE calls (cost {declared})"));
    let host = Host::new();
    let mut sink: PostgresSink = host.open(json!({"url": scratch.url(), "table": "calls"})).unwrap();
    deliver(&mut sink, 1, batch(vec![("cost", values)])).unwrap();
    let rows = scratch.rows("SELECT cost::text FROM calls ORDER BY ctid");
    (rows, host.rejections().into_iter().map(|rejected| rejected.reason).collect())
}

#[test]
fn long_decimals_are_written_exactly_into_numeric_columns_of_any_size() {
    let nines = "9".repeat(76);
    let values = || long(&[&nines, "-12345678905", "0", "", "5"], 76, 10);
    let whole = format!("{}.9999999999", "9".repeat(66));
    let up = format!("1{}", "0".repeat(66));
    for (declared, expected) in [
        ("numeric", [whole.as_str(), "-1.2345678905", "0.0000000000", "NULL", "0.0000000005"]),
        ("numeric(76,10)", [&whole, "-1.2345678905", "0.0000000000", "NULL", "0.0000000005"]),
        (
            "numeric(1000,500)",
            [
                &format!("{whole}{}", "0".repeat(490)),
                &format!("-1.2345678905{}", "0".repeat(490)),
                &format!("0.{}", "0".repeat(500)),
                "NULL",
                &format!("0.0000000005{}", "0".repeat(490)),
            ],
        ),
        ("numeric(76,9)", [&format!("{up}.000000000"), "-1.234567891", "0.000000000", "NULL", "0.000000001"]),
        ("numeric(70,-2)", [&up, "0", "0", "NULL", "0"]),
        ("price", ["", "-1.23", "0.00", "NULL", "0.00"]),
        ("numeric(39,9)", ["", "-1.234567891", "0.000000000", "NULL", "0.000000001"]),
        ("numeric(38,9)", ["", "-1.234567891", "0.000000000", "NULL", "0.000000001"]),
        (
            "numeric(76,70)",
            [
                "",
                &format!("-1.2345678905{}", "0".repeat(60)),
                &format!("0.{}", "0".repeat(70)),
                "NULL",
                &format!("0.0000000005{}", "0".repeat(60)),
            ],
        ),
        ("numeric(5,2)", ["", "-1.23", "0.00", "NULL", "0.00"]),
        ("text", [&whole, "-1.2345678905", "0.0000000000", "NULL", "0.0000000005"]),
    ] {
        let (rows, reasons) = written(declared, values());
        assert_eq!(rows, expected.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>(), "{declared}");
        assert_eq!(reasons.len(), expected.iter().filter(|text| text.is_empty()).count(), "{declared}: {reasons:?}");
        if declared.starts_with("numeric") && !reasons.is_empty() {
            assert_eq!(reasons, [format!("cost: {whole} does not fit {declared}")]);
        }
    }
    let (rows, reasons) = written("double precision", long(&["-12345678905"], 76, 10));
    assert_eq!((rows, reasons), (vec!["-1.2345678905".into()], vec![]));
}

#[test]
fn a_value_with_more_digits_than_the_server_lets_a_column_have_is_refused_alone() {
    let nines = "9".repeat(76);
    let (rows, reasons) = written("numeric(100,50)", long(&["1", &nines, "2"], 76, 0));
    assert_eq!(rows, ["1", "2"].map(|whole| format!("{whole}.{}", "0".repeat(50))));
    assert!(reasons[0].contains("numeric field overflow") && reasons[0].contains("22003"), "{reasons:?}");
}

#[test]
fn decimals_of_every_width_and_whole_numbers_go_into_long_columns() {
    let expected = |text: &str| (vec![format!("{text}{}", "0".repeat(35))], vec![]);
    let short: ArrayRef = Arc::new(Decimal32Array::from(vec![-12345]).with_precision_and_scale(9, 2).unwrap());
    let middle: ArrayRef = Arc::new(Decimal64Array::from(vec![-12345]).with_precision_and_scale(18, 2).unwrap());
    let usual: ArrayRef = Arc::new(Decimal128Array::from(vec![-12345]).with_precision_and_scale(38, 2).unwrap());
    let tens: ArrayRef = Arc::new(Decimal128Array::from(vec![-12345]).with_precision_and_scale(5, -2).unwrap());
    let words =
        arrow_cast::cast(&usual, &DataType::Dictionary(Box::new(DataType::Int8), Box::new(usual.data_type().clone())));
    for array in [short, middle, usual, words.unwrap()] {
        assert_eq!(written("numeric(60,37)", Arc::clone(&array)), expected("-123.45"), "{}", array.data_type());
        assert_eq!(written("numeric", Arc::clone(&array)), (vec!["-123.45".into()], vec![]), "{}", array.data_type());
    }
    assert_eq!(written("numeric(60,2)", tens), (vec!["-1234500.00".into()], vec![]));
    assert_eq!(
        written("numeric(60,37)", Arc::new(Int64Array::from(vec![i64::MIN]))),
        expected("-9223372036854775808.00")
    );
}

#[test]
fn a_table_is_made_with_room_for_every_digit() {
    let mut scratch = Scratch::new();
    let host = Host::new();
    let mut sink: PostgresSink = host.open(json!({"url": scratch.url(), "table": "calls", "create": true})).unwrap();
    let rows = batch(vec![
        ("long", long(&["-1"], 76, 76)),
        ("whole", long(&[&"9".repeat(39)], 39, 0)),
        ("short", Arc::new(Decimal32Array::from(vec![1]).with_precision_and_scale(9, 2).unwrap())),
    ]);
    deliver(&mut sink, 1, rows).unwrap();
    let declared = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'calls'::regclass AND attnum > 0 ORDER BY attnum";
    assert_eq!(scratch.rows(declared), ["numeric(76,76)", "numeric(39,0)", "numeric(9,2)"]);
    let exact = format!("-0.{}1|{}|0.01", "0".repeat(75), "9".repeat(39));
    assert_eq!(scratch.rows("SELECT * FROM calls"), [exact]);
}

#[test]
fn decimals_become_the_nearest_floating_point_numbers() {
    let values = |scale: usize| {
        let values = ["0.1", "1.1", "19.99", "-0.95", "0"].map(|value: &str| {
            let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
            format!("{whole}{decimals}{}", "0".repeat(scale - decimals.len()))
        });
        values.to_vec()
    };
    let long = |scale: usize| {
        let values = values(scale);
        long(&values.iter().map(String::as_str).collect::<Vec<_>>(), 76, scale as i8)
    };
    let short = values(30).iter().map(|value| value.parse::<i128>().unwrap()).collect::<Vec<_>>();
    let short: ArrayRef = Arc::new(Decimal128Array::from(short).with_precision_and_scale(38, 30).unwrap());
    for values in [long(40), long(70), short] {
        for declared in ["double precision", "real"] {
            assert_eq!(written(declared, values.clone()).0, ["0.1", "1.1", "19.99", "-0.95", "0"], "{declared}");
        }
    }
    // Between two numbers of 32 bits, and nearer to the upper one only in its last digit.
    let between = format!("1000000059604644775390625{}1", "0".repeat(30));
    let between = super::numbers::long(&[&between], 76, 55);
    assert_eq!(written("real", between).0, ["1.0000001"]);
}

#[test]
fn a_moment_too_far_away_for_microseconds_is_refused() {
    let days: ArrayRef = Arc::new(arrow_array::Date64Array::from(vec![86_400_000, 18_446_744_073_709_552]));
    let (rows, reasons) = written("timestamp", days);
    assert_eq!(rows, ["1970-01-02 00:00:00"]);
    assert_eq!(reasons.len(), 1);
}

#[test]
fn a_number_too_large_or_too_small_for_a_real_is_refused() {
    let numbers = vec![1e300, -1e300, 1e-300, f64::INFINITY, f64::NAN, 0.1, -0.0, 3.4028235e38];
    let (rows, reasons) = written("real", Arc::new(Float64Array::from(numbers)));
    assert_eq!(rows, ["Infinity", "NaN", "0.1", "-0", "3.4028235e+38"]);
    assert_eq!(reasons.len(), 3);
    assert_eq!(reasons[0], "cost: 1e300 does not fit real");
    let keys = arrow_array::Int32Array::from(vec![0, 1, 2]);
    let values = Arc::new(Float64Array::from(vec![1e300, 1e-300, 0.5]));
    let (rows, reasons) = written("real", Arc::new(arrow_array::DictionaryArray::new(keys, values)));
    assert_eq!((rows, reasons.len()), (vec!["0.5".into()], 2));
    // Of as many digits, but not as large as any real is.
    let (rows, reasons) = written("real", long(&[&"9".repeat(76), "25"], 76, 1));
    assert_eq!((rows, reasons.len()), (vec!["2.5".into()], 1));
}
