//! What is encoded is decoded again, wherever the bytes are cut on their way.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::i256;
use arrow_schema::{Field, Schema};
use engine_postgres_copy::{Decoded, Decoder, Encoder, Form, HEADER, Kind, TRAILER};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// How each column crosses.
const WAYS: [(Form, Kind); 16] = [
    (Form::Bool, Kind::Bool),
    (Form::Int2, Kind::Int2),
    (Form::Int4, Kind::Int4),
    (Form::Int8, Kind::Int8),
    (Form::Float4, Kind::Float4),
    (Form::Float8, Kind::Float8),
    (Form::Numeric, Kind::Numeric(18, 5)),
    (Form::LongNumeric, Kind::Numeric(76, 37)),
    (Form::Text, Kind::Text(None)),
    (Form::Jsonb, Kind::Jsonb),
    (Form::Bytea, Kind::Bytea),
    (Form::Date, Kind::Date),
    (Form::Time, Kind::Time),
    (Form::Timestamp, Kind::Timestamp),
    (Form::Timestamp, Kind::TimestampTz),
    (Form::Uuid, Kind::Uuid),
];

const ROWS: usize = 7;

fn cells<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<Option<T>>> {
    prop::collection::vec(prop::option::weighted(0.8, value), ROWS)
}

fn array<T, A>(value: impl Strategy<Value = T> + 'static) -> BoxedStrategy<ArrayRef>
where
    T: std::fmt::Debug + 'static,
    A: From<Vec<Option<T>>> + Array + 'static,
{
    cells(value).prop_map(|cells| Arc::new(A::from(cells)) as ArrayRef).boxed()
}

/// Arrays of the types of [`WAYS`].
fn arrays() -> impl Strategy<Value = Vec<ArrayRef>> {
    // The ends of the scale are PostgreSQL's infinities.
    let moment = -62_135_596_800_000_000i64..253_402_300_800_000_000;
    let zoned = cells(moment.clone())
        .prop_map(|cells| Arc::new(TimestampMicrosecondArray::from(cells).with_timezone("UTC")) as ArrayRef);
    let decimal = cells(-999_999_999_999_999_999..=999_999_999_999_999_999i128)
        .prop_map(|cells| Arc::new(Decimal128Array::from(cells).with_precision_and_scale(18, 5).unwrap()) as ArrayRef);
    // Of every length up to 76 digits.
    let long = (any::<[u8; 32]>(), 1..=76u32).prop_map(|(bytes, digits)| {
        i256::from_be_bytes(bytes).checked_rem(i256::from_i128(10).checked_pow(digits).unwrap()).unwrap()
    });
    let long = cells(long)
        .prop_map(|cells| Arc::new(Decimal256Array::from(cells).with_precision_and_scale(76, 37).unwrap()) as ArrayRef);
    let bytes = cells(prop::collection::vec(any::<u8>(), 0..9))
        .prop_map(|cells| Arc::new(BinaryArray::from_iter(cells)) as ArrayRef);
    vec![
        array::<_, BooleanArray>(any::<bool>()),
        array::<_, Int16Array>(any::<i16>()),
        array::<_, Int32Array>(any::<i32>()),
        array::<_, Int64Array>(any::<i64>()),
        array::<_, Float32Array>(-1e30..1e30f32),
        array::<_, Float64Array>(-1e300..1e300f64),
        decimal.boxed(),
        long.boxed(),
        array::<_, StringArray>(".{0,9}"),
        array::<_, StringArray>("\\[[0-9]{1,9}\\]"),
        bytes.boxed(),
        array::<_, Date32Array>(-700_000..2_900_000),
        array::<_, Time64MicrosecondArray>(0..86_400_000_000i64),
        array::<_, TimestampMicrosecondArray>(moment),
        zoned.boxed(),
        array::<_, StringArray>(any::<u128>().prop_map(|number| uuid::Uuid::from_u128(number).to_string())),
    ]
}

fn batch(arrays: Vec<ArrayRef>) -> RecordBatch {
    let field = |(place, kind): (usize, Kind)| Field::new(format!("c{place}"), kind.arrow(), true);
    let schema = Schema::new(WAYS.map(|(_, kind)| kind).into_iter().enumerate().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), arrays).unwrap()
}

fn encoded(batch: &RecordBatch) -> Vec<u8> {
    let encoder = Encoder::new(batch.columns().iter().zip(WAYS.map(|(form, _)| form)));
    let mut bytes = HEADER.to_vec();
    (0..batch.num_rows()).for_each(|row| encoder.row(row, &mut bytes));
    bytes.extend_from_slice(TRAILER);
    bytes
}

fn decoder(batch: &RecordBatch) -> Decoder {
    Decoder::new(batch.schema(), &WAYS.map(|(_, kind)| kind), ROWS)
}

/// One row of these values, as PostgreSQL sends them.
fn row(values: &[&[u8]]) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    bytes.extend_from_slice(&(values.len() as i16).to_be_bytes());
    for value in values {
        bytes.extend_from_slice(&(value.len() as i32).to_be_bytes());
        bytes.extend_from_slice(value);
    }
    bytes.extend_from_slice(TRAILER);
    bytes
}

