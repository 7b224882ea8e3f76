//! Values of the driver as Arrow.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder, Int16Builder,
    Int32Builder, Int64Builder, StringBuilder, Time64MicrosecondBuilder, Time64NanosecondBuilder,
    TimestampMicrosecondBuilder, UInt8Builder,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::TimeUnit;
use engine_sdk::database::{Decoded, Refused};
use engine_sdk::prelude::*;
use tiberius::{ColumnData, Row};

use crate::kind::Kind;

/// A batch ends when it has so many bytes.
const BATCH_BYTES: usize = 4 << 20;
/// From 0001-01-01 to 1970-01-01, in days.
const SINCE_YEAR_ONE: i64 = 719_162;
/// From 1900-01-01 to 1970-01-01, in days.
const SINCE_1900: i64 = 25_567;
const DAY: i64 = 86_400_000_000;
/// The driver gives money as floating-point numbers. Up to so many of its ten-thousandths these stand for one
/// amount of money only.
const EXACT_MONEY: f64 = (1_i64 << 51) as f64;

/// A value on its way into an array.
#[derive(Debug, PartialEq)]
enum Cell {
    Null,
    Bit(bool),
    Whole(i64),
    Real(f32),
    Float(f64),
    Wide(i128),
    Text(String),
    Bytes(Vec<u8>),
}

/// Why a value has none in Arrow.
type Reason = String;

/// The value, or how it is shown in a dead letter and why it is none.
fn cell(kind: Kind, value: ColumnData<'static>) -> Result<Cell, (String, Reason)> {
    match (value, kind) {
        (ColumnData::String(Some(text)), Kind::Text) => Ok(Cell::Text(text.into_owned())),
        (ColumnData::Binary(Some(bytes)), Kind::Binary | Kind::RowVersion) => Ok(Cell::Bytes(bytes.into_owned())),
        (value, _) => fixed(kind, &value).map_err(|reason| (shown(&value), reason)),
    }
}

/// Values that are copied at no cost.
fn fixed(kind: Kind, value: &ColumnData<'static>) -> Result<Cell, Reason> {
    use ColumnData as D;
    let cell = match (value, kind) {
        (D::Bit(Some(value)), Kind::Bit) => Cell::Bit(*value),
        (D::U8(Some(number)), Kind::Byte) => Cell::Whole((*number).into()),
        (D::I16(Some(number)), Kind::Small) => Cell::Whole((*number).into()),
        (D::I32(Some(number)), Kind::Int) => Cell::Whole((*number).into()),
        (D::I64(Some(number)), Kind::Big) => Cell::Whole(*number),
        (D::F32(Some(number)), Kind::Real) => Cell::Real(*number),
        (D::F64(Some(number)), Kind::Float) => Cell::Float(*number),
        (D::Numeric(Some(number)), Kind::Decimal(_, scale)) => wide(number.value(), number.scale(), scale)?,
        (D::Numeric(Some(number)), Kind::Money(_)) => wide(number.value(), number.scale(), 4)?,
        (D::F64(Some(number)), Kind::Money(_)) => {
            let scaled = (number * 1e4).round();
            if scaled.abs() > EXACT_MONEY {
                return Err(format!("{number} is money that the driver gives only about: CAST it AS decimal(19, 4)"));
            }
            Cell::Wide(scaled as i128)
        }
        (D::Date(Some(date)), Kind::Date) => Cell::Whole(i64::from(date.days()) - SINCE_YEAR_ONE),
        (D::Time(Some(time)), Kind::Time(..=6)) => Cell::Whole(ticks(*time) / 10),
        (D::Time(Some(time)), Kind::Time(_)) => Cell::Whole(ticks(*time) * 100),
        (D::DateTime(Some(moment)), Kind::DateTime) => {
            // Three hundredths of a second, as thousandths: what the server shows and takes for them.
            let milliseconds = (i64::from(moment.seconds_fragments()) * 10 + 1) / 3;
            Cell::Whole((i64::from(moment.days()) - SINCE_1900) * DAY + milliseconds * 1_000)
        }
        (D::SmallDateTime(Some(moment)), Kind::SmallDateTime) => Cell::Whole(
            (i64::from(moment.days()) - SINCE_1900) * DAY + i64::from(moment.seconds_fragments()) * 60_000_000,
        ),
        (D::DateTime2(Some(moment)), Kind::DateTime2) => Cell::Whole(micros(*moment)),
        // Behind a zone of its own, the moment stands in UTC.
        (D::DateTimeOffset(Some(moment)), Kind::Offset) => Cell::Whole(micros(moment.datetime2())),
        (D::Xml(Some(xml)), Kind::Xml) => Cell::Text(xml.to_string()),
        (D::Guid(Some(guid)), Kind::Guid) => Cell::Text(guid.to_string().to_uppercase()),
        (value, _) if is_null(value) => Cell::Null,
        (value, _) => return Err(format!("{} is no value of the column's type", shown(value))),
    };
    Ok(cell)
}

fn wide(value: i128, from: u8, to: u8) -> Result<Cell, Reason> {
    let raised = to.checked_sub(from).and_then(|by| value.checked_mul(10_i128.checked_pow(by.into())?));
    raised.map(Cell::Wide).ok_or_else(|| format!("{value} with {from} digits behind the point does not fit {to}"))
}

/// In tenths of microseconds.
fn ticks(time: tiberius::time::Time) -> i64 {
    time.increments() as i64 * 10_i64.pow(7_u32.saturating_sub(time.scale().into()))
}

fn micros(moment: tiberius::time::DateTime2) -> i64 {
    (i64::from(moment.date().days()) - SINCE_YEAR_ONE) * DAY + ticks(moment.time()) / 10
}

