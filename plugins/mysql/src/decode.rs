//! Values of the driver as Arrow.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, Float32Builder, Float64Builder, Int8Builder,
    Int16Builder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt8Builder, UInt16Builder,
    UInt32Builder, UInt64Builder,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::i256;
use chrono::{Datelike, NaiveDate, NaiveDateTime};
use engine_sdk::database::{Decoded, Refused};
use engine_sdk::prelude::*;
use mysql_async::{Row, Value};

use crate::kind::Kind;

/// A batch ends when it has so many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// A value on its way into an array.
enum Cell {
    Null,
    Signed(i64),
    Unsigned(u64),
    Float(f32),
    Double(f64),
    Wide(i256),
    Text(String),
    Bytes(Vec<u8>),
}

/// What has no value in Arrow, and why.
type Reason = String;

fn cell(kind: Kind, value: Value) -> Result<Cell, (Value, Reason)> {
    let converted = match (&value, kind) {
        (Value::NULL, _) => Some(Ok(Cell::Null)),
        (Value::Int(number), Kind::Integer { unsigned: false, .. } | Kind::Year) => Some(Ok(Cell::Signed(*number))),
        (Value::UInt(number), Kind::Integer { unsigned: false, .. } | Kind::Year) => {
            i64::try_from(*number).ok().map(|number| Ok(Cell::Signed(number)))
        }
        (Value::UInt(number), Kind::Integer { .. }) => Some(Ok(Cell::Unsigned(*number))),
        (Value::Int(number), Kind::Integer { .. }) => {
            u64::try_from(*number).ok().map(|number| Ok(Cell::Unsigned(number)))
        }
        (Value::Float(number), Kind::Float) => Some(Ok(Cell::Float(*number))),
        (Value::Double(number), Kind::Double) => Some(Ok(Cell::Double(*number))),
        (Value::Bytes(digits), Kind::Decimal(_, scale)) => decimal(digits, scale).map(|wide| Ok(Cell::Wide(wide))),
        (Value::Bytes(bits), Kind::Bit) if bits.len() <= 8 => {
            Some(Ok(Cell::Unsigned(bits.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))))
        }
        (
            Value::Date(year, month, day, hour, minute, second, micros),
            Kind::Date | Kind::DateTime | Kind::Timestamp,
        ) => {
            let date = NaiveDate::from_ymd_opt((*year).into(), (*month).into(), (*day).into());
            let time =
                |date: NaiveDate| date.and_hms_micro_opt((*hour).into(), (*minute).into(), (*second).into(), *micros);
            Some(match date.and_then(time) {
                Some(moment) if kind == Kind::Date => Ok(Cell::Signed(days(moment))),
                Some(moment) => Ok(Cell::Signed(moment.and_utc().timestamp_micros())),
                None => Err(format!("{} is no day of the calendar", shown(&value))),
            })
        }
        (Value::Time(..), Kind::Time(digits)) => Some(Ok(Cell::Text(time(&value, digits)))),
        _ => None,
    };
    match converted {
        Some(Ok(cell)) => Ok(cell),
        Some(Err(reason)) => Err((value, reason)),
        None => match (value, kind) {
            (Value::Bytes(bytes), Kind::Binary) => Ok(Cell::Bytes(bytes)),
            (Value::Bytes(bytes), Kind::Text) => String::from_utf8(bytes).map(Cell::Text).map_err(|error| {
                let reason = "bytes that are no text".to_owned();
                (Value::Bytes(error.into_bytes()), reason)
            }),
            (value, _) => {
                let reason = format!("{} is no value of the column's type", shown(&value));
                Err((value, reason))
            }
        },
    }
}

fn days(moment: NaiveDateTime) -> i64 {
    i64::from(moment.date().num_days_from_ce()) - 719_163
}

fn decimal(digits: &[u8], scale: u8) -> Option<i256> {
    let text = std::str::from_utf8(digits).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > scale.into() {
        return None;
    }
    let digits = format!("{whole}{fraction}{}", "0".repeat(usize::from(scale) - fraction.len()));
    match digits.parse::<i128>() {
        Ok(number) => Some(i256::from_i128(number)),
        Err(_) => i256::from_string(&digits),
    }
}

