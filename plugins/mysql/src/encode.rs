//! Rows as SQL text.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, Decimal32Array, Decimal64Array, Decimal128Array, Decimal256Array, PrimitiveArray,
    StringArray,
};
use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use engine_sdk::prelude::*;

use crate::name::push_literal;
use crate::target::{Form, Mapped};

/// A column that is being written.
enum Column<'a> {
    Int8(&'a PrimitiveArray<Int8Type>),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    UInt8(&'a PrimitiveArray<UInt8Type>),
    UInt16(&'a PrimitiveArray<UInt16Type>),
    UInt32(&'a PrimitiveArray<UInt32Type>),
    UInt64(&'a PrimitiveArray<UInt64Type>),
    Float(&'a PrimitiveArray<Float32Type>),
    Double(&'a PrimitiveArray<Float64Type>),
    Decimal32(&'a Decimal32Array),
    Decimal64(&'a Decimal64Array),
    Decimal128(&'a Decimal128Array),
    Decimal256(&'a Decimal256Array),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Moment(&'a PrimitiveArray<TimestampMicrosecondType>),
    Time(&'a PrimitiveArray<Time64MicrosecondType>),
}

/// Writes the rows of one batch.
pub struct Encoder<'a> {
    columns: Vec<(&'a ArrayRef, Column<'a>)>,
}

impl<'a> Encoder<'a> {
    pub fn new(arrays: &'a [ArrayRef], mapped: &[Mapped]) -> Result<Self> {
        let column = |(array, mapped): (&'a ArrayRef, &Mapped)| {
            column(array, mapped.form)
                .map(|column| (array, column))
                .ok_or_else(|| Error::internal(format!("column `{}` came as {}", mapped.name, array.data_type())))
        };
        Ok(Self { columns: arrays.iter().zip(mapped).map(column).collect::<Result<_>>()? })
    }

    /// Appends `(value, …),`.
    pub fn row(&self, row: usize, sql: &mut Vec<u8>) {
        sql.push(b'(');
        for (place, (array, column)) in self.columns.iter().enumerate() {
            if place > 0 {
                sql.push(b',');
            }
            if array.is_null(row) {
                sql.extend_from_slice(b"NULL");
            } else {
                column.value(row, sql);
            }
        }
        sql.extend_from_slice(b"),");
    }
}

fn column(array: &ArrayRef, form: Form) -> Option<Column<'_>> {
    Some(match (form, array.data_type()) {
        (Form::Integer { .. }, DataType::Int8) => Column::Int8(array.as_primitive()),
        (Form::Integer { .. } | Form::Year, DataType::Int16) => Column::Int16(array.as_primitive()),
        (Form::Integer { .. }, DataType::Int32) => Column::Int32(array.as_primitive()),
        (Form::Integer { .. }, DataType::Int64) => Column::Int64(array.as_primitive()),
        (Form::Integer { .. }, DataType::UInt8) => Column::UInt8(array.as_primitive()),
        (Form::Integer { .. }, DataType::UInt16) => Column::UInt16(array.as_primitive()),
        (Form::Integer { .. }, DataType::UInt32) => Column::UInt32(array.as_primitive()),
        (Form::Integer { .. }, DataType::UInt64) => Column::UInt64(array.as_primitive()),
        (Form::Float, DataType::Float32) => Column::Float(array.as_primitive()),
        (Form::Double, DataType::Float64) => Column::Double(array.as_primitive()),
        (Form::Decimal, DataType::Decimal32(..)) => Column::Decimal32(array.as_primitive::<Decimal32Type>()),
        (Form::Decimal, DataType::Decimal64(..)) => Column::Decimal64(array.as_primitive::<Decimal64Type>()),
        (Form::Decimal, DataType::Decimal128(..)) => Column::Decimal128(array.as_primitive::<Decimal128Type>()),
        (Form::Decimal, DataType::Decimal256(..)) => Column::Decimal256(array.as_primitive::<Decimal256Type>()),
        (Form::Text, DataType::Utf8) => Column::Text(array.as_string()),
        (Form::Bytes, DataType::Binary) => Column::Bytes(array.as_binary()),
        (Form::Date, DataType::Date32) => Column::Date(array.as_primitive()),
        (Form::Moment, DataType::Timestamp(..)) => Column::Moment(array.as_primitive()),
        (Form::Time, DataType::Time64(_)) => Column::Time(array.as_primitive()),
        _ => return None,
    })
}

impl Column<'_> {
    fn value(&self, row: usize, sql: &mut Vec<u8>) {
        // Writing into memory does not fail.
        let _ = match self {
            Self::Int8(array) => write!(sql, "{}", array.value(row)),
            Self::Int16(array) => write!(sql, "{}", array.value(row)),
            Self::Int32(array) => write!(sql, "{}", array.value(row)),
            Self::Int64(array) => write!(sql, "{}", array.value(row)),
            Self::UInt8(array) => write!(sql, "{}", array.value(row)),
            Self::UInt16(array) => write!(sql, "{}", array.value(row)),
            Self::UInt32(array) => write!(sql, "{}", array.value(row)),
            Self::UInt64(array) => write!(sql, "{}", array.value(row)),
            // With all digits of the double that it is: the server reads doubles, and rounds once.
            Self::Float(array) => write!(sql, "{:e}", f64::from(array.value(row))),
            Self::Double(array) => write!(sql, "{:e}", array.value(row)),
            Self::Decimal32(array) => write!(sql, "{}", array.value_as_string(row)),
            Self::Decimal64(array) => write!(sql, "{}", array.value_as_string(row)),
            Self::Decimal128(array) => write!(sql, "{}", array.value_as_string(row)),
            Self::Decimal256(array) => write!(sql, "{}", array.value_as_string(row)),
            Self::Text(array) => {
                push_literal(array.value(row), sql);
                Ok(())
            }
            Self::Bytes(array) => {
                sql.extend_from_slice(b"x'");
                for byte in array.value(row) {
                    sql.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
                }
                sql.push(b'\'');
                Ok(())
            }
            // A row with any other day was refused before.
            Self::Date(array) => {
                let day = NaiveDate::from_epoch_days(array.value(row)).unwrap_or_default();
                write!(sql, "'{:04}-{:02}-{:02}'", day.year(), day.month(), day.day())
            }
            Self::Moment(array) => {
                let moment = DateTime::from_timestamp_micros(array.value(row)).unwrap_or_default().naive_utc();
                write!(
                    sql,
                    "'{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}'",
                    moment.year(),
                    moment.month(),
                    moment.day(),
                    moment.hour(),
                    moment.minute(),
                    moment.second(),
                    moment.nanosecond() / 1_000
                )
            }
            Self::Time(array) => {
                let micros = array.value(row);
                let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
                write!(sql, "'{:02}:{:02}:{:02}.{fraction:06}'", seconds / 3_600, seconds / 60 % 60, seconds % 60)
            }
        };
    }
}

fn digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble)]
}
