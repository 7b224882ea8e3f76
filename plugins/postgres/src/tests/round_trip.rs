//! What is written is read again, whatever it is.

use arrow_array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Time64MicrosecondArray, TimestampMicrosecondArray,
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
    let text = "[^\\x00]{0,20}";
    // From 4714 BC, where PostgreSQL begins, to where Arrow ends; more often near today.
    let moment =
        prop_oneof![-210_866_803_200_000_000i64..=i64::MAX, -62_135_596_800_000_000i64..253_402_300_800_000_000];
    let day = prop_oneof![-2_440_588..=2_145_042_905, -700_000..2_900_000];
    let most = 10i128.pow(18) - 1;
    // Of every length up to 76 digits.
    let long = (any::<[u8; 32]>(), 1..=76u32).prop_map(|(bytes, digits)| {
        i256::from_be_bytes(bytes).checked_rem(i256::from_i128(10).checked_pow(digits).unwrap()).unwrap()
    });
    vec![
        column::<_, BooleanArray>("a_bool", cells(any::<bool>())),
        column::<_, Int16Array>("int2", cells(any::<i16>())),
        column::<_, Int32Array>("int4", cells(any::<i32>())),
        column::<_, Int64Array>("int8", cells(any::<i64>())),
        column::<_, Float32Array>("float4", cells(prop::num::f32::ANY)),
        column::<_, Float64Array>("float8", cells(prop::num::f64::ANY)),
        cells(-most..=most)
            .prop_map(|cells| {
                let array = Decimal128Array::from(cells).with_precision_and_scale(18, 5).unwrap();
                ("decimal", Arc::new(array) as ArrayRef)
            })
            .boxed(),
        cells(long)
            .prop_map(|cells| {
                let array = Decimal256Array::from(cells).with_precision_and_scale(76, 37).unwrap();
                ("long", Arc::new(array) as ArrayRef)
            })
            .boxed(),
        cells(text.prop_map(String::from))
            .prop_map(|cells| ("text", Arc::new(StringArray::from(cells)) as ArrayRef))
            .boxed(),
        cells(prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|cells| ("bytes", Arc::new(BinaryArray::from_iter(cells)) as ArrayRef))
            .boxed(),
        column::<_, Date32Array>("day", cells(day)),
        column::<_, Time64MicrosecondArray>("time", cells(0..=86_400_000_000i64)),
        column::<_, TimestampMicrosecondArray>("moment", cells(moment.clone())),
        cells(moment)
            .prop_map(|cells| {
                let array = TimestampMicrosecondArray::from(cells).with_timezone("UTC");
                ("instant", Arc::new(array) as ArrayRef)
            })
            .boxed(),
    ]
    .prop_map(batch)
}

fn check(config: serde_json::Value, ddl: Option<&str>, cases: u32, rows: impl Strategy<Value = RecordBatch>) {
    println!("seed {SEED:?}");
    let mut scratch = Scratch::new();
    if let Some(ddl) = ddl {
        scratch.sql(ddl);
    }
    let host = Host::new();
    let mut settings = json!({"url": scratch.url(), "table": "calls"});
    settings.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    let mut sink: PostgresSink = host.open(settings).unwrap();
    let mut source: PostgresSource = host.open(json!({"url": scratch.url(), "table": "calls"})).unwrap();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    let window = std::cell::Cell::new(0);
    let scratch = std::cell::RefCell::new(scratch);
    let ends = std::cell::RefCell::new((&mut sink, &mut source));
    runner
        .run(&rows, |rows| {
            let (sink, source) = &mut *ends.borrow_mut();
            window.set(window.get() + 1);
            let receipt = deliver(sink, window.get(), rows.clone()).unwrap();
            prop_assert_eq!(receipt.rows, rows.num_rows() as u64);
            prop_assert_eq!(read(source).unwrap(), rows);
            scratch.borrow_mut().sql("TRUNCATE calls");
            Ok(())
        })
        .unwrap();
    assert_eq!(host.rejections(), []);
}

#[test]
fn every_type_comes_back_as_it_went() {
    check(json!({"create": true}), None, 24, rows());
}

#[test]
fn uuids_and_json_come_back_as_text() {
    let uuid = any::<u128>().prop_map(|number| uuid::Uuid::from_u128(number).to_string());
    let number = any::<i64>().prop_map(|number| format!("[{number}, null]"));
    let text = |name: &'static str, values: BoxedStrategy<Cells<String>>| {
        values.prop_map(move |cells| (name, Arc::new(StringArray::from(cells)) as ArrayRef)).boxed()
    };
    let columns = vec![
        text("id", cells(uuid)),
        text("plain", cells(number.clone())),
        text("parsed", cells(number)),
        text("days", cells((0..1000i32).prop_map(|days| format!("{days} days 00:00:01")))),
    ];
    let ddl = "CREATE TABLE calls (id uuid, plain json, parsed jsonb, days text)";
    check(json!({}), Some(ddl), 8, columns.prop_map(batch));
}