fn time(value: &Value, digits: u8) -> String {
    let Value::Time(negative, days, hours, minutes, seconds, micros) = value else { return shown(value) };
    let sign = if *negative { "-" } else { "" };
    let hours = u64::from(*days) * 24 + u64::from(*hours);
    let text = format!("{sign}{hours:02}:{minutes:02}:{seconds:02}");
    if digits == 0 {
        return text;
    }
    let fraction = format!("{micros:06}");
    format!("{text}.{}", &fraction[..usize::from(digits)])
}

/// A value as text that the server reads as the same value, for dead letters.
fn shown(value: &Value) -> String {
    match value {
        Value::NULL => "NULL".into(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Date(year, month, day, 0, 0, 0, 0) => format!("{year:04}-{month:02}-{day:02}"),
        Value::Date(year, month, day, hour, minute, second, micros) => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
        }
        Value::Time(..) => time(value, 6),
    }
}

enum Builder {
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt8(UInt8Builder),
    UInt16(UInt16Builder),
    UInt32(UInt32Builder),
    UInt64(UInt64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Decimal128(Decimal128Builder),
    Decimal256(Decimal256Builder),
    Date(Date32Builder),
    Moment(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
}

impl Builder {
    fn new(kind: Kind) -> Self {
        let data_type = kind.arrow();
        match &data_type {
            DataType::Int8 => Self::Int8(Int8Builder::new()),
            DataType::Int16 => Self::Int16(Int16Builder::new()),
            DataType::Int32 => Self::Int32(Int32Builder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::UInt8 => Self::UInt8(UInt8Builder::new()),
            DataType::UInt16 => Self::UInt16(UInt16Builder::new()),
            DataType::UInt32 => Self::UInt32(UInt32Builder::new()),
            DataType::UInt64 => Self::UInt64(UInt64Builder::new()),
            DataType::Float32 => Self::Float(Float32Builder::new()),
            DataType::Float64 => Self::Double(Float64Builder::new()),
            DataType::Decimal128(..) => Self::Decimal128(Decimal128Builder::new().with_data_type(data_type)),
            DataType::Decimal256(..) => Self::Decimal256(Decimal256Builder::new().with_data_type(data_type)),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Timestamp(..) => Self::Moment(TimestampMicrosecondBuilder::new().with_data_type(data_type)),
            DataType::Binary => Self::Binary(BinaryBuilder::new()),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    /// `false`: the value does not fit, and null stands in its place.
    fn push(&mut self, cell: Cell) -> bool {
        macro_rules! append {
            ($builder:expr, $value:expr) => {{
                let value = $value;
                $builder.append_option(value);
                value.is_some()
            }};
        }
        let is_null = matches!(cell, Cell::Null);
        let signed = if let Cell::Signed(number) = cell { Some(number) } else { None };
        let unsigned = if let Cell::Unsigned(number) = cell { Some(number) } else { None };
        let fits = match self {
            Self::Int8(builder) => append!(builder, signed.and_then(|number| number.try_into().ok())),
            Self::Int16(builder) => append!(builder, signed.and_then(|number| number.try_into().ok())),
            Self::Int32(builder) => append!(builder, signed.and_then(|number| number.try_into().ok())),
            Self::Int64(builder) => append!(builder, signed),
            Self::UInt8(builder) => append!(builder, unsigned.and_then(|number| number.try_into().ok())),
            Self::UInt16(builder) => append!(builder, unsigned.and_then(|number| number.try_into().ok())),
            Self::UInt32(builder) => append!(builder, unsigned.and_then(|number| number.try_into().ok())),
            Self::UInt64(builder) => append!(builder, unsigned),
            Self::Date(builder) => append!(builder, signed.and_then(|number| number.try_into().ok())),
            Self::Moment(builder) => append!(builder, signed),
            Self::Float(builder) => append!(builder, if let Cell::Float(number) = cell { Some(number) } else { None }),
            Self::Double(builder) => {
                append!(builder, if let Cell::Double(number) = cell { Some(number) } else { None })
            }
            Self::Decimal128(builder) => {
                append!(builder, if let Cell::Wide(number) = cell { number.to_i128() } else { None })
            }
            Self::Decimal256(builder) => {
                append!(builder, if let Cell::Wide(number) = cell { Some(number) } else { None })
            }
            Self::Text(builder) => {
                let text = if let Cell::Text(text) = &cell { Some(text) } else { None };
                append!(builder, text)
            }
            Self::Binary(builder) => {
                let bytes = if let Cell::Bytes(bytes) = &cell { Some(bytes) } else { None };
                append!(builder, bytes)
            }
        };
        fits || is_null
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Int8(builder) => Arc::new(builder.finish()),
            Self::Int16(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::UInt8(builder) => Arc::new(builder.finish()),
            Self::UInt16(builder) => Arc::new(builder.finish()),
            Self::UInt32(builder) => Arc::new(builder.finish()),
            Self::UInt64(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Double(builder) => Arc::new(builder.finish()),
            Self::Decimal128(builder) => Arc::new(builder.finish()),
            Self::Decimal256(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Moment(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Binary(builder) => Arc::new(builder.finish()),
        }
    }
}

/// Makes batches of rows.
pub struct Decoder {
    schema: SchemaRef,
    kinds: Vec<Kind>,
    builders: Vec<Builder>,
    refused: Vec<Refused>,
    rows: usize,
    bytes: usize,
    most: usize,
}

impl Decoder {
    pub fn new(schema: SchemaRef, kinds: Vec<Kind>, most: usize) -> Self {
        let builders = kinds.iter().map(|kind| Builder::new(*kind)).collect();
        Self { schema, kinds, builders, refused: vec![], rows: 0, bytes: 0, most }
    }

    pub fn push(&mut self, row: Row) -> Result<()> {
        let mut cells = Vec::with_capacity(self.kinds.len());
        let mut values = row.unwrap_raw().into_iter();
        let mut reason = None;
        for (place, kind) in self.kinds.iter().enumerate() {
            let value = values.next().flatten().unwrap_or(Value::NULL);
            self.bytes += if let Value::Bytes(bytes) = &value { bytes.len() + 1 } else { 8 };
            match cell(*kind, value) {
                Ok(cell) => cells.push(Ok(cell)),
                Err((value, why)) => {
                    reason.get_or_insert_with(|| format!("{}: {why}", self.schema.field(place).name()));
                    cells.push(Err(value));
                }
            }
        }
        if let Some(reason) = reason {
            let row = self.as_it_came(cells)?;
            self.refused.push(Refused { row, reason });
            return Ok(());
        }
        for ((builder, cell), field) in self.builders.iter_mut().zip(cells).zip(self.schema.fields()) {
            if let Ok(cell) = cell
                && !builder.push(cell)
            {
                return Err(Error::internal(format!("a value of `{}` is outside of its type", field.name())));
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// The row with the values that have no place in their columns as text.
    fn as_it_came(&self, cells: Vec<Result<Cell, Value>>) -> Result<RecordBatch> {
        let (mut fields, mut arrays) = (vec![], vec![]);
        for ((cell, kind), field) in cells.into_iter().zip(&self.kinds).zip(self.schema.fields()) {
            let (kind, cell) = match cell {
                Ok(cell) => (*kind, cell),
                Err(Value::Bytes(bytes)) if std::str::from_utf8(&bytes).is_err() => (Kind::Binary, Cell::Bytes(bytes)),
                Err(value) => (Kind::Text, Cell::Text(shown(&value))),
            };
            let mut builder = Builder::new(kind);
            builder.push(cell);
            fields.push(Field::new(field.name(), kind.arrow(), true));
            arrays.push(builder.finish());
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|error| Error::internal(format!("a refused row cannot be kept: {error}")))
    }

    pub fn is_full(&self) -> bool {
        self.rows + self.refused.len() >= self.most || self.bytes >= BATCH_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0 && self.refused.is_empty()
    }

    pub fn finish(&mut self) -> Result<Decoded> {
        let arrays: Vec<ArrayRef> = self.builders.iter_mut().map(Builder::finish).collect();
        debug_assert!(arrays.iter().all(|array| array.len() == self.rows));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|error| Error::internal(format!("rows cannot be made a batch: {error}")))?;
        let decoded = Decoded {
            batch,
            refused: std::mem::take(&mut self.refused),
            bytes: std::mem::take(&mut self.bytes) as u64,
        };
        self.rows = 0;
        Ok(decoded)
    }
}
