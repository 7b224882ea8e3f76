use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Int64Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{
    ArrayRef, BinaryArray, BinaryViewArray, Date32Array, Date64Array, Decimal128Array, Decimal256Array,
    DictionaryArray, DurationSecondArray, FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, IntervalYearMonthArray, LargeBinaryArray, LargeListArray, LargeStringArray, ListArray,
    RunArray, StringArray, StringViewArray, StructArray, Time32MillisecondArray, Time32SecondArray,
    Time64MicrosecondArray, Time64NanosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::i256;
use arrow_cast::cast;
use engine_sdk::prelude::*;
use parquet::data_type::{Int96, Int96Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::{batch, read, write};

/// Columns of every type that comes back as it was: values at both ends, and none.
fn same() -> Vec<ArrayRef> {
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("a"), None]);
    lists.append_null();
    lists.append_value(std::iter::empty::<Option<&str>>());
    let mut pairs = FixedSizeListBuilder::new(Int64Builder::new(), 2);
    for values in [Some([Some(1), None]), None, Some([Some(3), Some(4)])] {
        pairs.values().append_option(values.and_then(|values| values[0]));
        pairs.values().append_option(values.and_then(|values| values[1]));
        pairs.append(values.is_some());
    }
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    maps.keys().append_value("k");
    maps.values().append_null();
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    maps.append(true).unwrap();
    let inner: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None, None]));
    let nested: ArrayRef =
        Arc::new(LargeListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None, Some(vec![])]));
    let members = |name: &str, column: &ArrayRef| Arc::new(Field::new(name, column.data_type().clone(), true));
    let pair = StructArray::from(vec![(members("x", &inner), inner.clone()), (members("y", &nested), nested.clone())]);
    let moment = 1_758_123_848_123_456;
    let words: DictionaryArray<Int32Type> = [Some("word"), None, Some("word")].into_iter().collect();
    vec![
        Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX)])),
        Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX)])),
        Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX)])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)])),
        Arc::new(UInt8Array::from(vec![Some(u8::MAX), None, Some(0)])),
        Arc::new(UInt16Array::from(vec![Some(u16::MAX), None, Some(0)])),
        Arc::new(UInt32Array::from(vec![Some(u32::MAX), None, Some(0)])),
        Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)])),
        half(1.5),
        Arc::new(Float32Array::from(vec![Some(f32::INFINITY), None, Some(f32::MIN_POSITIVE)])),
        Arc::new(Float64Array::from(vec![Some(f64::NEG_INFINITY), None, Some(f64::EPSILON)])),
        Arc::new(Decimal128Array::from(vec![Some(-1_230), None, Some(9)]).with_precision_and_scale(9, 2).unwrap()),
        Arc::new(Decimal128Array::from(vec![Some(-1_230), None, Some(9)]).with_precision_and_scale(18, 0).unwrap()),
        Arc::new(
            Decimal128Array::from(vec![Some(-(10i128.pow(37))), None, Some(9)])
                .with_precision_and_scale(38, 10)
                .unwrap(),
        ),
        Arc::new(
            Decimal256Array::from(vec![Some(i256::from_string(&"9".repeat(76)).unwrap()), None, Some(i256::MINUS_ONE)])
                .with_precision_and_scale(76, 4)
                .unwrap(),
        ),
        Arc::new(Decimal256Array::from(vec![Some(i256::ONE), None, None]).with_precision_and_scale(9, 4).unwrap()),
        Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)])),
        Arc::new(Time32MillisecondArray::from(vec![Some(86_399_999), None, Some(0)])),
        Arc::new(Time64MicrosecondArray::from(vec![Some(86_399_999_999), None, Some(0)])),
        Arc::new(Time64NanosecondArray::from(vec![Some(86_399_999_999_999), None, Some(0)])),
        Arc::new(TimestampMillisecondArray::from(vec![Some(moment / 1000), None, Some(-1)])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(moment), None, Some(-1)])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(moment), None, Some(-1)]).with_timezone("UTC")),
        Arc::new(
            TimestampNanosecondArray::from(vec![Some(moment * 1000 + 1), None, Some(-1)])
                .with_timezone("Europe/Berlin"),
        ),
        Arc::new(StringArray::from(vec![Some("\0é"), None, Some("")])),
        Arc::new(LargeStringArray::from(vec![Some("large"), None, Some("")])),
        Arc::new(StringViewArray::from(vec![Some("a text that is kept elsewhere"), None, Some("")])),
        Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), None, Some(b"")])),
        Arc::new(LargeBinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), None, Some(b"")])),
        Arc::new(BinaryViewArray::from(vec![Some(b"\x00\xff".as_slice()), None, Some(b"")])),
        Arc::new(
            FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([1u8, 2]), None, Some([0, 0])].into_iter(), 2)
                .unwrap(),
        ),
        Arc::new(words),
        Arc::new(lists.finish()),
        Arc::new(pairs.finish()),
        Arc::new(maps.finish()),
        Arc::new(pair),
        nested,
        arrow_array::new_null_array(&DataType::Null, 3),
    ]
}

fn half(value: f32) -> ArrayRef {
    let wide = Float32Array::from(vec![Some(value), None, Some(-value)]);
    cast(&wide, &DataType::Float16).unwrap()
}

#[test]
fn values_of_every_type_come_back_as_they_were() {
    for column in same() {
        let rows = batch(vec![("n", Arc::new(Int64Array::from(vec![1, 2, 3]))), ("value", Arc::clone(&column))]);
        let file = write(json!({}), &rows).unwrap_or_else(|error| panic!("{}: {error}", column.data_type()));
        assert_eq!(read(&file).unwrap(), rows, "{}", column.data_type());
    }
    let names: Vec<String> = (0..same().len()).map(|at| format!("c{at}")).collect();
    let together = batch(names.iter().map(String::as_str).zip(same()).collect());
    assert_eq!(read(&write(json!({}), &together).unwrap()).unwrap(), together);
}

