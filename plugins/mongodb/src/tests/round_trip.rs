use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::{
    BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, StructArray, TimestampMillisecondArray,
};
use arrow_schema::TimeUnit;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};

use super::*;

#[derive(Debug, Clone)]
struct Row {
    boolean: Option<bool>,
    int: Option<i32>,
    long: Option<i64>,
    double: Option<f64>,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    moment: Option<i64>,
    decimal: Option<i128>,
    list: Option<Vec<Option<i32>>>,
    inner: Option<(Option<String>, Option<i64>)>,
}

/// The stand-in reads dates as Python does: of the years 1 to 9999.
const STAND_IN: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;

fn rows(moments: std::ops::Range<i64>) -> impl Strategy<Value = Vec<Row>> {
    let text = || "[ -~\\u{80}-\\u{ffff}\\u{0}\n]{0,12}".prop_map(String::from);
    let row = (
        any::<Option<bool>>(),
        any::<Option<i32>>(),
        any::<Option<i64>>(),
        proptest::option::of(proptest::num::f64::ANY),
        proptest::option::of(text()),
        any::<Option<Vec<u8>>>(),
        proptest::option::of(moments),
        proptest::option::of(-(10i128.pow(34) - 1)..10i128.pow(34)),
        any::<Option<Vec<Option<i32>>>>(),
        proptest::option::of((proptest::option::of(text()), any::<Option<i64>>())),
    );
    proptest::collection::vec(
        row.prop_map(|(boolean, int, long, double, text, bytes, moment, decimal, list, inner)| Row {
            boolean,
            int,
            long,
            double,
            text,
            bytes,
            moment,
            decimal,
            list,
            inner,
        }),
        1..20,
    )
}

fn of(rows: &[Row]) -> RecordBatch {
    let mut lists = ListBuilder::new(Int32Builder::new());
    for row in rows {
        match &row.list {
            Some(list) => lists.append_value(list.iter().copied()),
            None => lists.append_null(),
        }
    }
    let inner: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.inner.as_ref().and_then(|inner| inner.0.clone())))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.inner.as_ref().and_then(|inner| inner.1)))),
    ];
    let fields = vec![Field::new("text", DataType::Utf8, true), Field::new("long", DataType::Int64, true)];
    let nulls = rows.iter().map(|row| row.inner.is_some()).collect::<Vec<_>>();
    let structs = StructArray::new(fields.into(), inner, Some(nulls.into()));
    batch(vec![
        ("id", Arc::new(Int32Array::from_iter_values(0..rows.len() as i32))),
        ("boolean", Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.boolean)))),
        ("int", Arc::new(Int32Array::from_iter(rows.iter().map(|row| row.int)))),
        ("long", Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.long)))),
        ("double", Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.double)))),
        ("text", Arc::new(StringArray::from_iter(rows.iter().map(|row| row.text.clone())))),
        ("bytes", Arc::new(BinaryArray::from_iter(rows.iter().map(|row| row.bytes.clone())))),
        (
            "moment",
            Arc::new(TimestampMillisecondArray::from_iter(rows.iter().map(|row| row.moment)).with_timezone("UTC")),
        ),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from_iter(rows.iter().map(|row| row.decimal)).with_precision_and_scale(38, 4).unwrap(),
            ),
        ),
        ("list", Arc::new(lists.finish())),
        ("inner", Arc::new(structs)),
    ])
}

fn columns() -> Value {
    json!({
        "id": "int32", "boolean": "boolean", "int": "int32", "long": "integer", "double": "number", "text": "text",
        "bytes": "binary", "moment": "timestamptz", "decimal": "decimal(38,4)", "list": ["int32"],
        "inner": {"text": "text", "long": "integer"},
    })
}

fn runner(cases: u32) -> TestRunner {
    let seed = [7; 32];
    println!("seed {seed:?}");
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed))
}

/// Without a server, also with what the stand-in does not take.
#[test]
fn rows_become_documents_and_documents_the_same_rows() {
    let declared: indexmap::IndexMap<String, crate::kind::Declared> = serde_json::from_value(columns()).unwrap();
    let mut kinds: indexmap::IndexMap<_, _> =
        declared.into_iter().map(|(name, declared)| (name, declared.kind().unwrap())).collect();
    kinds.insert("_id".into(), crate::kind::Kind::Text);
    runner(200)
        .run(&rows(i64::MIN..i64::MAX), |rows| {
            let sent = of(&rows);
            let (delivery, words) = (delivery(1), std::collections::BTreeMap::new());
            let mut documents = crate::stage::Documents::new(&delivery, engine_sdk::database::Mode::Append, &[]);
            let columns = crate::encode::columns(&sent, &words).unwrap();
            let (chunk, next, refused) = documents.chunk(&columns, 0, rows.len());
            prop_assert_eq!((next, refused.len()), (rows.len(), 0));
            let mut decoder = crate::decode::Decoder::new(&kinds, crate::columns::UnknownFields::Reject);
            for staged in &chunk {
                decoder.push(&staged.document);
            }
            let (batch, refused) = decoder.finish().unwrap();
            prop_assert!(refused.is_empty());
            prop_assert_eq!(format!("{:?}", &batch.columns()[..11]), format!("{:?}", sent.columns()));
            Ok(())
        })
        .unwrap();
}

