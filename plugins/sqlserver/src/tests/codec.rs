//! Values to the driver's and back, without a server.

use arrow_array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Time64NanosecondArray,
    TimestampMicrosecondArray,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tiberius::ColumnData;
use tiberius::numeric::Numeric;
use tiberius::time::{Date, DateTime, DateTime2, SmallDateTime, Time};

use super::*;
use crate::catalog::{Column, Table};
use crate::decode::Decoder;
use crate::encode::Encoder;
use crate::kind::Kind;
use crate::selection::{Selected, schema};
use crate::target::Mapping;

/// Printed by a failing test; change it to look elsewhere.
pub const SEED: [u8; 32] = [7; 32];

pub fn runner(cases: u32) -> TestRunner {
    println!("seed {SEED:?}");
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED))
}

pub type Cells<T> = Vec<Option<T>>;
const ROWS: usize = 20;

pub fn cells<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Cells<T>> {
    prop::collection::vec(prop::option::weighted(0.8, value), ROWS).boxed()
}

pub fn column<T, A>(name: &'static str, cells: BoxedStrategy<Cells<T>>) -> BoxedStrategy<(&'static str, ArrayRef)>
where
    T: std::fmt::Debug + 'static,
    A: From<Cells<T>> + Array + 'static,
{
    cells.prop_map(move |cells| (name, Arc::new(A::from(cells)) as ArrayRef)).boxed()
}

/// Columns whose names are their types.
pub fn rows() -> impl Strategy<Value = RecordBatch> {
    let finite32 = prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO;
    let finite64 = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO;
    let moment = -62_135_596_800_000_000_i64..253_402_300_800_000_000;
    let most = 10_i128.pow(38) - 1;
    vec![
        column::<_, BooleanArray>("bit", cells(any::<bool>())),
        column::<_, Int64Array>("bigint", cells(any::<i64>())),
        column::<_, Float32Array>("real", cells(finite32)),
        column::<_, Float64Array>("float", cells(finite64)),
        cells(-most..=most)
            .prop_map(|cells| {
                let array = Decimal128Array::from(cells).with_precision_and_scale(38, 5).unwrap();
                ("decimal(38, 5)", Arc::new(array) as ArrayRef)
            })
            .boxed(),
        cells("\\PC{0,20}|[\\x00-\\x7f]{0,20}".prop_map(String::from))
            .prop_map(|cells| ("nvarchar(max)", Arc::new(StringArray::from(cells)) as ArrayRef))
            .boxed(),
        cells(prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|cells| ("varbinary(max)", Arc::new(BinaryArray::from_iter(cells)) as ArrayRef))
            .boxed(),
        column::<_, Date32Array>("date", cells(-719_162..=2_932_896)),
        column::<_, Time64NanosecondArray>("time(7)", cells((0_i64..864_000_000_000).prop_map(|tenths| tenths * 100))),
        column::<_, TimestampMicrosecondArray>("datetime2(7)", cells(moment.clone())),
        cells(moment)
            .prop_map(|cells| {
                let array = TimestampMicrosecondArray::from(cells).with_timezone("UTC");
                ("datetimeoffset(7)", Arc::new(array) as ArrayRef)
            })
            .boxed(),
    ]
    .prop_map(batch)
}

/// A column by its type, which is its name.
fn declared(declared: &str) -> Column {
    let (data_type, sizes) = declared.split_once('(').unwrap_or((declared, ""));
    let sizes: Vec<u8> = sizes.trim_end_matches(')').split(", ").filter_map(|size| size.parse().ok()).collect();
    let (precision, scale) = match sizes[..] {
        [precision, scale] => (precision, scale),
        [scale] => (0, scale),
        _ => (0, 0),
    };
    let (name, declared) = (declared.to_owned(), declared.to_owned());
    Column { name, data_type: data_type.into(), declared, precision, scale, ..Column::default() }
}

/// A component of nothing but what it is given.
struct Bare(Context);

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

impl Component for Bare {
    type Config = Nothing;
    const SUMMARY: &'static str = "Does nothing";

    fn examples() -> Vec<Example> {
        vec![]
    }

    fn open(_: Nothing, cx: Context) -> Result<Self> {
        Ok(Self(cx))
    }
}

#[test]
fn what_is_sent_is_read_as_it_was() {
    let decode = |rows: &RecordBatch| {
        let columns: Vec<_> = rows.schema().fields().iter().map(|field| declared(field.name())).collect();
        let kind = |column: &Column| Kind::of(&column.data_type, column.precision, column.scale).unwrap();
        let kinds: Vec<_> = columns.iter().map(kind).collect();
        let selected: Vec<_> =
            columns.iter().map(|column| Selected { name: column.name.clone(), kind: kind(column) }).collect();
        let table = Table {
            schema: "dbo".into(),
            name: "calls".into(),
            is_view: false,
            estimated_rows: None,
            columns,
            unique: vec![],
            has_primary_key: false,
        };
        let host = Host::new();
        let Bare(cx) = host.open(json!({})).unwrap();
        let mapping = Mapping::new(&rows.schema(), &table, "[calls]", &[]).unwrap();
        let piece = crate::prepare::prepare(rows, &mapping.columns, &cx).unwrap();
        let encoder = Encoder::new(&piece.arrays, &mapping.columns).unwrap();
        let mut decoder = Decoder::new(schema(&selected), kinds, ROWS);
        (0..rows.num_rows()).for_each(|row| decoder.push(encoder.row(row)).unwrap());
        let decoded = decoder.finish().unwrap();
        assert_eq!((decoded.refused.len(), host.rejections().len()), (0, 0));
        decoded.batch
    };
    runner(64)
        .run(&rows(), |rows| {
            prop_assert_eq!(decode(&rows), rows);
            Ok(())
        })
        .unwrap();
}