#[test]
fn what_is_not_a_number_stays_so() {
    let rows = batch(vec![("f", Arc::new(Float64Array::from(vec![f64::NAN, -0.0])))]);
    let back = read(&write(json!({}), &rows).unwrap()).unwrap();
    let back = back.column(0).as_any().downcast_ref::<Float64Array>().unwrap();
    assert!(back.value(0).is_nan() && back.value(1).is_sign_negative());
}

#[test]
fn types_that_only_arrow_has_become_those_that_everyone_reads() {
    let short: DictionaryArray<Int8Type> = [Some("word"), None].into_iter().collect();
    let numbers = cast(
        &Int64Array::from(vec![Some(7), None]),
        &DataType::Dictionary(DataType::Int8.into(), DataType::Int64.into()),
    );
    let seconds = TimestampSecondArray::from(vec![Some(5), None]);
    let inner: ArrayRef = Arc::new(seconds.clone());
    let nested = StructArray::from(vec![(Arc::new(Field::new("at", inner.data_type().clone(), true)), inner)]);
    let runs: RunArray<Int32Type> = [Some("a"), Some("a"), None].into_iter().collect();
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let views = cast(&lists, &DataType::ListView(Arc::new(Field::new_list_field(DataType::Int32, true)))).unwrap();
    let cases: Vec<(ArrayRef, &str)> = vec![
        (Arc::new(seconds.with_timezone("UTC")), "Timestamp(ms, \"UTC\")"),
        (Arc::new(Time32SecondArray::from(vec![Some(86_399), None])), "Time32(ms)"),
        (Arc::new(Date64Array::from(vec![Some(-86_400_000), None])), "Date32"),
        (Arc::new(short), "Dictionary(Int32, Utf8)"),
        (numbers.unwrap(), "Int64"),
        (Arc::new(runs), "Utf8"),
        (views, "List(Int32)"),
        (Arc::new(nested), "Struct(\"at\": Timestamp(ms))"),
    ];
    for (column, kind) in cases {
        let back = read(&write(json!({}), &batch(vec![("value", Arc::clone(&column))])).unwrap()).unwrap();
        assert_eq!(back.column(0).data_type().to_string(), kind);
        assert_eq!(&cast(&column, back.column(0).data_type()).unwrap(), back.column(0));
    }
}

#[test]
fn dictionaries_of_several_batches_are_one_column() {
    let words = |from: usize| -> ArrayRef {
        let words: Vec<String> = (from..from + 100).map(|n| format!("word {n}")).collect();
        Arc::new(words.iter().map(|word| Some(word.as_str())).collect::<DictionaryArray<Int8Type>>())
    };
    let batches: Vec<_> = (0..5).map(|at| batch(vec![("word", words(at * 100))])).collect();
    let file = super::write_batches(json!({}), batches[0].schema(), batches).unwrap();
    let back = cast(read(&file).unwrap().column(0), &DataType::Utf8).unwrap();
    let back = back.as_any().downcast_ref::<StringArray>().unwrap();
    assert_eq!((back.len(), back.value(499)), (500, "word 499"));
}

#[test]
fn a_type_that_cannot_be_written_is_refused_with_its_column() {
    let length: ArrayRef = Arc::new(DurationSecondArray::from(vec![1]));
    let inner = StructArray::from(vec![(Arc::new(Field::new("x", length.data_type().clone(), true)), length.clone())]);
    let nothing = StructArray::new_empty_fields(1, None);
    let beyond = Decimal128Array::from(vec![1]).with_precision_and_scale(9, -2).unwrap();
    let columns: Vec<ArrayRef> = vec![
        length,
        Arc::new(IntervalYearMonthArray::from(vec![1])),
        Arc::new(inner),
        Arc::new(nothing),
        Arc::new(beyond),
    ];
    for column in columns {
        let error =
            write(json!({}), &batch(vec![("good", Arc::new(Int8Array::from(vec![1]))), ("bad", Arc::clone(&column))]));
        let error = error.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{}: {error}", column.data_type());
        assert!(error.message.starts_with("column `bad` is of the type"), "{error}");
    }
    let late = TimestampSecondArray::from(vec![i64::MAX]);
    let error = write(json!({}), &batch(vec![("late", Arc::new(late))])).unwrap_err();
    assert!(error.message.contains("column `late` has a value that does not fit"), "{error}");
}

#[test]
fn timestamps_of_96_bits_reach_beyond_what_nanoseconds_can_say() {
    let columns =
        "message m { required int32 n; optional group l (LIST) { repeated group list { required int96 at; } } }";
    let columns = Arc::new(parse_message_type(columns).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), columns, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<parquet::data_type::Int32Type>().write_batch(&[7], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    // 9999-12-31 and 0001-01-01, as days of the Julian calendar, each one microsecond after midnight.
    let moments = [5_373_484, 1_721_426].map(|day| Int96::from(vec![1_999, 0, day]));
    column.typed::<Int96Type>().write_batch(&moments, Some(&[2, 2]), Some(&[0, 1])).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    let rows = read(&writer.into_inner().unwrap()).unwrap();
    let list = rows.column(1).as_any().downcast_ref::<ListArray>().unwrap().value(0);
    let expected = TimestampMicrosecondArray::from(vec![253_402_214_400_000_001, -62_135_596_799_999_999]);
    assert_eq!(list.as_any().downcast_ref(), Some(&expected));
}
