//! Columns of declared types, for formats: text becomes typed rows
//! ([`ColumnType::read`], [`RowBuilder`]), and columns become text ([`Cells`]).
//!
//! Every format reads and writes a date, a decimal or a timestamp the same way,
//! because it does so here.

mod json;
mod read;
mod write;

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Schema as ArrowSchema, SchemaRef, TimeUnit};
use engine_abi::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

pub use json::{JsonRows, write_json_string};
pub use read::Unreadable;
pub use write::{Cells, write_base64};

/// Columns by name, in the order of the configuration.
pub type Columns = indexmap::IndexMap<String, ColumnType>;

/// What a column holds, as written in a configuration: `text`, `integer`,
/// `number`, `decimal(12,2)`, `boolean`, `date`, `timestamp`, `timestamptz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text as it stands.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A floating-point number of 64 bits.
    Number,
    /// An exact number: all digits, and those behind the point.
    Decimal(u8, i8),
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// A day and a time without a zone, to the microsecond.
    Timestamp,
    /// A moment, to the microsecond, kept in UTC.
    TimestampTz,
}

impl ColumnType {
    /// Reads a type's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(match text.trim() {
            "text" => Self::Text,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampTz,
            other => return Self::parse_decimal(other),
        })
    }

    fn parse_decimal(text: &str) -> Result<Self, String> {
        let numbers = text.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'));
        let Some((precision, scale)) = numbers.and_then(|numbers| numbers.split_once(',')) else {
            return Err(format!(
                "`{text}` is not a type; write text, integer, number, decimal(12,2), boolean, date, timestamp or timestamptz"
            ));
        };
        match (precision.trim().parse::<u8>(), scale.trim().parse::<i8>()) {
            (Ok(precision @ 1..=38), Ok(scale @ 0..)) if scale as u8 <= precision => {
                Ok(Self::Decimal(precision, scale))
            }
            _ => Err(format!(
                "`{text}`: a decimal has 1 to 38 digits, of which 0 to all are behind the point; read a longer one as text"
            )),
        }
    }

    /// The Arrow type of the column.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(precision, scale),
            Self::Boolean => DataType::Boolean,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

impl std::fmt::Display for ColumnType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Decimal(precision, scale) => return write!(f, "decimal({precision},{scale})"),
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
        })
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for ColumnType {
    fn schema_name() -> Cow<'static, str> {
        "ColumnType".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^(text|integer|number|boolean|date|timestamp|timestamptz|decimal\( *[0-9]+ *, *[0-9]+ *\))$",
            "examples": ["text", "integer", "decimal(12,2)", "timestamp"]
        })
    }
}

/// A cell that has been read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// Of a text column.
    Text(&'a str),
    /// Of an integer column.
    Integer(i64),
    /// Of a number column.
    Number(f64),
    /// Of a decimal column, in units of its last digit.
    Decimal(i128),
    /// Of a boolean column.
    Boolean(bool),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00, of both kinds of timestamp columns.
    Timestamp(i64),
}

/// Rows that a column has space for before it grows.
const FIRST_ROWS: usize = 1024;