#[test]
fn a_refused_row_keeps_every_value_also_where_arrow_has_no_text_for_it() {
    let kinds = [Kind::Timestamp, Kind::Time, Kind::Date, Kind::TimestampTz, Kind::Bytea, Kind::Float8, Kind::Date];
    let field = |(place, kind): (usize, &Kind)| Field::new(format!("c{place}"), kind.arrow(), true);
    let schema = Arc::new(Schema::new(kinds.iter().enumerate().map(field).collect::<Vec<_>>()));
    let mut decoder = Decoder::new(schema, &kinds, ROWS);
    let bytes = row(&[
        &i64::MAX.to_be_bytes(),
        &86_400_000_000i64.to_be_bytes(),
        &2_145_031_948i32.to_be_bytes(),
        &9_223_371_331_199_999_999i64.to_be_bytes(),
        &[0xff, 0],
        &f64::NEG_INFINITY.to_be_bytes(),
        &i32::MIN.to_be_bytes(),
    ]);
    decoder.push(&bytes).unwrap();
    let Decoded { batch, refused, .. } = decoder.finish().unwrap();
    assert_eq!(batch.num_rows(), 0);
    let shown: Vec<_> = refused[0].row.columns().iter().filter_map(|column| column.as_string_opt::<i32>()).collect();
    let shown: Vec<_> = shown.iter().map(|column| column.value(0)).collect();
    assert_eq!(refused[0].row.column(4).as_binary::<i32>().value(0), [0xff, 0]);
    assert_eq!(
        shown,
        ["infinity", "24:00:00", "5874897-12-31", "294276-12-31 23:59:59.999999+00", "-Infinity", "-infinity"]
    );
    assert!(refused[0].reason.starts_with("c0: infinity cannot be held by Timestamp"), "{}", refused[0].reason);
    assert_eq!(refused.len(), 1);
}

#[test]
fn what_arrow_cannot_count_to_is_refused_as_what_it_is() {
    let schema = Arc::new(Schema::new(vec![Field::new("at", Kind::Timestamp.arrow(), true)]));
    for (moment, shown) in [
        (9_223_371_331_199_999_999i64, "294276-12-31 23:59:59.999999"),
        (i64::MAX - 946_684_800_000_000 + 1, "294247-01-10 04:00:54.775808"),
    ] {
        let mut decoder = Decoder::new(Arc::clone(&schema), &[Kind::Timestamp], ROWS);
        decoder.push(&row(&[&moment.to_be_bytes()])).unwrap();
        let refused = decoder.finish().unwrap().refused;
        assert!(refused[0].reason.starts_with(&format!("at: {shown} cannot be held by ")), "{}", refused[0].reason);
        assert_eq!(refused[0].row.column(0).as_string::<i32>().value(0), shown);
    }
}

/// A server whose databases have no encoding gives whatever bytes it was given.
#[test]
fn bytes_that_are_no_text_are_refused_with_their_row() {
    let kinds = [Kind::Text(None), Kind::Timestamp, Kind::Json];
    let field = |(place, kind): (usize, &Kind)| Field::new(format!("c{place}"), kind.arrow(), true);
    let schema = Arc::new(Schema::new(kinds.iter().enumerate().map(field).collect::<Vec<_>>()));
    let mut decoder = Decoder::new(schema, &kinds, ROWS);
    let (moment, infinity) = (0i64.to_be_bytes(), i64::MAX.to_be_bytes());
    // The two halves of an "é": together they are text.
    let rows: [[&[u8]; 3]; 5] = [
        [b"\xc3", &moment, b"1"],
        [b"\xa9", &moment, b"2"],
        ["é".as_bytes(), &moment, b"3"],
        [b"late", &infinity, b"\xff"],
        [b"", &moment, b"5"],
    ];
    let mut bytes = HEADER.to_vec();
    for values in rows {
        let row = row(&values);
        bytes.extend_from_slice(&row[HEADER.len()..row.len() - TRAILER.len()]);
    }
    bytes.extend_from_slice(TRAILER);
    decoder.push(&bytes).unwrap();
    let Decoded { batch, refused, .. } = decoder.finish().unwrap();
    assert_eq!(batch.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("é"), Some("")]);
    assert_eq!(batch.column(2).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("3"), Some("5")]);
    let reasons: Vec<_> = refused.iter().map(|refused| refused.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "c0: text that is not UTF-8 cannot be held by Utf8",
            "c0: text that is not UTF-8 cannot be held by Utf8",
            "c1: infinity cannot be held by Timestamp(µs)",
        ]
    );
    let shown = |row: &RecordBatch, place| row.column(place).as_string::<i32>().value(0).to_owned();
    assert_eq!(shown(&refused[0].row, 0), "\\xc3");
    assert_eq!([0, 1, 2].map(|place| shown(&refused[2].row, place)), ["late", "infinity", "\\xff"]);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_come_back_as_they_went(arrays in arrays(), size in 1..400usize) {
        let batch = batch(arrays);
        let mut decoder = decoder(&batch);
        for piece in encoded(&batch).chunks(size) {
            prop_assert!(!decoder.has_ended());
            decoder.push(piece).unwrap();
        }
        prop_assert!(decoder.has_ended() && decoder.is_full());
        let Decoded { batch: found, refused, .. } = decoder.finish().unwrap();
        prop_assert_eq!(refused.len(), 0);
        prop_assert_eq!(found, batch);
    }

    #[test]
    fn damaged_bytes_are_rows_or_an_error_and_never_a_panic(
        arrays in arrays(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let batch = batch(arrays);
        let mut bytes = encoded(&batch);
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let mut decoder = decoder(&batch);
        if decoder.push(&bytes).is_ok() {
            let _ = decoder.finish();
        }
    }
}
