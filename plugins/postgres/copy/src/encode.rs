//! Arrow into binary COPY.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow_buffer::NullBuffer;

use crate::kind::{EPOCH_DAYS, EPOCH_MICROSECONDS};
use crate::numeric;

/// What a COPY begins with: the signature, no flags, no extension.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with: a row of -1 columns.
pub const TRAILER: &[u8] = &[0xff, 0xff];

/// How a value is written: as which of PostgreSQL's types, from which Arrow type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// From `Boolean`
    Bool,
    /// From `Int16`
    Int2,
    /// From `Int32`
    Int4,
    /// From `Int64`
    Int8,
    /// From `Float32`
    Float4,
    /// From `Float64`
    Float8,
    /// From `Decimal128` of any scale that is not negative
    Numeric,
    /// From `Decimal256` of any scale that is not negative
    LongNumeric,
    /// From `Utf8`; also json, varchar and char
    Text,
    /// From `Utf8`
    Jsonb,
    /// From `Binary`
    Bytea,
    /// From `Date32`
    Date,
    /// From `Time64` in microseconds
    Time,
    /// From `Timestamp` in microseconds, with a zone or without
    Timestamp,
    /// From `Utf8`
    Uuid,
}

/// Writes the rows of a batch's columns.
pub struct Encoder<'a> {
    columns: Vec<(Column<'a>, Option<&'a NullBuffer>)>,
}

enum Column<'a> {
    Bool(&'a BooleanArray),
    Int2(&'a Int16Array),
    Int4(&'a Int32Array),
    Int8(&'a Int64Array),
    Float4(&'a Float32Array),
    Float8(&'a Float64Array),
    Numeric(&'a Decimal128Array, u8),
    LongNumeric(&'a Decimal256Array, u8),
    Text(&'a StringArray),
    Jsonb(&'a StringArray),
    Uuid(&'a StringArray),
    Bytea(&'a BinaryArray),
    Date(&'a Date32Array),
    Time(&'a Time64MicrosecondArray),
    Timestamp(&'a TimestampMicrosecondArray),
}

impl<'a> Encoder<'a> {
    /// For arrays that have the types of their forms.
    ///
    /// # Panics
    /// When one has another.
    pub fn new(columns: impl Iterator<Item = (&'a ArrayRef, Form)>) -> Self {
        let column = |(array, form): (&'a ArrayRef, Form)| {
            let column = match form {
                Form::Bool => Column::Bool(array.as_boolean()),
                Form::Int2 => Column::Int2(array.as_primitive::<Int16Type>()),
                Form::Int4 => Column::Int4(array.as_primitive::<Int32Type>()),
                Form::Int8 => Column::Int8(array.as_primitive::<Int64Type>()),
                Form::Float4 => Column::Float4(array.as_primitive::<Float32Type>()),
                Form::Float8 => Column::Float8(array.as_primitive::<Float64Type>()),
                Form::Numeric => {
                    let array = array.as_primitive::<Decimal128Type>();
                    Column::Numeric(array, array.scale().unsigned_abs())
                }
                Form::LongNumeric => {
                    let array = array.as_primitive::<Decimal256Type>();
                    Column::LongNumeric(array, array.scale().unsigned_abs())
                }
                Form::Text => Column::Text(array.as_string()),
                Form::Jsonb => Column::Jsonb(array.as_string()),
                Form::Uuid => Column::Uuid(array.as_string()),
                Form::Bytea => Column::Bytea(array.as_binary()),
                Form::Date => Column::Date(array.as_primitive::<Date32Type>()),
                Form::Time => Column::Time(array.as_primitive::<Time64MicrosecondType>()),
                Form::Timestamp => Column::Timestamp(array.as_primitive::<TimestampMicrosecondType>()),
            };
            (column, array.nulls())
        };
        Self { columns: columns.map(column).collect() }
    }

    /// Appends one row.
    pub fn row(&self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.columns.len() as i16).to_be_bytes());
        for (column, nulls) in &self.columns {
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                out.extend_from_slice(&(-1i32).to_be_bytes());
            } else {
                column.value(row, out);
            }
        }
    }
}

impl Column<'_> {
    fn value(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Bool(array) => field(&[u8::from(array.value(row))], out),
            Self::Int2(array) => field(&array.value(row).to_be_bytes(), out),
            Self::Int4(array) => field(&array.value(row).to_be_bytes(), out),
            Self::Int8(array) => field(&array.value(row).to_be_bytes(), out),
            Self::Float4(array) => field(&array.value(row).to_be_bytes(), out),
            Self::Float8(array) => field(&array.value(row).to_be_bytes(), out),
            Self::Numeric(array, scale) => numeric::encode(array.value(row), *scale, out),
            Self::LongNumeric(array, scale) => numeric::encode_long(array.value(row), *scale, out),
            Self::Text(array) => field(array.value(row).as_bytes(), out),
            Self::Jsonb(array) => {
                const VERSION: u8 = 1;
                let json = array.value(row).as_bytes();
                out.extend_from_slice(&(json.len() as i32 + 1).to_be_bytes());
                out.push(VERSION);
                out.extend_from_slice(json);
            }
            // Rows without a valid one have been refused.
            Self::Uuid(array) => field(uuid::Uuid::try_parse(array.value(row)).unwrap_or_default().as_bytes(), out),
            Self::Bytea(array) => field(array.value(row), out),
            Self::Date(array) => field(&array.value(row).wrapping_sub(EPOCH_DAYS).to_be_bytes(), out),
            Self::Time(array) => field(&array.value(row).to_be_bytes(), out),
            Self::Timestamp(array) => field(&array.value(row).wrapping_sub(EPOCH_MICROSECONDS).to_be_bytes(), out),
        }
    }
}

fn field(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}