enum Column {
    Text(StringBuilder),
    Integer(Int64Builder),
    Number(Float64Builder),
    Decimal(Decimal128Builder),
    Boolean(BooleanBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl Column {
    /// With space for some rows. A batch of wide rows has few.
    fn new(kind: ColumnType, rows: usize) -> Self {
        let rows = rows.min(FIRST_ROWS);
        match kind {
            ColumnType::Text => Self::Text(StringBuilder::with_capacity(rows, rows)),
            ColumnType::Integer => Self::Integer(Int64Builder::with_capacity(rows)),
            ColumnType::Number => Self::Number(Float64Builder::with_capacity(rows)),
            ColumnType::Decimal(..) => {
                Self::Decimal(Decimal128Builder::with_capacity(rows).with_data_type(kind.data_type()))
            }
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            ColumnType::Date => Self::Date(Date32Builder::with_capacity(rows)),
            ColumnType::Timestamp | ColumnType::TimestampTz => {
                Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(kind.data_type()))
            }
        }
    }

    fn push(&mut self, value: Value<'_>) {
        match (self, value) {
            (Self::Text(column), Value::Text(value)) => column.append_value(value),
            (Self::Integer(column), Value::Integer(value)) => column.append_value(value),
            (Self::Number(column), Value::Number(value)) => column.append_value(value),
            (Self::Decimal(column), Value::Decimal(value)) => column.append_value(value),
            (Self::Boolean(column), Value::Boolean(value)) => column.append_value(value),
            (Self::Date(column), Value::Date(value)) => column.append_value(value),
            (Self::Timestamp(column), Value::Timestamp(value)) => column.append_value(value),
            (column, Value::Null) => column.push_null(),
            (_, value) => panic!("{value:?} is not of the column's type"),
        }
    }

    fn push_null(&mut self) {
        match self {
            Self::Text(column) => column.append_null(),
            Self::Integer(column) => column.append_null(),
            Self::Number(column) => column.append_null(),
            Self::Decimal(column) => column.append_null(),
            Self::Boolean(column) => column.append_null(),
            Self::Date(column) => column.append_null(),
            Self::Timestamp(column) => column.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(column) => Arc::new(column.finish()),
            Self::Integer(column) => Arc::new(column.finish()),
            Self::Number(column) => Arc::new(column.finish()),
            Self::Decimal(column) => Arc::new(column.finish()),
            Self::Boolean(column) => Arc::new(column.finish()),
            Self::Date(column) => Arc::new(column.finish()),
            Self::Timestamp(column) => Arc::new(column.finish()),
        }
    }
}

/// Collects rows into batches of bounded size.
pub struct RowBuilder {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// Rows of one batch of this width at most.
    most_rows: usize,
    rows: usize,
    bytes: usize,
}

impl RowBuilder {
    /// Rows of one batch at most. Between 2,048 and 32,768 it makes little difference to the time of a run.
    pub const ROWS: usize = 8192;
    /// Bytes of text in one batch, about, at most.
    pub const BYTES: usize = 1024 * 1024;
    /// Values in one batch, at most, those that are null included: about 8 bytes each.
    const VALUES: usize = 512 * 1024;

    /// A builder for columns of these names and types, all of them nullable.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, ColumnType)>) -> Self {
        let (fields, kinds): (Vec<_>, Vec<_>) = columns
            .into_iter()
            .map(|(name, kind)| (arrow_schema::Field::new(name, kind.data_type(), true), kind))
            .unzip();
        let most_rows = (Self::VALUES / kinds.len().max(1)).clamp(1, Self::ROWS);
        let columns = kinds.into_iter().map(|kind| Column::new(kind, most_rows)).collect();
        Self { schema: Arc::new(ArrowSchema::new(fields)), columns, most_rows, rows: 0, bytes: 0 }
    }

    /// The columns of every batch.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Adds a row: one value a column, of the column's type or null.
    ///
    /// # Panics
    /// When a value is of another type.
    pub fn push(&mut self, row: &[Value<'_>]) {
        debug_assert_eq!(row.len(), self.columns.len());
        for (column, value) in self.columns.iter_mut().zip(row) {
            if let Value::Text(text) = value {
                self.bytes += text.len();
            }
            column.push(*value);
        }
        self.rows += 1;
    }

    /// Whether it is time to [`RowBuilder::finish`] a batch.
    pub fn is_full(&self) -> bool {
        self.rows >= self.most_rows || self.bytes >= Self::BYTES
    }

    /// Whether no row has been added since the last batch.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows so far as a batch; the next row begins a new one.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        let count = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        self.bytes = 0;
        RecordBatch::try_new_with_options(self.schema(), columns, &count)
            .map_err(|error| Error::internal(format!("rows do not make a batch: {error}")))
    }
}