fn is_null(value: &ColumnData<'static>) -> bool {
    use ColumnData as D;
    matches!(
        value,
        D::U8(None)
            | D::I16(None)
            | D::I32(None)
            | D::I64(None)
            | D::F32(None)
            | D::F64(None)
            | D::Bit(None)
            | D::String(None)
            | D::Guid(None)
            | D::Binary(None)
            | D::Numeric(None)
            | D::Xml(None)
            | D::DateTime(None)
            | D::SmallDateTime(None)
            | D::Time(None)
            | D::Date(None)
            | D::DateTime2(None)
            | D::DateTimeOffset(None)
    )
}

/// A value as text, for dead letters.
fn shown(value: &ColumnData<'static>) -> String {
    match value {
        ColumnData::String(Some(text)) => text.clone().into_owned(),
        ColumnData::F64(Some(number)) => number.to_string(),
        ColumnData::Numeric(Some(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn size(value: &ColumnData<'static>) -> usize {
    match value {
        ColumnData::String(Some(text)) => text.len() + 1,
        ColumnData::Binary(Some(bytes)) => bytes.len() + 1,
        _ => 8,
    }
}

enum Builder {
    Bit(BooleanBuilder),
    Byte(UInt8Builder),
    Small(Int16Builder),
    Int(Int32Builder),
    Big(Int64Builder),
    Real(Float32Builder),
    Float(Float64Builder),
    Decimal(Decimal128Builder),
    Date(Date32Builder),
    Micros(Time64MicrosecondBuilder),
    Nanos(Time64NanosecondBuilder),
    Moment(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
}

impl Builder {
    fn new(data_type: DataType) -> Self {
        match &data_type {
            DataType::Boolean => Self::Bit(BooleanBuilder::new()),
            DataType::UInt8 => Self::Byte(UInt8Builder::new()),
            DataType::Int16 => Self::Small(Int16Builder::new()),
            DataType::Int32 => Self::Int(Int32Builder::new()),
            DataType::Int64 => Self::Big(Int64Builder::new()),
            DataType::Float32 => Self::Real(Float32Builder::new()),
            DataType::Float64 => Self::Float(Float64Builder::new()),
            DataType::Decimal128(..) => Self::Decimal(Decimal128Builder::new().with_data_type(data_type)),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Time64(TimeUnit::Microsecond) => Self::Micros(Time64MicrosecondBuilder::new()),
            DataType::Time64(_) => Self::Nanos(Time64NanosecondBuilder::new()),
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
        let is_null = cell == Cell::Null;
        let whole = if let Cell::Whole(number) = cell { Some(number) } else { None };
        let fits = match self {
            Self::Bit(builder) => append!(builder, if let Cell::Bit(value) = cell { Some(value) } else { None }),
            Self::Byte(builder) => append!(builder, whole.and_then(|number| number.try_into().ok())),
            Self::Small(builder) => append!(builder, whole.and_then(|number| number.try_into().ok())),
            Self::Int(builder) => append!(builder, whole.and_then(|number| number.try_into().ok())),
            Self::Date(builder) => append!(builder, whole.and_then(|number| number.try_into().ok())),
            Self::Big(builder) => append!(builder, whole),
            Self::Micros(builder) => append!(builder, whole),
            Self::Nanos(builder) => append!(builder, whole),
            Self::Moment(builder) => append!(builder, whole),
            Self::Real(builder) => append!(builder, if let Cell::Real(number) = cell { Some(number) } else { None }),
            Self::Float(builder) => append!(builder, if let Cell::Float(number) = cell { Some(number) } else { None }),
            Self::Decimal(builder) => append!(builder, if let Cell::Wide(number) = cell { Some(number) } else { None }),
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
            Self::Bit(builder) => Arc::new(builder.finish()),
            Self::Byte(builder) => Arc::new(builder.finish()),
            Self::Small(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Big(builder) => Arc::new(builder.finish()),
            Self::Real(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Micros(builder) => Arc::new(builder.finish()),
            Self::Nanos(builder) => Arc::new(builder.finish()),
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
        let builders = kinds.iter().map(|kind| Builder::new(kind.arrow())).collect();
        Self { schema, kinds, builders, refused: vec![], rows: 0, bytes: 0, most }
    }

    pub fn push_row(&mut self, row: Row) -> Result<()> {
        self.push(row.into_iter().collect())
    }

    pub fn push(&mut self, values: Vec<ColumnData<'static>>) -> Result<()> {
        if values.len() != self.kinds.len() {
            return Err(Error::internal("an answer has another number of columns than was announced"));
        }
        let mut cells = Vec::with_capacity(values.len());
        let mut reason = None;
        for ((value, kind), field) in values.into_iter().zip(&self.kinds).zip(self.schema.fields()) {
            self.bytes += size(&value);
            cells.push(cell(*kind, value).map_err(|(shown, why)| {
                reason.get_or_insert_with(|| format!("{}: {why}", field.name()));
                shown
            }));
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
    fn as_it_came(&self, cells: Vec<Result<Cell, String>>) -> Result<RecordBatch> {
        let (mut fields, mut arrays) = (vec![], vec![]);
        for ((cell, kind), field) in cells.into_iter().zip(&self.kinds).zip(self.schema.fields()) {
            let (data_type, cell) = match cell {
                Ok(cell) => (kind.arrow(), cell),
                Err(text) => (DataType::Utf8, Cell::Text(text)),
            };
            let mut builder = Builder::new(data_type.clone());
            builder.push(cell);
            fields.push(Field::new(field.name(), data_type, true));
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