fn shown(kind: Kind, value: ColumnData<'static>) -> Result<String, String> {
    let selected = [Selected { name: "v".into(), kind }];
    let mut decoder = Decoder::new(schema(&selected), vec![kind], 1);
    decoder.push(vec![value]).unwrap();
    let decoded = decoder.finish().unwrap();
    match decoded.refused.first() {
        Some(refused) => Err(refused.reason.clone()),
        None => Ok(texts(&decoded.batch, "v").remove(0)),
    }
}

#[test]
fn the_ends_and_oddities_of_each_type_are_read_as_they_are() {
    use ColumnData as D;
    let day = |days| Date::new(days);
    let moment = |days, increments, scale| D::DateTime2(Some(DateTime2::new(day(days), Time::new(increments, scale))));
    for (kind, value, text) in [
        (Kind::Byte, D::U8(Some(255)), "255"),
        (Kind::Small, D::I16(Some(i16::MIN)), "-32768"),
        (Kind::Int, D::I32(Some(i32::MIN)), "-2147483648"),
        (Kind::Date, D::Date(Some(day(0))), "0001-01-01"),
        (Kind::Date, D::Date(Some(day(3_652_058))), "9999-12-31"),
        (Kind::Time(0), D::Time(Some(Time::new(86_399, 0))), "23:59:59"),
        (Kind::Time(7), D::Time(Some(Time::new(1, 7))), "00:00:00.000000100"),
        (Kind::DateTime, D::DateTime(Some(DateTime::new(-53_690, 0))), "1753-01-01T00:00:00"),
        (Kind::DateTime, D::DateTime(Some(DateTime::new(0, 1))), "1900-01-01T00:00:00.003"),
        (Kind::DateTime, D::DateTime(Some(DateTime::new(0, 2))), "1900-01-01T00:00:00.007"),
        (Kind::DateTime, D::DateTime(Some(DateTime::new(2_958_463, 25_919_999))), "9999-12-31T23:59:59.997"),
        (Kind::SmallDateTime, D::SmallDateTime(Some(SmallDateTime::new(65_535, 1_439))), "2079-06-06T23:59:00"),
        (Kind::DateTime2, moment(0, 0, 0), "0001-01-01T00:00:00"),
        // The digit that microseconds have no place for is cut.
        (Kind::DateTime2, moment(3_652_058, 863_999_999_999, 7), "9999-12-31T23:59:59.999999"),
        (Kind::Decimal(4, 4), D::Numeric(Some(Numeric::new_with_scale(-1234, 4))), "-0.1234"),
        (Kind::Decimal(10, 2), D::Numeric(Some(Numeric::new_with_scale(5, 0))), "5.00"),
        (Kind::Money(19), D::Numeric(Some(Numeric::new_with_scale(i64::MIN.into(), 4))), "-922337203685477.5808"),
        (Kind::Money(19), D::F64(Some(225179981368.5247)), "225179981368.5247"),
        (Kind::Money(10), D::F64(Some(-214748.3648)), "-214748.3648"),
        (Kind::Int, D::I32(None), "NULL"),
        (Kind::RowVersion, D::Binary(Some(vec![0, 0, 7, 209].into())), "000007d1"),
    ] {
        assert_eq!(shown(kind, value.clone()).as_deref(), Ok(text), "{kind:?} {value:?}");
    }
    // More than a floating-point number tells apart.
    let refused = shown(Kind::Money(19), D::F64(Some(9.2e14))).unwrap_err();
    assert!(refused.contains("CAST it AS decimal(19, 4)"), "{refused}");
    assert!(shown(Kind::Int, D::String(Some("7".into()))).is_err());
    assert!(shown(Kind::Decimal(10, 2), D::Numeric(Some(Numeric::new_with_scale(5, 3)))).is_err());
}

#[test]
fn money_that_comes_as_a_floating_point_number_is_exact_or_refused() {
    let amounts = -(1_i64 << 51)..=(1_i64 << 51);
    runner(2_000)
        .run(&amounts, |amount| {
            let number = amount as f64 / 1e4;
            let expected = shown(Kind::Money(19), ColumnData::Numeric(Some(Numeric::new_with_scale(amount.into(), 4))));
            prop_assert_eq!(shown(Kind::Money(19), ColumnData::F64(Some(number))), expected);
            Ok(())
        })
        .unwrap();
}