#[test]
fn rows_of_every_type_come_back_as_they_were() {
    let scratch = Scratch::new();
    let host = Host::new();
    let columns = columns();
    let fields: Vec<_> = columns.as_object().unwrap().keys().cloned().collect();
    let sink: MongoSink = host.open(scratch.with(json!({"create": true, "mode": "replace"}))).unwrap();
    let source: MongoSource = host.open(scratch.with(json!({"fields": fields, "columns": columns}))).unwrap();
    let (sink, source) = (std::cell::RefCell::new(sink), std::cell::RefCell::new(source));
    let mut runner = runner(12);
    let window = std::cell::Cell::new(0);
    runner
        .run(&rows(STAND_IN), |rows| {
            window.set(window.get() + 1);
            let sent = of(&rows);
            deliver(&mut sink.borrow_mut(), window.get(), sent.clone()).unwrap();
            let (_, batches) = read(&mut source.borrow_mut(), &PlanRequest::default()).unwrap();
            let moments = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
            prop_assert_eq!(batches[0].column(7).data_type(), &moments);
            // NaN is like no number, but it is shown.
            prop_assert_eq!(format!("{:?}", batches[0].columns()), format!("{:?}", sent.columns()));
            Ok(())
        })
        .unwrap();
    assert!(host.rejections().is_empty());
}

/// What is found out keeps every value, whatever the documents hold.
#[test]
fn documents_of_any_types_lose_nothing() {
    let scratch = Scratch::new();
    let host = Host::new();
    let values = [
        bson::Bson::Int32(1),
        bson::Bson::Int64(i64::MAX),
        bson::Bson::Double(f64::NAN),
        bson::Bson::Double(-0.0),
        bson::Bson::Decimal128("9.99E+6144".parse().unwrap()),
        bson::Bson::Decimal128("-Infinity".parse().unwrap()),
        bson::Bson::String("a\"b".into()),
        bson::Bson::Null,
        bson::Bson::Boolean(true),
        bson::Bson::DateTime(bson::DateTime::from_millis(STAND_IN.start)),
        bson::Bson::DateTime(bson::DateTime::from_millis(STAND_IN.end - 1)),
        bson::Bson::ObjectId(bson::oid::ObjectId::from_bytes([1; 12])),
        bson::Bson::MinKey,
        bson::Bson::MaxKey,
        bson::Bson::Timestamp(bson::Timestamp { time: 1, increment: 2 }),
        bson::Bson::JavaScriptCode("x()".into()),
        bson::Bson::RegularExpression(bson::Regex {
            pattern: "a+".try_into().unwrap(),
            options: "i".try_into().unwrap(),
        }),
        bson::Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Md5, bytes: vec![1, 2] }),
        bson::Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![3; 16] }),
        bson::Bson::Array(vec![bson::Bson::Int32(1), bson::Bson::Array(vec![])]),
        bson::Bson::Document(doc! {"a.b": {"$c": 1}, "": 2}),
    ];
    let documents: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(at, value)| doc! {"_id": at as i32, "mixed": value.clone(), format!("only{at}"): value.clone()})
        .collect();
    scratch.insert(documents.clone());
    let mut source: MongoSource = host.open(scratch.with(json!({}))).unwrap();
    let (_, batches) = read(&mut source, &PlanRequest::default()).unwrap();
    assert!(host.rejections().is_empty(), "{:?}", host.rejections());
    let mixed = arrow_cast::display::ArrayFormatter::try_new(batches[0].column(1), &Default::default()).unwrap();
    for (row, value) in values.iter().enumerate() {
        let text = mixed.value(row).to_string();
        if *value == bson::Bson::Null {
            assert_eq!(text, "");
            continue;
        }
        let read = bson::Bson::try_from(serde_json::from_str::<Value>(&text).unwrap()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{value:?}"), "{text}");
    }
    // Text of JSON becomes what it was.
    let mut sink: MongoSink = host.open(scratch.with(json!({"mode": "replace", "types": {"mixed": "json"}}))).unwrap();
    let back = batches[0].project(&[0, 1]).unwrap();
    deliver(&mut sink, 1, back).unwrap();
    for (there, document) in scratch.all().iter().zip(&documents) {
        assert_eq!(format!("{:?}", there.get("mixed")), format!("{:?}", document.get("mixed")));
    }
}
