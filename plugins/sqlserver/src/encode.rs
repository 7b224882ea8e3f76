//! Rows as the driver's values.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_schema::TimeUnit;
use engine_sdk::prelude::*;
use tiberius::ColumnData;
use tiberius::numeric::Numeric;
use tiberius::time::{Date, DateTime2, DateTimeOffset, Time};

use crate::target::{Form, Mapped};

/// From 0001-01-01 to 1970-01-01, in days.
const SINCE_YEAR_ONE: i64 = 719_162;
/// In tenths of microseconds: the finest that the server knows.
const DAY: i64 = 864_000_000_000;
/// Digits behind the second.
const SCALE: u8 = 7;

/// A column that is being sent.
enum Column<'a> {
    Bit(&'a BooleanArray),
    Whole(&'a PrimitiveArray<Int64Type>),
    Real(&'a PrimitiveArray<Float32Type>),
    Float(&'a PrimitiveArray<Float64Type>),
    Decimal(&'a PrimitiveArray<Decimal128Type>, u8),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Micros(&'a PrimitiveArray<Time64MicrosecondType>),
    Nanos(&'a PrimitiveArray<Time64NanosecondType>),
    MomentMicros(&'a PrimitiveArray<TimestampMicrosecondType>),
    MomentNanos(&'a PrimitiveArray<TimestampNanosecondType>),
}

/// Sends the rows of one batch.
pub struct Encoder<'a> {
    columns: Vec<(&'a ArrayRef, Form, Column<'a>)>,
}

impl<'a> Encoder<'a> {
    pub fn new(arrays: &'a [ArrayRef], mapped: &[Mapped]) -> Result<Self> {
        let column = |(array, mapped): (&'a ArrayRef, &Mapped)| {
            column(array, mapped.form)
                .map(|column| (array, mapped.form, column))
                .ok_or_else(|| Error::internal(format!("column `{}` came as {}", mapped.name, array.data_type())))
        };
        Ok(Self { columns: arrays.iter().zip(mapped).map(column).collect::<Result<_>>()? })
    }

    /// A row's values, in the order of the columns.
    pub fn row(&self, row: usize) -> Vec<ColumnData<'static>> {
        let value = |(array, form, column): &(&ArrayRef, Form, Column<'_>)| {
            if array.is_null(row) { null(*form) } else { column.value(row, *form) }
        };
        self.columns.iter().map(value).collect()
    }
}

fn column(array: &ArrayRef, form: Form) -> Option<Column<'_>> {
    Some(match (form, array.data_type()) {
        (Form::Bit, DataType::Boolean) => Column::Bit(array.as_boolean()),
        (Form::Whole { .. }, DataType::Int64) => Column::Whole(array.as_primitive()),
        (Form::Real, DataType::Float32) => Column::Real(array.as_primitive()),
        (Form::Float, DataType::Float64) => Column::Float(array.as_primitive()),
        (Form::Decimal(_, scale), DataType::Decimal128(..)) => Column::Decimal(array.as_primitive(), scale),
        (Form::Text, DataType::Utf8) => Column::Text(array.as_string()),
        (Form::Bytes, DataType::Binary) => Column::Bytes(array.as_binary()),
        (Form::Date, DataType::Date32) => Column::Date(array.as_primitive()),
        (Form::Time, DataType::Time64(TimeUnit::Microsecond)) => Column::Micros(array.as_primitive()),
        (Form::Time, DataType::Time64(TimeUnit::Nanosecond)) => Column::Nanos(array.as_primitive()),
        (Form::Moment | Form::Offset, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            Column::MomentMicros(array.as_primitive())
        }
        (Form::Moment | Form::Offset, DataType::Timestamp(TimeUnit::Nanosecond, _)) => {
            Column::MomentNanos(array.as_primitive())
        }
        _ => return None,
    })
}

/// No value, of the type that the column has.
fn null(form: Form) -> ColumnData<'static> {
    match form {
        Form::Bit => ColumnData::Bit(None),
        Form::Whole { .. } => ColumnData::I64(None),
        Form::Real => ColumnData::F32(None),
        Form::Float => ColumnData::F64(None),
        Form::Decimal(..) => ColumnData::Numeric(None),
        Form::Text => ColumnData::String(None),
        Form::Bytes => ColumnData::Binary(None),
        Form::Date => ColumnData::Date(None),
        Form::Time => ColumnData::Time(None),
        Form::Moment => ColumnData::DateTime2(None),
        Form::Offset => ColumnData::DateTimeOffset(None),
    }
}

impl Column<'_> {
    fn value(&self, row: usize, form: Form) -> ColumnData<'static> {
        match self {
            Self::Bit(array) => ColumnData::Bit(Some(array.value(row))),
            Self::Whole(array) => ColumnData::I64(Some(array.value(row))),
            Self::Real(array) => ColumnData::F32(Some(array.value(row))),
            Self::Float(array) => ColumnData::F64(Some(array.value(row))),
            Self::Decimal(array, scale) => ColumnData::Numeric(Some(Numeric::new_with_scale(array.value(row), *scale))),
            Self::Text(array) => ColumnData::String(Some(Cow::Owned(array.value(row).to_owned()))),
            Self::Bytes(array) => ColumnData::Binary(Some(Cow::Owned(array.value(row).to_owned()))),
            Self::Date(array) => ColumnData::Date(Some(day(array.value(row).into()))),
            Self::Micros(array) => ColumnData::Time(Some(time(array.value(row) * 10))),
            // Finer than the server knows is cut, as it does itself with text.
            Self::Nanos(array) => ColumnData::Time(Some(time(array.value(row) / 100))),
            Self::MomentMicros(array) => {
                let micros = array.value(row);
                let rest = micros.rem_euclid(DAY / 10) * 10;
                moment(micros.div_euclid(DAY / 10), rest, form)
            }
            Self::MomentNanos(array) => {
                let tenths = array.value(row).div_euclid(100);
                moment(tenths.div_euclid(DAY), tenths.rem_euclid(DAY), form)
            }
        }
    }
}

/// From days since 1970. A row with a day that the server does not have was refused before.
fn day(days: i64) -> Date {
    Date::new(u32::try_from(days + SINCE_YEAR_ONE).unwrap_or_default())
}

fn time(tenths: i64) -> Time {
    Time::new(tenths.unsigned_abs(), SCALE)
}

fn moment(days: i64, tenths: i64, form: Form) -> ColumnData<'static> {
    let moment = DateTime2::new(day(days), time(tenths));
    match form {
        Form::Offset => ColumnData::DateTimeOffset(Some(DateTimeOffset::new(moment, 0))),
        _ => ColumnData::DateTime2(Some(moment)),
    }
}
